package checks

import (
	"context"
	"io"
	"net/http"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/valyala/fasthttp"

	"github.com/sluice-go/sluice/httpd"
)

const (
	panicPath = "/panic"
	writePath = "/write"
)

// paths are what orders are to an HTTP server; all other requests are answered
// with their body.
var paths = map[byte]string{opPanic: panicPath, opWriteClose: writePath}

// handler is the one of servers that have net/http's.
var handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case panicPath:
		panic("a handler's fault, on purpose")
	case writePath:
		w.Write(payload())
	default:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the connection is of no use any more
		}
		w.Write(body)
	}
})

func serveNetHTTP(_, addr string) error { return http.ListenAndServe(addr, handler) }

func serveSluiceHTTP(_, addr string) error { return httpd.ListenAndServe(addr, handler) }

// serveSluiceNative answers on the loop; what streams goes to handler.
func serveSluiceNative(_, addr string) error {
	s := &httpd.Server{Addr: addr, Handler: handler, LoopHandler: func(x *httpd.RequestCtx) bool {
		switch string(x.Path()) {
		case panicPath:
			panic("a handler's fault, on purpose")
		case writePath:
			x.Write(payload())
		default:
			x.Write(x.Body())
		}
		return true
	}}
	return s.ListenAndServe()
}

func serveFastHTTP(_, addr string) error {
	return fasthttp.ListenAndServe(addr, func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case panicPath:
			panic("a handler's fault, on purpose")
		case writePath:
			ctx.Write(payload())
		default:
			ctx.Write(ctx.PostBody())
		}
	})
}

func serveHertz(_, addr string) error {
	h := server.Default(server.WithHostPorts(addr))
	h.POST("/", func(_ context.Context, c *app.RequestContext) { c.Write(c.Request.Body()) })
	h.GET(writePath, func(_ context.Context, c *app.RequestContext) { c.Write(payload()) })
	h.GET(panicPath, func(context.Context, *app.RequestContext) { panic("a handler's fault, on purpose") })
	return h.Run()
}

func serveNbHTTP(_, addr string) error { return nbHTTP(addr, nbhttp.DefaultIOMod) }

// serveNbHTTPMixed gives its first connections goroutines.
func serveNbHTTPMixed(_, addr string) error { return nbHTTP(addr, nbhttp.IOModMixed) }

func nbHTTP(addr string, mode int) error {
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp",
		Addrs:   []string{addr},
		NPoller: 1,
		IOMod:   mode,
		Handler: handler,
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}
