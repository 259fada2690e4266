package httpd_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

var (
	tortureSeed  = flag.Uint64("torture.seed", 0, "run TestTorture with this seed alone")
	tortureSeeds = flag.Int("torture.seeds", 40, "run TestTorture with so many seeds")
)

// TestTorture has clients that send all sorts of requests in all sorts of
// pieces, read their answers fast or slowly, or leave in the middle. Every
// answer must be that of its request: nothing is lost, doubled, mixed up or
// given to another.
func TestTorture(t *testing.T) {
	file := patternFile(t, 200_000)
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, n := uint64(1), *tortureSeeds
	if *tortureSeed != 0 {
		first, n = *tortureSeed, 1
	}
	eachWorld(t, func(t *testing.T, w *world) {
		w.cfg.HighWater = 16 << 10 // handlers wait often
		st := w.serve(t, &httpd.Server{Handler: tortured(file), LoopHandler: func(x *httpd.RequestCtx) bool {
			if string(x.Path()) != "/loop" {
				return false
			}
			fmt.Fprintf(x, "%s %d %08x", x.Query(), len(x.Body()), crc32.ChecksumIEEE(x.Body()))
			return true
		}})
		var wg sync.WaitGroup
		for seed := first; seed < first+uint64(n); seed++ {
			wg.Go(func() {
				v := &victim{Rand: rand.New(rand.NewPCG(seed, 1)), file: want}
				if err := v.run(st.addr); err != nil {
					t.Errorf("-torture.seed=%d: %v", seed, err)
				}
			})
		}
		wg.Wait()
	})
}

// tortured answers with what identifies the request and its body.
func tortured(file string) http.Handler {
	sum := func(r *http.Request) string {
		h := crc32.NewIEEE()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		return fmt.Sprintf("%s %d %08x", r.URL.RawQuery, n, h.Sum32())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, sum(r)) })
	mux.HandleFunc("/pieces", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range []byte(sum(r)) {
			_, _ = w.Write([]byte{c})
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/unread", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.RawQuery) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	return mux
}

// victim is a client of TestTorture.
type victim struct {
	*rand.Rand
	file []byte
	n    int
}

// asked is a request that was sent, and its answer.
type asked struct{ path, want string }

// run makes some connections, one after the other.
func (v *victim) run(addr net.Addr) error {
	for range 4 {
		c, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(bound))
		err = v.talk(c)
		_ = c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// talk sends requests on one connection, in pieces and without waiting for
// answers, and reads those as they come. Now and then it leaves.
func (v *victim) talk(c net.Conn) error {
	var wire bytes.Buffer
	var sent []asked
	for range 1 + v.IntN(12) {
		sent = append(sent, v.request(&wire))
	}
	p := wire.Bytes()
	leaves := v.IntN(5) == 0
	if leaves {
		p = p[:v.IntN(len(p))]
	}
	slowly, half := v.IntN(3) == 0, v.IntN(3) == 0
	cuts := rand.New(rand.NewPCG(v.Uint64(), 2))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(p) > 0 {
			n := min(len(p), 1+cuts.IntN(1<<(1+cuts.IntN(17))))
			if _, err := c.Write(p[:n]); err != nil {
				return // the reader will tell
			}
			p = p[n:]
			if cuts.IntN(4) == 0 {
				time.Sleep(time.Duration(cuts.IntN(300)) * time.Microsecond)
			}
		}
		if leaves && cuts.IntN(2) == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		} else if leaves || half {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	err := v.answers(c, sent, slowly)
	if leaves && !errors.Is(err, errMixed) {
		err = nil
	}
	if err == nil || leaves {
		<-done
	}
	return err
}

// errMixed says that an answer is not that of its request.
var errMixed = errors.New("wrong answer")

// answers reads the answers of what was sent.
func (v *victim) answers(c net.Conn, sent []asked, slowly bool) error {
	r := bufio.NewReaderSize(c, 1<<(4+v.IntN(12)))
	for i, a := range sent {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("answer %d of %d, %s: %w", i, len(sent), a.path, err)
		}
		var body bytes.Buffer
		for err == nil {
			_, err = io.CopyN(&body, resp.Body, int64(1+v.IntN(100_000)))
			if slowly {
				time.Sleep(100 * time.Microsecond)
			}
		}
		if err != io.EOF {
			return fmt.Errorf("answer %d of %d, %s, after %d bytes: %w", i, len(sent), a.path, body.Len(), err)
		}
		if body.String() != a.want || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%w %d of %d: %s: %s, %d bytes %.80q, want %d bytes %.80q",
				errMixed, i, len(sent), a.path, resp.Status, body.Len(), body.String(), len(a.want), a.want)
		}
	}
	return nil
}

// request appends a request to what is sent.
func (v *victim) request(wire *bytes.Buffer) asked {
	v.n++
	id := strconv.FormatUint(v.Uint64(), 36) + "-" + strconv.Itoa(v.n)
	path := []string{"/sum", "/sum", "/pieces", "/unread", "/echo", "/loop", "/loop", "/file"}[v.IntN(8)]
	size := v.IntN(1 << (1 + v.IntN(18)))
	if path == "/file" || v.IntN(3) == 0 {
		size = 0
	}
	if path == "/unread" {
		size = min(size, 100_000) // more would end the connection
	}
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(v.Uint32())
	}
	fmt.Fprintf(wire, "POST %s?%s HTTP/1.1\r\nHost: h\r\nX-Id: %s\r\n", path, id, id)
	if chunked := path != "/loop" && size > 0 && v.IntN(2) == 0; chunked {
		_, _ = wire.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		cw := httputil.NewChunkedWriter(wire)
		for p := body; len(p) > 0; {
			n := min(len(p), 1+v.IntN(20_000))
			_, _ = cw.Write(p[:n])
			p = p[n:]
		}
		_ = cw.Close()
		_, _ = wire.WriteString("\r\n")
	} else {
		if path == "/loop" && size > 64<<10 {
			body = body[:64<<10]
		}
		fmt.Fprintf(wire, "Content-Length: %d\r\n\r\n", len(body))
		_, _ = wire.Write(body)
	}
	switch path {
	case "/unread":
		return asked{path, id}
	case "/echo":
		return asked{path, string(body)}
	case "/file":
		return asked{path, string(v.file)}
	}
	return asked{path, fmt.Sprintf("%s %d %08x", id, len(body), crc32.ChecksumIEEE(body))}
}
