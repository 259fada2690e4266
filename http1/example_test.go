package http1_test

import (
	"fmt"

	"github.com/sluice-go/sluice/http1"
)

func Example() {
	p := []byte("POST /greet HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n")
	var d http1.Decoder
	var h http1.Head
	n, err := d.Head(p, &h)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %s to %s\n", h.Method, h.Target, h.Host)
	for p = p[n:]; !d.Done(); p = p[n:] {
		var data []byte
		if data, n, err = d.Body(p); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s", data)
	}
	// Output:
	// POST /greet to example.com
	// hello, world
}

func ExampleEncoder() {
	b := http1.AppendStatusLine(nil, 1, 200, "")
	b = http1.AppendField(b, "Transfer-Encoding", "chunked")
	b = append(b, "\r\n"...)
	var e http1.Encoder
	e.Chunked()
	for _, piece := range []string{"hello", ", world"} {
		b, _ = e.Data(b, len(piece))
		b = append(b, piece...)
		b = e.AfterData(b)
	}
	b, err := e.End(b, nil)
	fmt.Printf("%q %v\n", b, err)
	// Output:
	// "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n" <nil>
}
