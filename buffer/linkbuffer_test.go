package buffer

import (
	"bytes"
	"testing"
)

func TestWrittenBytesAreReadInOrder(t *testing.T) {
	var p Pool
	var b LinkBuffer
	b.SetPool(&p)
	want := make([]byte, 300<<10)
	for i := range want {
		want[i] = byte(i * 7)
	}
	b.Write(want[:5])
	copy(b.Malloc(9<<10), want[5:])
	b.Append(want[5+9<<10 : 20<<10])
	b.Write(want[20<<10:])
	if b.Len() != len(want) || !bytes.Equal(b.Bytes(), want) {
		t.Fatal("the bytes differ from what was written")
	}
	var dst LinkBuffer
	dst.SetPool(&p)
	if err := b.Slice(&dst, 100); err != nil {
		t.Fatal(err)
	}
	b.Close()
	got, err := dst.Next(100)
	if err != nil || !bytes.Equal(got, want[:100]) {
		t.Fatalf("the slice holds %v, %v", got, err)
	}
	dst.Release()
	if p.Live() != 0 || p.LiveBytes() != 0 {
		t.Fatalf("%d blocks, %d bytes are still out", p.Live(), p.LiveBytes())
	}
}
