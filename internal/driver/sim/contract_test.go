package sim_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// breaches are uses that no engine may make of a driver, and a word of what is
// recorded. Connection 1 is open over descriptor fd, connection 2 was shut and
// reported closed, connection 3 was shut just now.
var breaches = []struct {
	want   string
	breach func(e *ear, fd int)
}{
	{"Send of unknown connection 9", func(e *ear, _ int) { e.d.Send(9, [][]byte{{1}}) }},
	{"Send of unknown connection 2", func(e *ear, _ int) { e.d.Send(2, [][]byte{{1}}) }},
	{"Send of connection 3 after Shut", func(e *ear, _ int) { e.d.Send(3, [][]byte{{1}}) }},
	{"while another is unanswered", func(e *ear, _ int) {
		e.d.Send(1, [][]byte{make([]byte, 100_000)})
		e.d.Send(1, [][]byte{{1}})
	}},
	{"Send of connection 1 after CloseWrite", func(e *ear, _ int) {
		e.d.CloseWrite(1)
		e.d.Send(1, [][]byte{{1}})
	}},
	{"CloseWrite of connection 1 while a Send is unanswered", func(e *ear, _ int) {
		e.d.Send(1, [][]byte{make([]byte, 100_000)})
		e.d.CloseWrite(1)
	}},
	{"CloseWrite of unknown connection 4", func(e *ear, _ int) { e.d.CloseWrite(4) }},
	{"Pause of unknown connection 7", func(e *ear, _ int) { e.d.Pause(7) }},
	{"Resume of connection 3 after Shut", func(e *ear, _ int) { e.d.Resume(3) }},
	{"Shut of connection 3 after Shut", func(e *ear, _ int) { e.d.Shut(3, true) }},
	{"Shut of connection 1 after Shut or Detach", func(e *ear, _ int) {
		e.d.Detach(1)
		e.d.Shut(1, false)
	}},
	{"Detach of unknown connection 2", func(e *ear, _ int) { e.d.Detach(2) }},
	{"Detach of connection 1 while a Send is unanswered", func(e *ear, _ int) {
		e.d.Send(1, [][]byte{make([]byte, 100_000)})
		e.d.Detach(1)
	}},
	{"Open: descriptor 77 is no open connection", func(e *ear, _ int) { e.d.Open(5, 77) }},
	{"Open: descriptor 4 is a driver's already", func(e *ear, fd int) { e.d.Open(5, fd) }},
	{"Open: connection 1 is in use", func(e *ear, _ int) {
		e.net.Dial(e.addr)
		e.poll()
		e.d.Open(1, e.accepted[len(e.accepted)-1])
	}},
	{"Dial: connection 1 is in use", func(e *ear, _ int) { e.d.Dial(1, e.addr) }},
	{"is not a small number", func(e *ear, _ int) { e.d.Dial(1<<31, e.addr) }},
	{"Pause of connection 5 before Connected", func(e *ear, _ int) {
		e.d.Dial(5, e.addr)
		e.d.Pause(5)
	}},
	{"Listen: 0 is in use", func(e *ear, _ int) { e.d.Listen(0, e.listen) }},
	{"Listen: descriptor 4 is no open listener", func(e *ear, fd int) { e.d.Listen(1, fd) }},
	{"CloseListener of descriptor 3 while loop 1 accepts", func(e *ear, _ int) { e.net.CloseListener(e.listen) }},
	{"CloseListener of descriptor 4", func(e *ear, fd int) { e.net.CloseListener(fd) }},
	{"TryWrite of descriptor 99", func(e *ear, _ int) { e.d.TryWrite(99, []byte{1}) }},
	{"TryWrite of descriptor 4 while a Send is unanswered", func(e *ear, fd int) {
		e.d.Send(1, [][]byte{make([]byte, 100_000)})
		e.d.TryWrite(fd, []byte{1})
	}},
	{"TryWrite of descriptor 4", func(e *ear, fd int) {
		e.d.Shut(1, false)
		e.d.TryWrite(fd, []byte{1})
	}},
	{"Unsent of descriptor 99", func(e *ear, _ int) { e.d.Unsent(99) }},
	{"SetNoDelay of descriptor -1", func(e *ear, _ int) { e.d.SetNoDelay(-1, true) }},
	{"SetKeepAlive of descriptor 99", func(e *ear, _ int) { e.d.SetKeepAlive(99, 0) }},
	{"LocalAddr of descriptor 99", func(e *ear, _ int) { e.d.LocalAddr(99) }},
	{"RemoteAddr of descriptor 99", func(e *ear, _ int) { e.d.RemoteAddr(99) }},
	{"Take of descriptor 4, which a driver still holds", func(e *ear, fd int) { e.net.Take(fd) }},
	{"File of descriptor 4, which a driver still holds", func(e *ear, fd int) { e.net.File(fd) }},
	{"Poll from inside Poll", func(e *ear, _ int) {
		e.onAccepted = func(int) { e.d.Poll(0) }
		e.net.Dial(e.addr)
		e.poll()
	}},
	{"Close from inside Poll", func(e *ear, _ int) {
		e.onAccepted = func(int) { e.d.Close() }
		e.net.Dial(e.addr)
		e.poll()
	}},
	{"Pause after Close", func(e *ear, _ int) {
		e.d.Close()
		e.d.Pause(1)
	}},
	{"Poll after Close", func(e *ear, _ int) {
		e.d.Close()
		e.d.Poll(0)
	}},
}

func TestBreachesOfContractAreRecorded(t *testing.T) {
	for _, personality := range []sim.Personality{sim.Readiness, sim.Completion} {
		for _, b := range breaches {
			e := newEar(t, sim.Config{Seed: 1, Personality: personality})
			_, fd := e.connect(1)
			e.connect(2)
			e.d.Shut(2, false)
			e.poll()
			e.connect(3)
			e.d.Shut(3, false)
			e.clean()
			b.breach(e, fd)
			if got := strings.Join(e.net.Violations(), "\n"); !strings.Contains(got, b.want) {
				t.Errorf("want %q, recorded:\n%s", b.want, got)
			}
		}
	}
}

func TestViolationsAreBounded(t *testing.T) {
	e := newEar(t, sim.Config{})
	for range 1000 {
		e.d.Pause(1)
	}
	if n := len(e.net.Violations()); n != 100 {
		t.Errorf("%d are kept", n)
	}
}

func TestWakeIsAllowedAfterClose(t *testing.T) {
	e := newEar(t, sim.Config{})
	e.d.Close()
	e.d.Wake()
	e.clean()
}

func TestDescriptorsAreUsedAgainLowestFirst(t *testing.T) {
	e := newEar(t, sim.Config{Personality: sim.Readiness})
	fds := map[driver.ID]int{}
	for id := range driver.ID(200) {
		_, fds[id] = e.connect(id)
		if fds[id] != 4+int(id) {
			t.Fatalf("connection %d has descriptor %d", id, fds[id])
		}
	}
	for _, id := range []driver.ID{150, 20, 99} {
		e.d.Shut(id, false)
	}
	e.poll()
	var again []int
	for _, id := range []driver.ID{20, 99, 150, 200} {
		_, fd := e.connect(id)
		again = append(again, fd)
	}
	if want := []int{fds[20], fds[99], fds[150], 204}; !slices.Equal(again, want) {
		t.Errorf("got %v, want %v", again, want)
	}
	e.clean()
}

func TestReadinessFreesTheDescriptorInShutCompletionLater(t *testing.T) {
	for _, personality := range []sim.Personality{sim.Readiness, sim.Completion} {
		e := newEar(t, sim.Config{Personality: personality})
		e.connect(1)
		e.d.Shut(1, false)
		at, want := e.net.Descriptors(), 1
		if personality == sim.Completion {
			want = 2
		}
		if at != want {
			t.Errorf("personality %d: %d descriptors after Shut, want %d", personality, at, want)
		}
		e.poll()
		if n := e.net.Descriptors(); n != 1 || len(e.closed) != 1 {
			t.Errorf("personality %d: %d descriptors, closed %v", personality, n, e.closed)
		}
		e.clean()
	}
}

func TestLentBytesAreSpoiledWhenTheLoanEnds(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, _ := e.connect(1)
	write(t, p, "lent")
	e.poll()
	if spoiled := bytes.Repeat([]byte{0xDB}, 4); !bytes.Equal(e.lent[0], spoiled) {
		t.Errorf("after the loan: %q", e.lent[0])
	}
	e.onReceived = func(b *buffer.Block, _ []byte) {
		b.Retain()
		e.blocks = append(e.blocks, b)
	}
	write(t, p, "kept")
	e.poll()
	if string(e.lent[1]) != "kept" {
		t.Errorf("retained: %q", e.lent[1])
	}
	e.blocks[0].Release()
	if n := e.pool.Live(); n != 0 {
		t.Errorf("%d blocks are left", n)
	}
}

func TestMemoryOfASendIsReadUntilSent(t *testing.T) {
	e := newEar(t, sim.Config{Personality: sim.Completion})
	p, _ := e.connect(1)
	text := []byte("in flight")
	if n, err := e.d.Send(1, [][]byte{text}); n != 0 || err != nil {
		t.Fatalf("Send: %d, %v", n, err)
	}
	if n, err := p.TryRead(make([]byte, 10)); n != 0 || err != nil {
		t.Fatalf("the peer read %d, %v before the completion", n, err)
	}
	copy(text, "too early")
	e.poll()
	got := make([]byte, 10)
	if n, _ := p.TryRead(got); string(got[:n]) == "in flight" {
		t.Error("the bytes had been copied")
	}
	if v := strings.Join(e.net.Violations(), "\n"); !strings.Contains(v, "changed before its Sent") {
		t.Errorf("violations: %q", v)
	}
}

func TestMemoryOfASendIsReadUntilClosedAfterShut(t *testing.T) {
	e := newEar(t, sim.Config{Personality: sim.Completion})
	e.connect(1)
	text := []byte("in flight")
	e.d.Send(1, [][]byte{text})
	e.d.Shut(1, false)
	copy(text, "too early")
	e.poll()
	if v := strings.Join(e.net.Violations(), "\n"); !strings.Contains(v, "changed before its Sent") {
		t.Errorf("violations: %q", v)
	}
}

func TestAnAbandonedSendMayHaveLeftInPart(t *testing.T) {
	text := "all or a part or nothing"
	lengths := map[int]bool{}
	for seed := range uint64(30) {
		for _, abort := range []bool{false, true} {
			e := newEar(t, sim.Config{Seed: seed, Personality: sim.Completion})
			p, _ := e.connect(1)
			e.d.Send(1, [][]byte{[]byte(text)})
			e.d.Shut(1, abort)
			e.poll()
			got := make([]byte, 100)
			n, _ := p.TryRead(got)
			if !strings.HasPrefix(text, string(got[:n])) || abort && n > 0 {
				t.Errorf("abort %v: the peer read %q", abort, got[:n])
			}
			want := io.EOF
			if abort {
				want = syscall.ECONNRESET
			}
			if _, err := p.TryRead(got); err != want {
				t.Errorf("abort %v: the peer reads: %v", abort, err)
			}
			lengths[n] = true
			e.clean()
		}
	}
	if len(lengths) < 5 {
		t.Errorf("only %d lengths occurred", len(lengths))
	}
}

func TestBytesTakenBeforeAPauseWaitForResume(t *testing.T) {
	// Some seed makes the driver take bytes in one Poll and report them in
	// another; a Pause between them must hold them back.
	held := false
	for seed := uint64(0); seed < 100 && !held; seed++ {
		e := newEar(t, sim.Config{Seed: seed, Personality: sim.Completion})
		p, _ := e.connect(1)
		write(t, p, "taken")
		for k := 0; k < 3 && !held; k++ {
			e.d.Poll(0)
			held = e.pool.Live() == 1 && len(e.chunks) == 0
		}
		if len(e.chunks) == 0 {
			e.d.Pause(1)
			e.poll()
			if len(e.chunks) != 0 {
				t.Fatalf("seed %d: received %q while paused", seed, e.chunks)
			}
			e.d.Resume(1)
		}
		e.poll()
		if strings.Join(e.chunks, "") != "taken" {
			t.Fatalf("seed %d: received %q", seed, e.chunks)
		}
		e.clean()
	}
	if !held {
		t.Error("no seed took bytes before reporting them")
	}
}

func TestDetachReportsWhatWasTakenAndLeavesTheRest(t *testing.T) {
	for seed := range uint64(50) {
		e := newEar(t, sim.Config{Seed: seed})
		p, fd := e.connect(1)
		write(t, p, "first")
		e.d.Poll(0)
		e.d.Pause(1)
		e.d.Detach(1)
		write(t, p, " second")
		e.poll()
		if !slices.Equal(e.closed, []driver.ID{1}) {
			t.Fatalf("seed %d: closed %v", seed, e.closed)
		}
		c, err := e.net.Take(fd)
		if err != nil {
			t.Fatal(err)
		}
		p.CloseWrite()
		rest, err := io.ReadAll(c)
		if got := strings.Join(e.chunks, "") + string(rest); got != "first second" || err != nil {
			t.Errorf("seed %d: received %q, then read %q, %v", seed, e.chunks, rest, err)
		}
		if _, err := c.Write([]byte("answer")); err != nil {
			t.Error(err)
		}
		c.Close()
		got := make([]byte, 10)
		if n, err := p.TryRead(got); string(got[:n]) != "answer" || err != nil {
			t.Errorf("the peer read %q, %v", got[:n], err)
		}
		if n := e.net.Descriptors(); n != 1 {
			t.Errorf("%d descriptors are open", n)
		}
		e.clean()
	}
}

func TestFileClosesADescriptorThatNoDriverHolds(t *testing.T) {
	for _, opened := range []bool{false, true} {
		e := newEar(t, sim.Config{})
		p, err := e.net.Dial(e.addr)
		if err != nil {
			t.Fatal(err)
		}
		e.poll()
		fd := e.accepted[0]
		if opened {
			if _, err := e.d.Open(1, fd); err != nil {
				t.Fatal(err)
			}
			e.d.Detach(1)
			e.poll()
		}
		if _, err := e.net.File(fd); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("File: %v", err)
		}
		if n := e.net.Descriptors(); n != 1 {
			t.Errorf("%d descriptors are open", n)
		}
		if _, err := p.TryRead(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer read: %v", err)
		}
		e.clean()
		if _, err := e.net.File(fd); !isErrno(err, syscall.EBADF) {
			t.Errorf("a second File: %v", err)
		}
	}
}

func TestADetachedDescriptorMayBeOpenedElsewhere(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, fd := e.connect(1)
	e.d.Detach(1)
	e.poll()
	other := e.another()
	if _, err := other.Open(1, fd); err != nil {
		t.Fatal(err)
	}
	write(t, p, "hello")
	for range 20 {
		e.d.Poll(0)
	}
	if len(e.chunks) != 0 {
		t.Error("the first driver reports")
	}
	for range 20 {
		other.Poll(0)
	}
	if strings.Join(e.chunks, "") != "hello" {
		t.Errorf("received %q", e.chunks)
	}
	e.clean()
}

func TestSendingToAPeerThatIsGoneEndsInAnError(t *testing.T) {
	e := newEar(t, sim.Config{Personality: sim.Readiness})
	p, _ := e.connect(1)
	p.Close()
	e.poll()
	if len(e.ends) != 1 || e.ends[0] != io.EOF {
		t.Fatalf("received %v", e.ends)
	}
	if n, err := e.d.Send(1, [][]byte{{1}}); n != 1 || err != nil {
		t.Errorf("the first Send: %d, %v", n, err)
	}
	if _, err := e.d.Send(1, [][]byte{{1}}); !isErrno(err, syscall.ECONNRESET) {
		t.Errorf("the second Send: %v", err)
	}
	e.poll()
	if len(e.ends) != 1 {
		t.Errorf("received %v after EOF", e.ends[1:])
	}
	e.clean()
}

func TestASlotUsedAgainKeepsNothingOfItsPast(t *testing.T) {
	e := newEar(t, sim.Config{Personality: sim.Readiness})
	other := &ear{t: t, net: e.net, addr: e.addr}
	other.d = other.another()
	stale, _ := e.connect(1)
	e.d.Unlisten(0)
	e.d.Pause(1)
	write(t, stale, "for the first")
	e.d.Resume(1) // The first loop is to look at it now.
	e.d.Shut(1, true)
	stale.Close()

	if err := other.d.Listen(0, e.listen); err != nil {
		t.Fatal(err)
	}
	p, err := e.net.Dial(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	for len(other.accepted) == 0 {
		other.d.Poll(0)
	}
	if _, err := other.d.Open(1, other.accepted[0]); err != nil {
		t.Fatal(err)
	}
	write(t, p, "for the second")
	for range 20 {
		e.d.Poll(0)
	}
	if len(e.chunks) != 0 || len(e.ends) != 0 || !slices.Equal(e.closed, []driver.ID{1}) {
		t.Errorf("the first loop received %q and %v, closed %v", e.chunks, e.ends, e.closed)
	}
	if n, err := stale.TryWrite([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("the closed peer writes: %d, %v", n, err)
	}
	for range 20 {
		other.d.Poll(0)
	}
	if strings.Join(other.chunks, "") != "for the second" {
		t.Errorf("the second loop received %q", other.chunks)
	}

	// The same for what a connection was told while it had the descriptor.
	other.d.Pause(1)
	other.d.Detach(1)
	for range 20 {
		other.d.Poll(0)
	}
	if _, err := e.d.Open(1, other.accepted[0]); err != nil {
		t.Fatal(err)
	}
	write(t, p, "for whoever has it")
	e.poll()
	if strings.Join(e.chunks, "") != "for whoever has it" {
		t.Errorf("the new holder received %q", e.chunks)
	}
	e.clean()
}

func TestAPeerThatGaveUpIsNotAccepted(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, err := e.net.Dial(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.Reset()
	e.poll()
	if len(e.accepted) != 0 || len(e.errs) != 0 || e.net.Descriptors() != 1 {
		t.Errorf("accepted %v, %v", e.accepted, e.errs)
	}
	e.clean()
}

func TestNothingLeavesAfterCloseWrite(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, fd := e.connect(1)
	e.d.CloseWrite(1)
	if n, err := e.d.TryWrite(fd, []byte("late")); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("TryWrite: %d, %v", n, err)
	}
	if n, err := p.TryRead(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("the peer reads %d, %v", n, err)
	}
	e.clean()
}

func TestClosingADriverGivesBackWhatItTook(t *testing.T) {
	for seed := range uint64(20) {
		e := newEar(t, sim.Config{Seed: seed, Personality: sim.Completion})
		p, _ := e.connect(1)
		write(t, p, "taken perhaps")
		e.d.Poll(0)
		e.d.Close()
		if n := e.pool.Live(); n != 0 {
			t.Fatalf("seed %d: %d blocks are left", seed, n)
		}
	}
}
