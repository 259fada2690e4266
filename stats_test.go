package sluice

import (
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

func TestStatsTellWhichLoopsCallbackBlocks(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		entered, leave := make(chan int, 1), make(chan struct{})
		e := w.engine(t, Config{Loops: 2})
		ln := w.serve(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			if p, _ := in.Next(in.Len()); p[0] == 'b' {
				entered <- c.Loop()
				<-leave
			}
			_, _ = c.WriteString("x")
		}})
		p := w.connect(t, ln)
		mustEcho(t, p, []byte("x"))
		rest := func() bool {
			for _, l := range e.Stats().Loops {
				if l.Busy != 0 {
					return false
				}
			}
			return true
		}
		eventually(t, "all loops to wait", rest)
		if _, err := p.Write([]byte("b")); err != nil {
			t.Fatal(err)
		}
		at := receive(t, "the callback", entered)
		const long = 20 * time.Millisecond
		eventually(t, "the loop to be busy", func() bool { return e.Stats().Loops[at].Busy > long })
		for i, l := range e.Stats().Loops {
			if i != at && l.Busy > long {
				t.Errorf("loop %d is busy, too, for %v", i, l.Busy)
			}
		}
		close(leave)
		eventually(t, "all loops to wait again", rest)
	})
}
