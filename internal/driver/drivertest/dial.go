package drivertest

import (
	"net"
	"strings"
)

// server makes an outside server.
func (r *rig) server() net.Listener {
	r.t.Helper()
	ln, err := r.f.Listen()
	if err != nil {
		r.t.Fatalf("Fixture.Listen: %v", err)
	}
	r.t.Cleanup(func() { ln.Close() })
	return ln
}

// serve accepts one connection at the outside server ln.
func (r *rig) serve(ln net.Listener) net.Conn {
	r.t.Helper()
	var p net.Conn
	r.during("the outside server accepts", func() (err error) {
		p, err = ln.Accept()
		return err
	})
	r.peers = append(r.peers, p)
	return p
}

// isConnected polls until Connected has come without an error.
func (c *conn) isConnected() {
	c.r.t.Helper()
	c.r.until("Connected", func() bool { return c.connected > 0 })
	if c.connectErr != nil {
		c.r.t.Fatalf("Connected reported %v", c.connectErr)
	}
}

func dialSuccess(r *rig) {
	ln := r.server()
	c := r.startDial(ln.Addr())
	c.isConnected()
	p := r.serve(ln)
	r.exchange(c, p, "hello")
	if got := r.d.RemoteAddr(c.fd); got == nil || got.String() != ln.Addr().String() {
		r.t.Errorf("RemoteAddr is %v, want %v", got, ln.Addr())
	}
	want := pattern(3<<20, 13)
	c.send(want)
	r.same("the server received", r.read(p, len(want)), want)
	r.settle()
	if c.connected != 1 {
		r.t.Errorf("Connected came %d times", c.connected)
	}
	r.during("the server ends", p.Close)
	c.eof()
	r.during("the server stops", ln.Close)
}

func dialRefused(r *rig) {
	ln, refuses := r.server(), r.server()
	r.during("the server stops", refuses.Close)
	c := r.startDial(refuses.Addr())
	var again *conn
	c.onConnected = func(err error) {
		if err != nil {
			again = r.startDial(ln.Addr()) // under the same id
		}
	}
	r.until("Connected", func() bool { return c.connected > 0 })
	if c.connectErr == nil {
		r.t.Fatal("Connected reported no error")
	}
	again.isConnected()
	p := r.serve(ln)
	if again.id != c.id {
		r.t.Fatal("the id was not used again")
	}
	r.exchange(again, p, "hello")
	r.settle()
	r.during("the server stops", ln.Close)
}

func dialUnknown(r *rig) {
	c := r.startDial(&net.UnixAddr{Name: "/" + strings.Repeat("n", 300), Net: "unix"})
	r.until("Connected", func() bool { return c.connected > 0 })
	if c.connectErr == nil {
		r.t.Error("Connected reported no error")
	}
	r.settle()
}

func dialShut(r *rig) {
	ln := r.server()
	for _, abort := range []bool{false, true} {
		c := r.startDial(ln.Addr())
		c.shut(abort)
		c.isClosed()
		if c.connected > 0 {
			r.t.Errorf("Connected came after Shut(%v)", abort)
		}
	}
	refuses := r.server()
	r.during("the servers stop", func() error {
		ln.Close()
		return refuses.Close()
	})
	c := r.startDial(refuses.Addr())
	c.shut(false)
	c.isClosed()
	r.settle()
}
