package sluice

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

func TestListenOnServesAListenerMadeElsewhereAndClosesIt(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprintf("%dLoops", loops), func(t *testing.T) { listenOn(t, w, loops) })
		}
	})
}

// listenOn has an engine of so many loops serve a listener of package net.
func listenOn(t *testing.T, w *world, loops int) {
	e := w.engine(t, Config{Loops: loops})
	l, err := w.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ln, err := e.ListenOn(l, w.ordered(t, Funcs{Data: echo}))
	if w.name == "sim" {
		if err == nil || !strings.Contains(err.Error(), "net.TCPListener") {
			t.Errorf("ListenOn of a %T: %v", l, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if ln.Addr().String() != l.Addr().String() {
		t.Errorf("Addr is %v, not %v", ln.Addr(), l.Addr())
	}
	for range 10 {
		mustEcho(t, w.connect(t, ln), pattern(1000))
	}
	if main := len(e.all()) > loops; main != (loops > 1) {
		t.Errorf("%d loops: a main loop: %v", loops, main)
	}
	c := w.connect(t, ln)
	mustEcho(t, c, []byte("open before Close"))
	if err := ln.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	mustEcho(t, c, []byte("open after Close"))
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if c, err := w.dial(l.Addr()); err == nil {
		c.Close()
		t.Error("a connection after Close")
	}
	if _, err := os.Stat(l.Addr().String()); w.network == "unix" && !os.IsNotExist(err) {
		t.Errorf("the file of the socket: %v", err)
	}
	if err := ln.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}

func TestAListenerThatListenOnRefusesStaysOpen(t *testing.T) {
	e, err := New(Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for name, try := range map[string]struct {
		l    net.Listener
		h    Handler
		want string
	}{
		"no listener": {nil, Funcs{}, "nil"},
		"no handler":  {tcp, nil, "nil"},
		"TLS":         {tls.NewListener(tcp, nil), Funcs{}, "*net.TCPListener or a *net.UnixListener"},
	} {
		if _, err := e.ListenOn(try.l, try.h); err == nil || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ListenOn(tcp, Funcs{}); !errors.Is(err, ErrEngineClosed) {
		t.Errorf("after the engine's Close: %v", err)
	}
	c, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own, err := tcp.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = own.Close()
}

func TestTheEnginesCloseClosesAListenerThatWasMadeElsewhere(t *testing.T) {
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.ListenOn(l, Funcs{}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener was open: %v", err)
	}
}
