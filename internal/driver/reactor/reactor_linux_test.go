package reactor

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/drivertest"
)

// handler is what a test does about the driver's reports.
type handler struct {
	received func(id driver.ID, b *buffer.Block, p []byte, err error)
	sent     func(id driver.ID, n int, err error)
	closed   func(id driver.ID)
}

func (h *handler) Accepted(driver.ID, int, error)  {}
func (h *handler) Connected(driver.ID, int, error) {}
func (h *handler) Received(id driver.ID, b *buffer.Block, p []byte, err error) {
	if h.received != nil {
		h.received(id, b, p, err)
	}
}
func (h *handler) Sent(id driver.ID, n int, err error) {
	if h.sent != nil {
		h.sent(id, n, err)
	}
}
func (h *handler) Closed(id driver.ID) {
	if h.closed != nil {
		h.closed(id)
	}
}

// counted counts what the poller is asked for.
type counted struct {
	poller
	adds, modifies, removes, waits int
}

func (c *counted) add(fd int, t token, want interest) error {
	c.adds++
	return c.poller.add(fd, t, want)
}

func (c *counted) modify(fd int, t token, had, want interest) error {
	c.modifies++
	return c.poller.modify(fd, t, had, want)
}

func (c *counted) remove(fd int, had interest) error {
	c.removes++
	return c.poller.remove(fd, had)
}

func (c *counted) wait(events []event, wait time.Duration) (int, error) {
	c.waits++
	return c.poller.wait(events, wait)
}

// newReactor makes a reactor over epoll and counts what it asks of it.
func newReactor(t testing.TB, h driver.Events) (*reactor, *counted) {
	t.Helper()
	d, err := Epoll().New(h, new(buffer.Pool))
	if err != nil {
		t.Fatal(err)
	}
	r := d.(*reactor)
	c := &counted{poller: r.poller}
	r.poller = c
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r, c
}

// pair opens one end of a stream as id and returns the other, which belongs
// to the test.
func pair(t testing.TB, r *reactor, id driver.ID) (peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	if _, err := r.Open(id, fds[0]); err != nil {
		t.Fatal(err)
	}
	return fds[1]
}

func poll(t testing.TB, r *reactor, wait time.Duration) {
	t.Helper()
	if err := r.Poll(wait); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, fd int, b []byte) {
	t.Helper()
	if n, err := unix.Write(fd, b); n != len(b) || err != nil {
		t.Fatalf("the peer wrote %d bytes: %v", n, err)
	}
}

func TestConnectionStateIsSmallAndFreeOfPointers(t *testing.T) {
	if size := unsafe.Sizeof(conn{}); size != 16 {
		t.Errorf("a connection takes %d bytes, want 16", size)
	}
}

// An echo is one wait, one read and one write: the poller is asked for
// nothing else, and nothing is allocated.
func TestEchoAllocatesNothingAndKeepsItsRegistration(t *testing.T) {
	var r *reactor
	h := &handler{}
	bufs := make([][]byte, 1)
	h.received = func(id driver.ID, _ *buffer.Block, p []byte, err error) {
		bufs[0] = p
		if n, err := r.Send(id, bufs); n != len(p) || err != nil {
			t.Errorf("Send: %d, %v", n, err)
		}
	}
	r, asked := newReactor(t, h)
	peer := pair(t, r, 0)
	message := make([]byte, 64)
	allocs := testing.AllocsPerRun(100, func() {
		write(t, peer, message)
		poll(t, r, -1)
		if n, err := unix.Read(peer, message); n != len(message) || err != nil {
			t.Fatalf("the peer read %d bytes: %v", n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per echo", allocs)
	}
	if asked.adds != 1 || asked.modifies+asked.removes != 0 {
		t.Errorf("the poller was asked for %d adds, %d modifies, %d removes, want 1, 0, 0", asked.adds, asked.modifies, asked.removes)
	}
	if asked.waits != 101 {
		t.Errorf("101 echoes took %d waits", asked.waits)
	}
}

func TestPauseAndResumeCostNothingUnlessBytesArrive(t *testing.T) {
	var r *reactor
	h := &handler{}
	h.received = func(id driver.ID, _ *buffer.Block, p []byte, err error) { r.Pause(id) }
	r, asked := newReactor(t, h)
	peer := pair(t, r, 0)
	for range 10 {
		write(t, peer, []byte("request"))
		poll(t, r, -1)
		poll(t, r, 0)
		r.Resume(0)
	}
	if asked.modifies+asked.removes > 0 {
		t.Errorf("the poller was asked for %d modifies and %d removes", asked.modifies, asked.removes)
	}
	r.Pause(0)
	write(t, peer, []byte("more"))
	for range 10 {
		poll(t, r, 0)
	}
	if asked.removes != 1 || r.conns[0].watched != 0 {
		t.Errorf("what is paused and has bytes is still watched (%d removes)", asked.removes)
	}
}

func TestLargeSendChangesTheRegistrationTwice(t *testing.T) {
	var r *reactor
	rest := make([]byte, 8<<20)
	send := func(id driver.ID) {
		n, err := r.Send(id, [][]byte{rest})
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	h := &handler{sent: func(id driver.ID, n int, err error) { send(id) }}
	r, asked := newReactor(t, h)
	peer := pair(t, r, 0)
	send(0)
	sink := make([]byte, 64<<10)
	for len(rest) > 0 {
		if _, err := unix.Read(peer, sink); err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		poll(t, r, 0)
	}
	poll(t, r, 0)
	if asked.modifies != 2 {
		t.Errorf("the registration was changed %d times, want 2", asked.modifies)
	}
}

func TestScratchBlockIsReplacedOnlyWhenRetained(t *testing.T) {
	var kept *buffer.Block
	h := &handler{received: func(_ driver.ID, b *buffer.Block, _ []byte, _ error) {
		b.Retain()
		kept = b
	}}
	r, _ := newReactor(t, h)
	peer := pair(t, r, 0)
	first := r.scratch
	write(t, peer, []byte("keep me"))
	poll(t, r, -1)
	if kept != first || r.scratch == first {
		t.Fatal("the retained block was not given away")
	}
	kept.Release()
	if live := r.pool.Live(); live != 1 {
		t.Errorf("%d blocks are out, want the scratch block alone", live)
	}
	h.received = nil
	second := r.scratch
	write(t, peer, []byte("forget me"))
	poll(t, r, -1)
	if r.scratch != second {
		t.Error("a block that nobody retained was replaced")
	}
}

func TestFullBatchGrowsAndNothingIsLost(t *testing.T) {
	const conns = 3 * batchMin
	got := map[driver.ID]int{}
	h := &handler{received: func(id driver.ID, _ *buffer.Block, p []byte, _ error) { got[id] += len(p) }}
	r, asked := newReactor(t, h)
	for id := range driver.ID(conns) {
		write(t, pair(t, r, id), []byte("x"))
	}
	for asked.waits < 3 {
		poll(t, r, 0)
	}
	if len(got) != conns {
		t.Errorf("%d of %d connections were heard in 3 waits", len(got), conns)
	}
	if len(r.batch) <= batchMin || len(r.batch) > batchMax {
		t.Errorf("the batch has room for %d events", len(r.batch))
	}
}

func TestEventForSomeoneForgottenStopsTheDriver(t *testing.T) {
	r, _ := newReactor(t, &handler{})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	pair(t, r, 0)
	if err := r.poller.add(fds[0], newToken(0, r.conns[0].generation), writable); err != nil {
		t.Fatal(err)
	}
	r.Shut(0, false)
	if err := r.Poll(0); err == nil || !strings.Contains(err.Error(), "connection 0") {
		t.Errorf("Poll returned %v", err)
	}
	if err := r.poller.remove(fds[0], writable); err != nil {
		t.Fatal(err)
	}
}

func TestDescriptorClosedBehindTheDriversBackStopsIt(t *testing.T) {
	r, _ := newReactor(t, &handler{})
	pair(t, r, 0)
	unix.Close(int(r.conns[0].fd))
	r.Shut(0, false)
	if err := r.Poll(0); !errors.Is(err, unix.EBADF) {
		t.Errorf("Poll returned %v, want EBADF", err)
	}
}

func TestMisuseIsNotPassedOver(t *testing.T) {
	r, _ := newReactor(t, &handler{})
	peer := pair(t, r, 0)
	r.Send(0, [][]byte{make([]byte, 8<<20)}) // stays unanswered
	_ = peer
	for name, misuse := range map[string]func(){
		"Send while another is unanswered": func() { r.Send(0, [][]byte{{1}}) },
		"Send to nobody":                   func() { r.Send(7, nil) },
		"Open of an id in use":             func() { r.Open(0, 0) },
		"Shut of nobody":                   func() { r.Shut(7, false) },
		"Pause of nobody":                  func() { r.Pause(7) },
		"Detach of nobody":                 func() { r.Detach(7) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			misuse()
		}()
	}
}

func TestRefusedRegistrationIsReported(t *testing.T) {
	var got []error
	h := &handler{received: func(_ driver.ID, _ *buffer.Block, _ []byte, err error) { got = append(got, err) }}
	r, asked := newReactor(t, h)
	peer := pair(t, r, 0)
	r.Pause(0)
	write(t, peer, []byte("x"))
	poll(t, r, 0)
	poll(t, r, 0) // no longer registered
	good := asked.poller
	asked.poller = refusing{good}
	r.Resume(0)
	if len(got) != 0 {
		t.Fatal("Resume reported by itself")
	}
	poll(t, r, -1)
	if len(got) != 1 || got[0] != errRefused {
		t.Fatalf("received %v, want one refusal", got)
	}
	other, err := unix.Dup(peer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(1, other); err != errRefused {
		t.Errorf("Open returned %v", err)
	}
	if err := unix.Close(other); err != unix.EBADF {
		t.Error("Open left the descriptor open")
	}
	asked.poller = good
	poll(t, r, 0)
	r.Shut(0, false)
}

var errRefused = errors.New("refused")

// refusing refuses to watch anything more.
type refusing struct{ poller }

func (refusing) add(int, token, interest) error { return errRefused }

func TestFinishedFlowIsNotResumed(t *testing.T) {
	ends := 0
	h := &handler{received: func(_ driver.ID, _ *buffer.Block, _ []byte, err error) {
		if err == io.EOF {
			ends++
		}
	}}
	r, _ := newReactor(t, h)
	peer := pair(t, r, 0)
	unix.Shutdown(peer, unix.SHUT_WR)
	for range 5 {
		poll(t, r, 0)
		r.Pause(0)
		r.Resume(0)
	}
	if ends != 1 {
		t.Errorf("EOF came %d times", ends)
	}
}

func TestWakeAfterCloseTouchesNoDescriptor(t *testing.T) {
	r, asked := newReactor(t, &handler{})
	number := asked.poller.(*epoll).eventfd
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if next != number {
		if err := unix.Dup3(next, number, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(number)
	}
	defer unix.Close(next)
	r.Wake()
	if _, err := unix.Read(next, make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("Wake wrote to the next user of its descriptor's number (%v)", err)
	}
}

func TestEveryEventLeadsSomewhere(t *testing.T) {
	for events, want := range map[uint32]interest{
		unix.EPOLLIN:                  readable,
		unix.EPOLLOUT:                 writable,
		unix.EPOLLIN | unix.EPOLLOUT:  readable | writable,
		unix.EPOLLERR:                 readable | writable | behind,
		unix.EPOLLHUP:                 readable | writable | behind,
		unix.EPOLLIN | unix.EPOLLHUP:  readable | writable | behind,
		unix.EPOLLOUT | unix.EPOLLERR: readable | writable | behind,
	} {
		if got := epollReady(events); got != want {
			t.Errorf("epollReady(%#x) = %b, want %b", events, got, want)
		}
	}
}

func TestMillisecondsRoundUp(t *testing.T) {
	for wait, want := range map[time.Duration]int{
		-1:                      -1,
		0:                       0,
		1:                       1,
		400 * time.Microsecond:  1,
		time.Millisecond:        1,
		time.Millisecond + 1:    2,
		1500 * time.Millisecond: 1500,
		math.MaxInt64:           math.MaxInt32,
	} {
		if got := milliseconds(wait); got != want {
			t.Errorf("milliseconds(%v) = %d, want %d", wait, got, want)
		}
	}
}

func TestNewSaysWhatFailed(t *testing.T) {
	restore := drivertest.ExhaustDescriptors(t)
	_, err := Epoll().New(&handler{}, new(buffer.Pool))
	restore()
	if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "epoll_create1") {
		t.Errorf("New returned %v", err)
	}
}

// A large message in hundreds of pieces leaves without an allocation, too.
func TestSendOfManyPiecesAllocatesNothing(t *testing.T) {
	r, _ := newReactor(t, &handler{})
	peer := pair(t, r, 0)
	bufs := make([][]byte, 3000)
	for i := range bufs {
		bufs[i] = []byte{byte(i)}
	}
	sink := make([]byte, 8000)
	allocs := testing.AllocsPerRun(20, func() {
		if n, err := r.Send(0, bufs); n != len(bufs) || err != nil {
			t.Fatalf("Send: %d, %v", n, err)
		}
		for got := 0; got < len(bufs); {
			n, err := unix.Read(peer, sink)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per Send", allocs)
	}
}
