package sim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// ear is a loop that does nothing but remember what it is told.
type ear struct {
	t         *testing.T
	net       *sim.Network
	pool      buffer.Pool
	d         driver.Driver
	listen    int
	addr      net.Addr
	accepted  []int
	errs      []error // of Accepted and Connected
	connected []int
	chunks    []string // of Received
	blocks    []*buffer.Block
	lent      [][]byte
	ends      []error // of Received
	sent      []int
	sentErrs  []error
	closed    []driver.ID

	onAccepted func(fd int)
	onReceived func(b *buffer.Block, p []byte)
}

func (e *ear) Accepted(_ driver.ID, fd int, err error) {
	if err != nil {
		e.errs = append(e.errs, err)
		return
	}
	e.accepted = append(e.accepted, fd)
	if e.onAccepted != nil {
		e.onAccepted(fd)
	}
}

func (e *ear) Connected(_ driver.ID, fd int, err error) {
	e.connected = append(e.connected, fd)
	e.errs = append(e.errs, err)
}

func (e *ear) Received(_ driver.ID, b *buffer.Block, p []byte, err error) {
	if err != nil {
		e.ends = append(e.ends, err)
		return
	}
	e.chunks = append(e.chunks, string(p))
	e.lent = append(e.lent, p)
	if e.onReceived != nil {
		e.onReceived(b, p)
	}
}

func (e *ear) Sent(_ driver.ID, n int, err error) {
	e.sent = append(e.sent, n)
	e.sentErrs = append(e.sentErrs, err)
}

func (e *ear) Closed(id driver.ID) { e.closed = append(e.closed, id) }

func newEar(t *testing.T, cfg sim.Config) *ear {
	e := &ear{t: t, net: sim.New(cfg)}
	e.d = e.another()
	var err error
	if e.listen, e.addr, err = e.net.Listen(context.Background(), "tcp", "127.0.0.1:80", driver.ListenOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := e.d.Listen(0, e.listen); err != nil {
		t.Fatal(err)
	}
	return e
}

// another makes one more driver that reports to e.
func (e *ear) another() driver.Driver {
	d, err := e.net.New(e, &e.pool)
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

// poll polls until there is nothing to report.
func (e *ear) poll() {
	for range 1000 {
		if e.net.Quiet() {
			return
		}
		if err := e.d.Poll(0); err != nil {
			e.t.Fatal(err)
		}
	}
	e.t.Fatal("there is no end to what is reported")
}

// connect makes a connection and opens it as id.
func (e *ear) connect(id driver.ID) (*sim.Peer, int) {
	e.t.Helper()
	p, err := e.net.Dial(e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	e.poll()
	fd := e.accepted[len(e.accepted)-1]
	if _, err := e.d.Open(id, fd); err != nil {
		e.t.Fatal(err)
	}
	return p, fd
}

// clean fails the test if there was a breach of contract.
func (e *ear) clean() {
	e.t.Helper()
	for _, v := range e.net.Violations() {
		e.t.Errorf("violation: %s", v)
	}
}

func write(t *testing.T, p *sim.Peer, s string) {
	t.Helper()
	if n, err := p.TryWrite([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("TryWrite: %d, %v", n, err)
	}
}

func TestShortReadsComeInPieces(t *testing.T) {
	e := newEar(t, sim.Config{Faults: sim.Faults{ShortRead: 1}})
	p, _ := e.connect(1)
	want := strings.Repeat("sluice", 500)
	write(t, p, want)
	e.poll()
	if len(e.chunks) < 3 || strings.Join(e.chunks, "") != want {
		t.Errorf("%d pieces with %d bytes", len(e.chunks), len(strings.Join(e.chunks, "")))
	}
	e.clean()
}

func TestPartialSendsLeaveARest(t *testing.T) {
	for _, personality := range []sim.Personality{sim.Readiness, sim.Completion} {
		e := newEar(t, sim.Config{Faults: sim.Faults{PartialSend: 1}, Personality: personality})
		p, fd := e.connect(1)
		text := []byte("these bytes will not leave at once")
		n, err := e.d.Send(1, [][]byte{text[:10], text[10:]})
		if n == len(text) || err != nil {
			t.Fatalf("Send: %d, %v", n, err)
		}
		e.poll()
		if len(e.sent) != 1 || n+e.sent[0] == len(text) || e.sentErrs[0] != nil {
			t.Fatalf("Sent: %v, %v", e.sent, e.sentErrs)
		}
		n += e.sent[0]
		if k, err := e.d.TryWrite(fd, text[n:]); k == len(text)-n || err != nil {
			t.Errorf("TryWrite: %d, %v", k, err)
		} else {
			n += k
		}
		got := make([]byte, 100)
		if k, err := p.TryRead(got); err != nil || !bytes.Equal(got[:k], text[:n]) {
			t.Errorf("the peer read %q, %v; %d bytes were sent", got[:k], err, n)
		}
		e.clean()
	}
}

func TestAFullBufferHoldsASendBack(t *testing.T) {
	for _, personality := range []sim.Personality{sim.Readiness, sim.Completion} {
		e := newEar(t, sim.Config{BufferBytes: 1000, Personality: personality})
		p, fd := e.connect(1)
		n, err := e.d.Send(1, [][]byte{make([]byte, 1500)})
		if err != nil || n > 1000 {
			t.Fatalf("Send: %d, %v", n, err)
		}
		e.poll()
		if len(e.sent) != 0 {
			t.Fatal("answered though nothing could leave")
		}
		got := make([]byte, 2000)
		if k, err := p.TryRead(got); k != 1000 || err != nil {
			t.Fatalf("the peer read %d, %v", k, err)
		}
		e.poll()
		if len(e.sent) != 1 {
			t.Fatal("not answered though there is room")
		}
		if personality == sim.Completion && e.sent[0] != 1500 {
			t.Errorf("a Send with all of its room was answered with %d bytes", e.sent[0])
		}
		for room := true; room; {
			k, err := e.d.TryWrite(fd, make([]byte, 300))
			if err != nil {
				t.Fatal(err)
			}
			room = k > 0
		}
		if n, err := p.TryWrite(got); n != 1000 || err != nil {
			t.Errorf("the peer could write %d, %v", n, err)
		}
		e.clean()
	}
}

func TestASpuriousAnswerFreesNothing(t *testing.T) {
	for _, personality := range []sim.Personality{sim.Readiness, sim.Completion} {
		e := newEar(t, sim.Config{BufferBytes: 1000, Personality: personality, Faults: sim.Faults{Spurious: 1}})
		_, fd := e.connect(1)
		if n, err := e.d.TryWrite(fd, make([]byte, 2000)); n != 1000 || err != nil {
			t.Fatalf("TryWrite: %d, %v", n, err)
		}
		if n, err := e.d.Send(1, [][]byte{{1}}); n != 0 || err != nil {
			t.Fatalf("Send: %d, %v", n, err)
		}
		e.poll()
		if len(e.sent) != 1 || e.sent[0] != 0 || e.sentErrs[0] != nil {
			t.Errorf("Sent: %v, %v", e.sent, e.sentErrs)
		}
		e.net.SetFaults(sim.Faults{})
		e.d.Send(1, [][]byte{{1}})
		if e.poll(); len(e.sent) != 1 {
			t.Errorf("the next Send was answered for nothing, too")
		}
		e.clean()
	}
}

func TestTheNetworkResets(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, fd := e.connect(1)
	e.net.SetFaults(sim.Faults{Reset: 1})
	write(t, p, "lost")
	e.poll()
	if len(e.chunks) != 0 || len(e.ends) != 1 || !errors.Is(e.ends[0], syscall.ECONNRESET) {
		t.Errorf("received %q and %v", e.chunks, e.ends)
	}
	if _, err := p.TryRead(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads: %v", err)
	}
	if _, err := p.TryWrite([]byte{1}); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer writes: %v", err)
	}
	if _, err := e.d.TryWrite(fd, []byte{1}); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("TryWrite: %v", err)
	}
	e.clean()
}

func TestAResetLetsArrivedBytesBeRead(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, _ := e.connect(1)
	write(t, p, "first")
	p.Reset()
	e.poll()
	if strings.Join(e.chunks, "") != "first" || len(e.ends) != 1 || !errors.Is(e.ends[0], syscall.ECONNRESET) {
		t.Errorf("received %q and %v", e.chunks, e.ends)
	}
	e.clean()
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	e := newEar(t, sim.Config{Personality: sim.Readiness})
	p, fd := e.connect(1)
	if _, err := e.d.TryWrite(fd, []byte("answer")); err != nil {
		t.Fatal(err)
	}
	write(t, p, "never read")
	e.d.Shut(1, false)
	got := make([]byte, 10)
	if n, err := p.TryRead(got); string(got[:n]) != "answer" || err != nil {
		t.Errorf("the peer read %q, %v", got[:n], err)
	}
	if _, err := p.TryRead(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer read: %v", err)
	}
	e.clean()
}

func TestAcceptingFailsAndStops(t *testing.T) {
	e := newEar(t, sim.Config{Faults: sim.Faults{AcceptFail: 1}})
	if _, err := e.net.Dial(e.addr); err != nil {
		t.Fatal(err)
	}
	e.poll()
	if len(e.errs) != 1 || !errors.Is(e.errs[0], syscall.EMFILE) {
		t.Fatalf("Accepted: %v", e.errs)
	}
	e.net.SetFaults(sim.Faults{})
	e.poll()
	if len(e.accepted) != 0 {
		t.Fatal("accepted though accepting had ended")
	}
	if err := e.d.Listen(0, e.listen); err != nil {
		t.Fatal(err)
	}
	e.poll()
	if len(e.accepted) != 1 {
		t.Error("the connection did not wait")
	}
	e.clean()
}

func TestDescriptorsRunOut(t *testing.T) {
	e := newEar(t, sim.Config{DescriptorLimit: 2})
	e.connect(1)
	if _, err := e.net.Dial(e.addr); err != nil {
		t.Fatal(err)
	}
	e.poll()
	e.d.Dial(2, e.addr)
	if _, _, err := e.net.Listen(context.Background(), "tcp", "127.0.0.1:0", driver.ListenOptions{}); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Listen: %v", err)
	}
	e.poll()
	if len(e.errs) != 2 || !errors.Is(e.errs[0], syscall.EMFILE) || !errors.Is(e.errs[1], syscall.EMFILE) {
		t.Fatalf("Accepted and Connected: %v", e.errs)
	}
	e.d.Shut(1, false)
	e.poll()
	if err := e.d.Listen(0, e.listen); err != nil {
		t.Fatal(err)
	}
	e.poll()
	if len(e.accepted) != 2 || e.accepted[0] != e.accepted[1] {
		t.Errorf("accepted %v", e.accepted)
	}
	e.clean()
}

func TestOpeningFails(t *testing.T) {
	e := newEar(t, sim.Config{Faults: sim.Faults{OpenFail: 1}})
	p, err := e.net.Dial(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	e.poll()
	if _, err := e.d.Open(1, e.accepted[0]); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("Open: %v", err)
	}
	if n := e.net.Descriptors(); n != 1 {
		t.Errorf("%d descriptors are open", n)
	}
	if _, err := p.TryRead(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads: %v", err)
	}
	e.clean()
}

func TestDelayedEventsOvertakeEachOther(t *testing.T) {
	e := newEar(t, sim.Config{Faults: sim.Faults{Delay: 0.5}, Live: true})
	var ps []*sim.Peer
	for id := range driver.ID(20) {
		p, _ := e.connect(id)
		ps = append(ps, p)
	}
	want := ""
	for i, p := range ps {
		write(t, p, string(rune('a'+i)))
		want += string(rune('a' + i))
	}
	e.poll()
	got := strings.Join(e.chunks, "")
	if got == want || len(got) != len(want) {
		t.Errorf("received %q", got)
	}
	e.clean()
}

func TestPollReturnsEarly(t *testing.T) {
	e := newEar(t, sim.Config{Faults: sim.Faults{EarlyReturn: 0.9}, Live: true})
	if _, err := e.net.Dial(e.addr); err != nil {
		t.Fatal(err)
	}
	polls := 0
	for ; len(e.accepted) == 0; polls++ {
		if err := e.d.Poll(-1); err != nil {
			t.Fatal(err)
		}
	}
	if polls < 2 {
		t.Error("the first Poll reported")
	}
	e.clean()
}

func TestConfigurationsThatMakeNoSensePanic(t *testing.T) {
	for name, cfg := range map[string]sim.Config{
		"probability above one": {Faults: sim.Faults{Reset: 1.1}},
		"negative probability":  {Faults: sim.Faults{ShortRead: -1}},
		"nothing ever":          {Faults: sim.Faults{Delay: 1}},
		"negative buffer":       {BufferBytes: -1},
		"unknown personality":   {Personality: 7},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			sim.New(cfg)
		}()
	}
}

func TestTimeIsVirtualInSteppedMode(t *testing.T) {
	n := sim.New(sim.Config{})
	d, err := n.New(&ear{t: t}, &buffer.Pool{})
	if err != nil {
		t.Fatal(err)
	}
	before := d.Now()
	n.Advance(3 * time.Hour)
	if got := d.Now() - before; got != 3*time.Hour {
		t.Errorf("the clock moved by %v", got)
	}
}
