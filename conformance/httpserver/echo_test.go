package httpserver

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// echoApps is echo with its middleware.
var echoApps = []app{{
	name: "echo", handler: echoServer, scrub: []string{`X-Request-Id: [0-9A-Za-z]{32}`},
	exchanges: []exchange{
		get("parameter", "/items/42?q=1", "X-Request-Id: abc"),
		get("request id", "/items/42"),
		one("nowhere", "404 kept", message("GET /nowhere")),
		one("wrong method", "405 kept", message("DELETE /items/42")),
		one("slash added", "301 kept", message("GET /moved/items/42/")),
		one("JSON", "201 kept", upload("POST /items", `{"name": "a", "count": 3}`, "Content-Type: application/json")),
		one("JSON invalid", "400 kept", upload("POST /items", `{"count": `, "Content-Type: application/json")),
		one("form", "201 kept", upload("POST /items", `name=a&count=4`, "Content-Type: application/x-www-form-urlencoded")),
		one("compressed upload", "201 kept", upload("POST /items", gzipped, "Content-Type: application/json", "Content-Encoding: gzip")),
		one("body too large", "413 closed", upload("POST /items", megabyte, "Content-Type: application/json")),
		one("body too large, in chunks", "413 closed", chunked("POST /items", `{"name": "`+megabyte+`"}`, "Content-Type: application/json")),
		get("compressed", "/text", "Accept-Encoding: gzip"),
		get("not compressed", "/text"),
		get("stream", "/stream"),
		get("stream compressed", "/stream", "Accept-Encoding: gzip"),
		get("static", "/static/file.txt"),
		one("static range", "206 kept", message("GET /static/file.txt", "Range: bytes=-10")),
		get("attachment", "/attachment"),
		one("panic", "500 kept", message("GET /panic")),
		one("error", "418 kept", message("GET /error")),
		one("no content", "204 kept", message("GET /nothing")),
		get("in time", "/in-time"),
		one("timeout", "503 kept", message("GET /slow")),
		one("preflight", "204 kept", message("OPTIONS /items/42", "Origin: https://a.example", "Access-Control-Request-Method: GET")),
		get("cross-origin", "/items/42", "Origin: https://a.example"),
		one("no key", "400 kept", message("GET /key/")),
		get("key", "/key/", "Authorization: Bearer key"),
		one("hijack", "299 closed", message("GET /hijack")),
		{name: "many at once", want: "200 201 500 200 404 kept", pipelined: true, send: []string{
			message("GET /items/1"), upload("POST /items", `{"name": "a", "count": 3}`, "Content-Type: application/json"),
			message("GET /panic"), message("GET /stream"), message("GET /nowhere"),
		}},
	},
}}

// gzipped is {"name":"z"} as gzip packs it.
var gzipped = pack(`{"name":"z"}`)

func echoServer(t *testing.T) http.Handler {
	dir := t.TempDir()
	file := filepath.Join(dir, "file.txt")
	if err := os.WriteFile(file, []byte(kilobyte), 0o644); err != nil {
		t.Fatal(err)
	}
	modified := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	if err := os.Chtimes(file, modified, modified); err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.Use(middleware.LoggerWithConfig(middleware.LoggerConfig{Output: io.Discard}),
		middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true, LogErrorFunc: func(_ echo.Context, err error, _ []byte) error { return err }}),
		middleware.RequestID(), middleware.Secure(), middleware.BodyLimit("100K"), middleware.Decompress(),
		middleware.Gzip(), middleware.CORSWithConfig(middleware.CORSConfig{AllowOrigins: []string{"https://a.example"}}))
	e.Pre(middleware.RemoveTrailingSlashWithConfig(middleware.TrailingSlashConfig{
		Skipper:      func(c echo.Context) bool { return c.Request().URL.Path[:2] != "/m" }, // the others are as they are
		RedirectCode: http.StatusMovedPermanently,
	}))
	e.GET("/items/:id", func(c echo.Context) error {
		return c.String(http.StatusOK, c.Param("id")+c.QueryParam("q")+c.RealIP()+c.Scheme())
	})
	e.POST("/items", func(c echo.Context) error {
		var item struct {
			Name  string `json:"name" form:"name"`
			Count int    `json:"count" form:"count"`
		}
		if err := c.Bind(&item); err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, item)
	})
	e.GET("/text", func(c echo.Context) error { return c.String(http.StatusOK, megabyte) })
	e.GET("/stream", func(c echo.Context) error {
		c.Response().WriteHeader(http.StatusOK)
		for range 3 {
			io.WriteString(c.Response(), kilobyte)
			c.Response().Flush()
		}
		return nil
	})
	e.Static("/static", dir)
	e.GET("/attachment", func(c echo.Context) error { return c.Attachment(file, "name.txt") })
	e.GET("/panic", func(c echo.Context) error { panic("boom") })
	e.GET("/error", func(c echo.Context) error { return echo.NewHTTPError(http.StatusTeapot, "short and stout") })
	e.GET("/nothing", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	// Its Timeout, unlike its ContextTimeout, is not used where it would act: its
	// own documentation says that it races then.
	e.GET("/in-time", func(c echo.Context) error { return c.String(http.StatusOK, "in time") },
		middleware.TimeoutWithConfig(middleware.TimeoutConfig{Timeout: bound}))
	e.GET("/slow", func(c echo.Context) error {
		<-c.Request().Context().Done()
		return c.Request().Context().Err()
	}, middleware.ContextTimeout(10*time.Millisecond))
	e.GET("/key/", func(c echo.Context) error { return c.String(http.StatusOK, "in") },
		middleware.KeyAuth(func(key string, c echo.Context) (bool, error) { return key == "key", nil }))
	e.GET("/hijack", func(c echo.Context) error {
		conn, rw, err := c.Response().Hijack()
		if err != nil {
			return err
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 299 Mine\r\nContent-Length: 0\r\n\r\n")
		return rw.Flush()
	})
	return e
}
