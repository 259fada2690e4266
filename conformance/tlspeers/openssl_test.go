package tlspeers

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

func TestOpenSSLClient(t *testing.T) {
	openssl := tool(t, "openssl")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		ln, err := e.Listen("tcp", "127.0.0.1:0", sluice.TLS(&tls.Config{Certificates: []tls.Certificate{id.pair}}, sluice.Funcs{Data: echo}))
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"-tls1_3"},
			{"-tls1_2"},
			{"-tls1_3", "-groups", "P-521:P-384"}, // a HelloRetryRequest, unless the first is liked
			{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"},
			{"-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"},
			{"-tls1_3", "-max_send_frag", "512"},
		} {
			d := start(t, openssl, append([]string{"s_client", "-connect", ln.Addr().String(), "-servername", id.name,
				"-CAfile", id.cert, "-verify_return_error"}, args...)...)
			d.hear("Verify return code: 0 (ok)")
			d.say("hello " + strings.Repeat("x", 3000))
			d.hear("hello x")
			if args[0] == "-tls1_3" {
				for _, update := range []string{"K", "k"} { // asking for the same from this side, and not
					d.say(update)
					d.hear("KEYUPDATE")
					d.say("after " + update)
					d.hear("after " + update)
				}
			} else {
				d.say("R")
				d.hear("RENEGOTIATING") // and is refused
			}
		}
	})
}

func TestOpenSSLServer(t *testing.T) {
	openssl := tool(t, "openssl")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := free.Addr().String()
			free.Close()
			d := start(t, openssl, "s_server", "-accept", addr, "-cert", id.cert, "-key", id.key, "-rev", version)
			d.hear("ACCEPT")
			got := make(chan string, 1)
			h := sluice.Funcs{Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
				if line, err := in.Until('\n'); err == nil {
					got <- string(line)
				}
			}}
			c, err := e.Dial(t.Context(), "tcp", addr, sluice.TLS(&tls.Config{RootCAs: id.roots, ServerName: id.name}, h))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.WriteString("drawer\n"); err != nil {
				t.Fatal(err)
			}
			select {
			case line := <-got:
				if line != "reward\n" {
					t.Errorf("%s: it answered %q", version, line)
				}
			case <-time.After(bound):
				t.Errorf("%s: no answer", version)
			}
			_ = c.Close()
		}
	})
}

func TestCurl(t *testing.T) {
	curl := tool(t, "curl")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		s := &httpd.Server{Engine: e, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d bytes over %s", n, tls.VersionName(r.TLS.Version))
		})}
		defer s.Close()
		ln, err := s.ListenTLS("tcp", "127.0.0.1:0", id.cert, id.key)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		large := filepath.Join(t.TempDir(), "large")
		if err := os.WriteFile(large, make([]byte, 5<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			want string
			args []string
		}{
			{"0 bytes over TLS 1.3", nil},
			{"0 bytes over TLS 1.2", []string{"--tls-max", "1.2"}},
			{"5242880 bytes over TLS 1.3", []string{"--data-binary", "@" + large}},
		} {
			args := append([]string{"--silent", "--show-error", "--max-time", "20", "--cacert", id.cert,
				"--resolve", id.name + ":" + port + ":127.0.0.1", "https://" + id.name + ":" + port + "/"}, tt.args...)
			out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
			if err != nil || string(out) != tt.want {
				t.Errorf("%q: %q, %v", tt.args, out, err)
			}
		}
	})
}
