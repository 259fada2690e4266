package servers

import (
	"context"
	"net/http"
	"strconv"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/netpoll"
)

func hertzHTTP(addr string) error {
	if err := netpoll.SetNumLoops(Loops()); err != nil {
		return err
	}
	h := server.New(
		server.WithHostPorts(addr),
		server.WithDisablePrintRoute(true),
		config.Option{F: func(o *config.Options) { o.NoDefaultServerHeader = true }}, // as the others
	)
	h.GET(PlainPath, func(_ context.Context, c *app.RequestContext) {
		c.SetContentType(contentType)
		c.SetBodyString(greeting)
	})
	h.GET(WorkPath, func(_ context.Context, c *app.RequestContext) {
		n, err := strconv.Atoi(c.Query("n"))
		if err != nil || n < 0 || n > maxWork {
			c.String(http.StatusBadRequest, "n?")
			return
		}
		c.SetContentType(contentType)
		c.Response.SetBody(work(n))
	})
	return h.Run()
}
