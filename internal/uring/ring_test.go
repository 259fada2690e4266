//go:build linux

package uring

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/uring/uringtest"
)

// ring makes an enabled ring for the time of the test, or skips it and says why.
func ring(t *testing.T, submissions, completions uint32) *Ring {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	r, err := New(submissions, completions)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	return r
}

// buffers gives the kernel n buffers of the given size.
func buffers(t *testing.T, r *Ring, n, size int) (*BufferRing, [][]byte) {
	t.Helper()
	b, err := r.NewBufferRing(1, n)
	if err != nil {
		t.Fatal(err)
	}
	var mem [][]byte
	for i := range n {
		mem = append(mem, make([]byte, size))
		b.Add(i, mem[i])
	}
	b.Publish()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, mem
}

// pair makes a TCP connection: a descriptor, and its other end.
func pair(t *testing.T) (int, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	t.Cleanup(func() { f.Close() })
	return int(f.Fd()), peer
}

// want enters until n completions have come.
func want(t *testing.T, r *Ring, n int) []Completion {
	t.Helper()
	var all []Completion
	for end := time.Now().Add(20 * time.Second); len(all) < n; {
		if time.Now().After(end) {
			t.Fatalf("%d of %d completions", len(all), n)
		}
		if err := r.Enter(100 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for c, ok := r.Next(); ok; c, ok = r.Next() {
			all = append(all, c)
		}
	}
	return all
}

// none enters and wants nothing to come.
func none(t *testing.T, r *Ring) {
	t.Helper()
	if err := r.Enter(20 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if c, ok := r.Next(); ok {
		t.Fatalf("a completion that nothing can have made: %+v", c)
	}
}

func TestReceiveEndsWithoutBuffersAndLosesNothing(t *testing.T) {
	r := ring(t, 8, 64)
	b, mem := buffers(t, r, 2, 8)
	fd, peer := pair(t)
	r.Receive(fd, 1, 7)
	if _, err := peer.Write([]byte("12345678abcdefghZZZZ")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, c := range want(t, r, 3) {
		id, taken := c.Buffer()
		switch {
		case c.Result > 0 && taken && c.More():
			got = append(got, mem[id][:c.Result]...)
		case c.Err() != unix.ENOBUFS || taken || c.More():
			t.Fatalf("%+v, want ENOBUFS", c)
		}
	}
	r.Receive(fd, 1, 7) // on an empty ring it ends at once
	if c := want(t, r, 1)[0]; c.Err() != unix.ENOBUFS || c.More() {
		t.Fatalf("%+v, want ENOBUFS", c)
	}
	b.Add(0, mem[0])
	b.Add(1, mem[1]) // for the end
	b.Publish()
	r.Receive(fd, 1, 7)
	c := want(t, r, 1)[0]
	id, _ := c.Buffer()
	if got = append(got, mem[id][:max(c.Result, 0)]...); string(got) != "12345678abcdefghZZZZ" {
		t.Errorf("received %q", got)
	}
	peer.Close()
	if c := want(t, r, 1)[0]; c.Result != 0 || c.More() {
		t.Errorf("at the end %+v", c)
	}
}

func TestFullCompletionQueueLosesNothing(t *testing.T) {
	r := ring(t, 2, 4)
	_, mem := buffers(t, r, 64, 1)
	fd, peer := pair(t)
	const message = "0123456789abcdefghijklmnopqrstuvwxyz"
	if _, err := peer.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for len(got) < len(message) {
		r.Receive(fd, 1, 7)
		for ended := false; !ended; {
			for _, c := range want(t, r, 1) {
				if id, ok := c.Buffer(); ok {
					got = append(got, mem[id][:c.Result]...)
				}
				if ended = !c.More(); !ended && len(got) == len(message) {
					r.Cancel(7, 8)
				}
			}
		}
	}
	if string(got) != message {
		t.Errorf("received %q", got)
	}
	if r.Count.Overflows == 0 {
		t.Error("the queue never overflowed: the test tests nothing")
	}
}

func TestSubmissionQueueOfAnyLengthIsHandedOver(t *testing.T) {
	r := ring(t, 4, 64)
	var fds []int
	for range 20 {
		fd, _ := pair(t)
		fds = append(fds, fd)
		r.PollWritable(fd, uint64(fd))
	}
	seen := map[uint64]bool{}
	for _, c := range want(t, r, len(fds)) {
		seen[c.UserData] = true
	}
	if len(seen) != len(fds) {
		t.Errorf("%d of %d answered", len(seen), len(fds))
	}
}

func TestRingWithAnArrayOfIndexes(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	r, err := newRing(4, 64, setupCQSize|setupSingleIssuer|setupDeferTaskrun|setupDisabled) // as before Linux 6.6
	if err != nil {
		t.Fatal(err)
	}
	r.flags = enterGetevents | enterExtArg
	defer r.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fd, _ := pair(t)
		for range 5 {
			r.PollWritable(fd, uint64(fd))
		}
		for _, c := range want(t, r, 5) {
			if c.UserData != uint64(fd) || c.Result <= 0 {
				t.Errorf("%+v, want that %d is writable", c, fd)
			}
		}
	}
}

func TestSendOfManyPiecesKeepsTheirOrder(t *testing.T) {
	r := ring(t, 4, 64)
	fd, peer := pair(t)
	var sent []byte
	for round := range 12 { // more than scratch has room for
		var bufs [][]byte
		for i := range PiecesMax {
			bufs = append(bufs, []byte{byte(round), byte(i)}[:1+i%2])
			sent = append(sent, bufs[i]...)
		}
		r.Send(fd, bufs, uint64(round))
		if round%3 == 2 {
			want(t, r, 3)
		}
	}
	got := make([]byte, len(sent))
	if _, err := readFull(peer, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("the peer read something else, %v", err)
	}
}

func readFull(c net.Conn, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k, err := c.Read(p[n:])
		if n += k; err != nil {
			return n, err
		}
	}
	return n, nil
}

func TestCancelledSendTellsWhatWent(t *testing.T) {
	r := ring(t, 4, 64)
	fd, peer := pair(t)
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 64<<20)
	r.Send(fd, [][]byte{big}, 1)
	first := want(t, r, 1)[0]
	if first.Result <= 0 || int(first.Result) == len(big) {
		t.Fatalf("%+v, want a part", first)
	}
	r.Send(fd, [][]byte{big}, 2) // nothing fits any more
	none(t, r)
	r.Cancel(2, 3)
	c := want(t, r, 1)[0]
	if c.UserData != 2 || c.Err() != unix.ECANCELED && c.Result <= 0 {
		t.Errorf("%+v, want ECANCELED or a part", c)
	}
	sent := int(first.Result) + int(max(c.Result, 0))
	unix.Shutdown(fd, unix.SHUT_WR)
	n, err := readFull(peer, make([]byte, sent+1))
	if n != sent {
		t.Errorf("the peer received %d bytes, %d were reported; %v", n, sent, err)
	}
}

func TestCloseUnderAReceiveDoesNotEndIt(t *testing.T) {
	r := ring(t, 4, 64)
	_, mem := buffers(t, r, 2, 8)
	fd, peer := pair(t)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Receive(dup, 1, 7)
	none(t, r)
	unix.Close(dup)
	none(t, r)
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c := want(t, r, 1)[0]
	if id, ok := c.Buffer(); !ok || mem[id][0] != 'x' || !c.More() {
		t.Errorf("%+v: closing did something after all; shutting may be made simpler", c)
	}
	r.Cancel(7, 8)
	if c := want(t, r, 1)[0]; c.Err() != unix.ECANCELED || c.More() {
		t.Errorf("%+v, want ECANCELED", c)
	}
}

func TestCancelOfNothingSaysSo(t *testing.T) {
	r := ring(t, 4, 64)
	r.Cancel(7, 8)
	if c := want(t, r, 1)[0]; c.UserData != 8 || c.Err() != unix.ENOENT {
		t.Errorf("%+v, want ENOENT", c)
	}
}

func TestEnterWaits(t *testing.T) {
	r := ring(t, 4, 64)
	begin := time.Now()
	if err := r.Enter(15 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Next(); ok || time.Since(begin) < 15*time.Millisecond {
		t.Errorf("back after %v", time.Since(begin))
	}
	enters := r.Count.Enters
	if err := r.Enter(0); err != nil || r.Count.Enters != enters {
		t.Errorf("an Enter with nothing to do made %d system calls, %v", r.Count.Enters-enters, err)
	}
	go func() {
		time.Sleep(5 * time.Millisecond)
		if err := r.Wake(42); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	}()
	if err := r.Enter(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if c, ok := r.Next(); ok && c.UserData != 42 {
		t.Errorf("%+v, want the wake", c)
	}
}

// TestClosedRingLeavesItsThread makes more rings than a thread may have
// registered at a time.
func TestClosedRingLeavesItsThread(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range 40 {
		r, err := New(4, 8)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Enable(); err != nil {
			t.Fatal(err)
		}
		if r.flags&enterRegistered == 0 {
			t.Errorf("ring %d is not registered: those before are still there", i)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRingOfAnotherThreadIsAnError(t *testing.T) {
	r := ring(t, 4, 64)
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // until its end: that thread registered nothing
		registered, flags := r.enterFd, r.flags
		r.enterFd, r.flags = r.fd, flags&^enterRegistered
		err := r.Enter(time.Millisecond)
		r.enterFd, r.flags = registered, flags
		result <- err
	}()
	if err := <-result; !errors.Is(err, unix.EEXIST) {
		t.Errorf("Enter on another thread: %v, want EEXIST", err)
	}
}

// TestProbeSaysWhy looks at what Probe says in a process that may not use
// io_uring, as in a container.
func TestProbeSaysWhy(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	for errno, words := range map[unix.Errno]string{
		unix.EPERM:  "seccomp",
		unix.ENOSYS: "no io_uring",
		unix.EINVAL: "6.1",
		unix.ENOMEM: "RLIMIT_MEMLOCK",
	} {
		result := make(chan error)
		go func() {
			if err := uringtest.Setup(errno); err != nil {
				result <- err
				return
			}
			result <- Probe()
		}()
		if err := <-result; err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("with %v Probe says %v, nothing of %q", errno, err, words)
		}
	}
}
