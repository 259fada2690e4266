package buffer_test

import (
	"fmt"

	"github.com/sluice-go/sluice/buffer"
)

// Lines are read in place, though one of them lies across two arrivals.
func Example() {
	var pool buffer.Pool
	var in buffer.LinkBuffer
	in.SetPool(&pool)

	for _, arrival := range []string{"first line\nsecond ", "line\nthe beginning of a th"} {
		_, _ = in.WriteString(arrival)
		for {
			line, err := in.Until('\n')
			if err != nil {
				break // the rest of the line has yet to arrive
			}
			fmt.Printf("%q\n", line)
		}
		in.Release() // no line is used from here on
	}
	fmt.Println(in.Len(), "bytes unread in", pool.Live(), "block")

	in.Close()
	fmt.Println(pool.Live(), "blocks")
	// Output:
	// "first line\n"
	// "second line\n"
	// 21 bytes unread in 1 block
	// 0 blocks
}

// A proxy passes a body on without copying it.
func ExampleLinkBuffer_Slice() {
	var in, out buffer.LinkBuffer
	_, _ = in.WriteString("5\nhello, and what follows")

	header, _ := in.Until('\n')
	n := int(header[0] - '0')
	if err := in.Slice(&out, n); err != nil {
		fmt.Println(err)
	}
	in.Close() // the body stays alive in out

	for _, piece := range out.Buffers(nil, 16) {
		fmt.Printf("%s\n", piece)
	}
	out.Close()
	// Output: hello
}

// A frame is composed in place and its payload linked.
func ExampleLinkBuffer_Malloc() {
	var out buffer.LinkBuffer
	payload := []byte("payload")
	header := out.Malloc(2)
	header[0], header[1] = 0x82, byte(len(payload))
	out.Append(payload)

	fmt.Printf("%q\n", out.Buffers(nil, 16))
	out.Close()
	// Output: ["\x82\a" "payload"]
}
