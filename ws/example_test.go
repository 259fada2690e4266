package ws_test

import (
	"fmt"

	"github.com/sluice-go/sluice/ws"
)

func Example() {
	p := []byte("\x01\x83\x37\xfa\x21\x3d\x7f\x9f\x4d" + // "Hel", to be continued, masked
		"\x89\x80\x37\xfa\x21\x3d" + // a ping
		"\x80\x82\x37\xfa\x21\x3d\x5b\x95") // "lo"
	var d ws.Decoder
	d.Reset(ws.FromClient, false, ws.Limits{Message: 1 << 20})
	for len(p) > 0 {
		part, n, err := d.Next(p)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v %q, last: %v\n", part.Opcode, part.Data, part.Last)
		p = p[n:]
	}
	h := ws.Header{Fin: true, Opcode: ws.Text, Length: 5}
	fmt.Printf("%q\n", append(h.Append(nil), "Hello"...))
	// Output:
	// text "Hel", last: false
	// ping "", last: true
	// text "lo", last: true
	// "\x81\x05Hello"
}
