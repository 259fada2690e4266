package sluice

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be the clients of TestMoreConnectionsThanDescriptors.
func TestMain(m *testing.M) {
	if addr := os.Getenv("SLUICE_TEST_CLIENTS_OF"); addr != "" {
		if err := clients(addr, os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// clients connects so many times to an echo server, says so, waits for the end of
// its input and uses every connection once more.
func clients(addr, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	var conns []net.Conn
	say := func(i int) error {
		c := conns[i]
		_ = c.SetDeadline(time.Now().Add(bound))
		want := fmt.Sprintf("connection %d", i)
		if _, err := io.WriteString(c, want); err != nil {
			return err
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			return fmt.Errorf("%s was echoed as %q, %v", want, got, err)
		}
		return nil
	}
	for i := range n {
		c, err := net.DialTimeout("tcp", addr, bound)
		if err != nil {
			return err
		}
		defer c.Close()
		if conns = append(conns, c); say(i) != nil {
			return fmt.Errorf("connection %d: %w", i, say(i))
		}
	}
	fmt.Println("all are connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for i := range conns {
		if err := say(i); err != nil {
			return err
		}
	}
	return nil
}

func TestMoreConnectionsThanDescriptors(t *testing.T) {
	if err := directSystem().Probe(); err != nil {
		t.Skip(err)
	}
	const limit, conns = 200, 350
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	low := before
	low.Cur = limit
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	if n := openDescriptors(t); n > limit/2 {
		t.Fatalf("%d descriptors are open already", n)
	}
	e, err := New(Config{Loops: 2, DirectDescriptors: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ln, err := e.Listen("tcp", "127.0.0.1:0", Funcs{Data: echo})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], strconv.Itoa(conns))
	cmd.Env = append(os.Environ(), "SLUICE_TEST_CLIENTS_OF="+ln.Addr().String())
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	text := bufio.NewReader(out)
	if line, err := text.ReadString('\n'); err != nil || line != "all are connected\n" {
		t.Fatalf("the clients say %q, %v", line, err)
	}
	var total, direct int64
	for _, l := range e.Stats().Loops {
		total += l.Conns
		direct += l.Direct
	}
	if n := openDescriptors(t); total != conns || direct != conns || n >= limit {
		t.Errorf("%d connections, %d of them direct, want %d; %d descriptors, of at most %d", total, direct, conns, n, limit)
	}
	_ = in.Close()
	if rest, err := io.ReadAll(text); err != nil || len(rest) > 0 {
		t.Errorf("the clients say %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDirectDescriptorsNeedTheirDriver(t *testing.T) {
	if _, err := New(Config{Driver: "epoll", DirectDescriptors: true}); err == nil {
		t.Error("they were accepted with epoll")
	}
}
