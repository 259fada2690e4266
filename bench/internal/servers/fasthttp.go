package servers

import "github.com/valyala/fasthttp"

func fastHTTP(addr string) error { return newFastHTTP().ListenAndServe(addr) }

func fastHTTPS(addr string) error {
	config, err := serverTLS(ec)
	if err != nil {
		return err
	}
	s := newFastHTTP()
	s.TLSConfig = config
	return s.ListenAndServeTLS(addr, "", "")
}

func newFastHTTP() *fasthttp.Server {
	return &fasthttp.Server{
		NoDefaultServerHeader: true, // as the others
		Handler: func(ctx *fasthttp.RequestCtx) {
			switch string(ctx.Path()) {
			case PlainPath:
				ctx.SetContentType(contentType)
				ctx.SetBodyString(greeting)
			case WorkPath:
				n, err := ctx.QueryArgs().GetUint("n")
				if err != nil || n > maxWork {
					ctx.Error("n?", fasthttp.StatusBadRequest)
					return
				}
				ctx.SetContentType(contentType)
				ctx.SetBody(work(n))
			default:
				ctx.NotFound()
			}
		},
	}
}
