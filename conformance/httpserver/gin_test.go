package httpserver

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/gin-contrib/cors"
	"github.com/gin-contrib/gzip"
	"github.com/gin-contrib/requestid"
	"github.com/gin-gonic/gin"
)

// ginApps is gin with its middleware.
var ginApps = []app{{
	name: "gin", handler: ginEngine, scrub: []string{`X-Request-Id: [0-9a-f-]{36}`},
	exchanges: []exchange{
		get("parameter", "/items/42?q=1&q=2", "X-Request-Id: abc"),
		get("request id", "/items/42"),
		one("nowhere", "404 kept", message("GET /nowhere")),
		one("wrong method", "405 kept", message("DELETE /items/42")),
		one("HEAD", "405 kept", message("HEAD /items/42")),
		one("trailing slash", "301 kept", message("GET /items/42/")),
		one("JSON", "201 kept", upload("POST /items", `{"name": "a", "count": 3}`, "Content-Type: application/json")),
		one("JSON in chunks", "201 kept", chunked("POST /items", `{"name": "a", "count": 3}`, "Content-Type: application/json")),
		one("JSON invalid", "400 kept", upload("POST /items", `{"count": 3}`, "Content-Type: application/json")),
		one("form", "201 kept", upload("POST /items", `name=a&count=4`, "Content-Type: application/x-www-form-urlencoded")),
		one("file", "200 kept", upload("POST /file", "--b\r\nContent-Disposition: form-data; name=file; filename=\"f.txt\"\r\n\r\n"+
			megabyte+"\r\n--b--\r\n", "Content-Type: multipart/form-data; boundary=b")),
		get("compressed", "/text", "Accept-Encoding: gzip"),
		get("not compressed", "/text"),
		get("stream", "/stream"),
		get("stream compressed", "/stream", "Accept-Encoding: gzip"),
		get("events", "/events"),
		get("static", "/static/file.txt"),
		one("static range", "206 kept", message("GET /static/file.txt", "Range: bytes=10-19")),
		get("reader", "/reader"),
		one("panic", "500 kept", message("GET /panic")),
		one("aborted", "403 kept", message("GET /forbidden")),
		one("redirect", "302 kept", message("GET /redirect")),
		get("XML", "/xml"),
		one("preflight", "204 kept", message("OPTIONS /items", "Origin: https://a.example", "Access-Control-Request-Method: POST")),
		one("cross-origin refused", "403 kept", message("GET /items/42", "Origin: https://b.example")),
		one("no credentials", "401 kept", message("GET /admin/")),
		get("credentials", "/admin/", "Authorization: Basic dXNlcjpwYXNz"),
		one("hijack", "299 closed", message("GET /hijack")),
		{name: "many at once", want: "200 201 500 200 404 kept", pipelined: true, send: []string{
			message("GET /items/1"), upload("POST /items", `{"name": "a", "count": 3}`, "Content-Type: application/json"),
			message("GET /panic"), message("GET /stream"), message("GET /nowhere"),
		}},
	},
}}

func ginEngine(t *testing.T) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	file := filepath.Join(t.TempDir(), "file.txt")
	if err := os.WriteFile(file, []byte(kilobyte), 0o644); err != nil {
		t.Fatal(err)
	}
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.Use(gin.LoggerWithWriter(io.Discard), gin.RecoveryWithWriter(io.Discard), requestid.New(), gzip.Gzip(gzip.DefaultCompression),
		cors.New(cors.Config{AllowOrigins: []string{"https://a.example"}, AllowMethods: []string{"POST"}}))
	e.GET("/items/:id", func(c *gin.Context) {
		c.String(http.StatusOK, "%s %v %s", c.Param("id"), c.QueryArray("q"), c.RemoteIP())
	})
	e.POST("/items", func(c *gin.Context) {
		var item struct {
			Name  string `json:"name" form:"name" binding:"required"`
			Count int    `json:"count" form:"count"`
		}
		if err := c.ShouldBind(&item); err != nil {
			c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
			return
		}
		c.JSON(http.StatusCreated, item)
	})
	e.POST("/file", func(c *gin.Context) {
		f, err := c.FormFile("file")
		if err != nil {
			panic(err)
		}
		c.JSON(http.StatusOK, gin.H{"name": f.Filename, "size": f.Size})
	})
	e.GET("/text", func(c *gin.Context) { c.String(http.StatusOK, megabyte) })
	e.GET("/stream", func(c *gin.Context) {
		rest := 3
		c.Stream(func(w io.Writer) bool {
			io.WriteString(w, kilobyte)
			rest--
			return rest > 0
		})
	})
	e.GET("/events", func(c *gin.Context) {
		for i := range 3 {
			c.SSEvent("tick", i)
			c.Writer.Flush()
		}
	})
	e.StaticFile("/static/file.txt", file)
	e.GET("/reader", func(c *gin.Context) {
		f, err := os.Open(file)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		c.DataFromReader(http.StatusOK, 100, "text/x", io.LimitReader(f, 100), map[string]string{"X-Extra": "1"})
	})
	e.GET("/panic", func(c *gin.Context) { panic("boom") })
	e.GET("/forbidden", func(c *gin.Context) { c.AbortWithStatusJSON(http.StatusForbidden, gin.H{"no": true}) })
	e.GET("/redirect", func(c *gin.Context) { c.Redirect(http.StatusFound, "/text") })
	e.GET("/xml", func(c *gin.Context) { c.XML(http.StatusOK, gin.H{"a": 1}) })
	e.GET("/hijack", func(c *gin.Context) {
		conn, rw, err := c.Writer.Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 299 Mine\r\nContent-Length: 0\r\n\r\n")
		rw.Flush()
	})
	admin := e.Group("/admin", gin.BasicAuth(gin.Accounts{"user": "pass"}))
	admin.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "admin") })
	return e
}
