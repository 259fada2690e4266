package servers

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/child"
	"github.com/sluice-go/sluice/bench/internal/proc"
)

// TestMain lets the test binary be its own children: "serve NAME ADDR".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		s, err := Find(os.Args[2])
		if err == nil {
			err = s.Serve(os.Args[3])
		}
		panic(err)
	}
	status := m.Run()
	if dir, err := commandDir(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

// commandDir returns the directory for Command, the same for all tests.
var commandDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "servers") })

// deadline bounds all that one test waits for.
const deadline = 30 * time.Second

// start starts a server on one core, in a process of its own, and waits until
// it listens.
func start(t *testing.T, s Server) (*child.Process, string) {
	t.Helper()
	return startOn(t, s, cores(t)[:1])
}

func cores(t *testing.T) []int {
	all, err := proc.Cores()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// uring skips what needs io_uring where the kernel refuses it.
func uring(t *testing.T, s Server) {
	t.Helper()
	if s.Name != "c-uring" {
		return
	}
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		t.Skip("io_uring_setup: ", errno)
	}
	unix.Close(int(fd))
}

func startOn(t *testing.T, s Server, cores []int) (*child.Process, string) {
	t.Helper()
	uring(t, s)
	addr := freeAddr(t)
	command := child.Self("serve", s.Name, addr)
	if s.Command != nil {
		dir, err := commandDir()
		if err != nil {
			t.Fatal(err)
		}
		command, err = s.Command(dir, addr)
		if errors.Is(err, exec.ErrNotFound) && os.Getenv("SLUICE_REQUIRE_TOOLS") != "1" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := child.Start(context.Background(), cores, command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for end := time.Now().Add(deadline); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp4", addr)
		if err == nil {
			c.Close()
			return p, addr
		}
		select {
		case <-p.Ended():
			t.Fatal(p.Err())
		default:
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(deadline))
	return c
}

// dialTo is dial, over TLS where the server speaks it, with a certificate for those
// that ask for one.
func dialTo(t *testing.T, s Server, addr string) net.Conn {
	t.Helper()
	c := dial(t, addr)
	if !s.Protocol.Secure() {
		return c
	}
	own, err := serverTLS(ec)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true, Certificates: own.Certificates})
}

// each runs a test for every server of some protocols, variants too.
func each(t *testing.T, test func(t *testing.T, s Server), protocols ...Protocol) {
	for _, s := range All {
		for _, p := range protocols {
			if s.Protocol == p {
				t.Run(s.Name, func(t *testing.T) { test(t, s) })
			}
		}
	}
}
