package servers

import "github.com/valyala/fasthttp"

func fastHTTP(addr string) error {
	s := &fasthttp.Server{
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
	return s.ListenAndServe(addr)
}
