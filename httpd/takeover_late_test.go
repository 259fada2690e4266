package httpd

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

// TestCallbacksThatFoundTheConnectionBeforeItWasTakenOver has a loop's callbacks
// begin before TakeOver and go on after it.
func TestCallbacksThatFoundTheConnectionBeforeItWasTakenOver(t *testing.T) {
	calls := make(chan string, 10)
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hc := w.(*response).hc
		done := make(chan struct{})
		late := func(c sluice.Conn) {
			hc.onDrain(c)
			hc.onHangup(c, io.EOF)
			if !hc.busy() {
				t.Error("the connection is idle")
			}
			hc.onEOF(c)
		}
		err := hc.Execute(func(c sluice.Conn) {
			_, err := TakeOver(w, nil, sluice.Funcs{
				Open:  func(sluice.Conn) { calls <- "OnOpen" },
				Data:  func(_ sluice.Conn, in *buffer.LinkBuffer) { calls <- fmt.Sprintf("OnData %d", in.Len()) },
				Drain: func(sluice.Conn) { calls <- "OnDrain" },
				Hangup: func(_ sluice.Conn, err error) {
					if err != nil { // another follows Close if the handler has not returned yet
						calls <- "OnHangup " + err.Error()
					}
				},
				EOF:   func(c sluice.Conn) { calls <- "OnEOF"; _ = c.Close() },
				Close: func(sluice.Conn, error) { calls <- "OnClose" },
			})
			if err != nil {
				t.Error(err)
			}
			late(c)
			close(done)
		})
		if err != nil {
			t.Error(err)
		}
		<-done
	})}
	ln, err := s.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\nearly")
	var got []string
	for len(got) == 0 || got[len(got)-1] != "OnClose" {
		select {
		case call := <-calls:
			got = append(got, call)
		case <-time.After(20 * time.Second):
			t.Fatalf("only %v were called", got)
		}
	}
	if all := strings.Join(got, ", "); all != "OnOpen, OnDrain, OnHangup EOF, OnData 5, OnEOF, OnClose" {
		t.Errorf("%s were called", all)
	}
}

// TestAConnectionThatEndsBeforeItsOwnerIsCalled is told to it all the same.
func TestAConnectionThatEndsBeforeItsOwnerIsCalled(t *testing.T) {
	var got []string
	own := &taken{behind: true, h: sluice.Funcs{
		Open:  func(sluice.Conn) { got = append(got, "OnOpen"); panic("in OnOpen") },
		Close: func(_ sluice.Conn, err error) { got = append(got, "OnClose "+err.Error()) },
	}}
	func() {
		defer func() { _ = recover() }()
		own.onClose(sluice.Conn{}, io.ErrClosedPipe)
	}()
	if all := strings.Join(got, ", "); all != "OnOpen, OnClose "+io.ErrClosedPipe.Error() {
		t.Errorf("%s were called", all)
	}
}
