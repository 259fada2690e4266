package tlspeers

import (
	"crypto/tls"
	"encoding/xml"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

// scan is what sslscan reports.
type scan struct {
	Protocols []struct {
		Type    string `xml:"type,attr"`
		Version string `xml:"version,attr"`
		Enabled bool   `xml:"enabled,attr"`
	} `xml:"ssltest>protocol"`
	Renegotiation []struct {
		Supported bool `xml:"supported,attr"`
		Secure    bool `xml:"secure,attr"`
	} `xml:"ssltest>renegotiation"`
	Compression []struct {
		Supported bool `xml:"supported,attr"`
	} `xml:"ssltest>compression"`
	Heartbleed []struct {
		Version    string `xml:"sslversion,attr"`
		Vulnerable bool   `xml:"vulnerable,attr"`
	} `xml:"ssltest>heartbleed"`
	Ciphers []struct {
		Version string `xml:"sslversion,attr"`
		Name    string `xml:"cipher,attr"`
		Bits    int    `xml:"bits,attr"`
		Curve   string `xml:"curve,attr"` // "" without forward secrecy
	} `xml:"ssltest>cipher"`
}

// check reports what a server of crypto/tls's defaults should not offer, or should.
func (s *scan) check(t *testing.T) {
	t.Helper()
	want := map[string]bool{"ssl 2": false, "ssl 3": false, "tls 1.0": false, "tls 1.1": false, "tls 1.2": true, "tls 1.3": true}
	if len(s.Protocols) != len(want) {
		t.Errorf("it looked for %+v", s.Protocols)
	}
	for _, p := range s.Protocols {
		if on, known := want[p.Type+" "+p.Version]; !known || p.Enabled != on {
			t.Errorf("%s %s: enabled %v", p.Type, p.Version, p.Enabled)
		}
	}
	if len(s.Renegotiation) != 1 || s.Renegotiation[0].Supported {
		t.Errorf("renegotiation: %+v", s.Renegotiation)
	}
	for _, c := range s.Compression { // none if sslscan was built without
		if c.Supported {
			t.Error("it compresses")
		}
	}
	if len(s.Heartbleed) != 2 {
		t.Errorf("heartbleed: %+v", s.Heartbleed)
	}
	for _, h := range s.Heartbleed {
		if h.Vulnerable {
			t.Errorf("%s has Heartbleed", h.Version)
		}
	}
	offered := map[string]int{}
	for _, c := range s.Ciphers {
		offered[c.Version]++
		if c.Bits < 128 || c.Curve == "" {
			t.Errorf("a weak cipher: %+v", c)
		}
	}
	if len(offered) != 2 || offered["TLSv1.2"] == 0 || offered["TLSv1.3"] != 3 {
		t.Errorf("ciphers of versions: %v", offered)
	}
}

func TestSSLScan(t *testing.T) {
	program := tool(t, "sslscan")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		s := &httpd.Server{
			Engine:   e,
			ErrorLog: log.New(io.Discard, "", 0), // of most handshakes
			Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }),
		}
		defer s.Close()
		ln, err := s.ListenTLS("tcp", "127.0.0.1:0", id.cert, id.key)
		if err != nil {
			t.Fatal(err)
		}
		report := filepath.Join(t.TempDir(), "report.xml")
		text, err := exec.CommandContext(t.Context(), program, "--no-colour", "--sni-name="+id.name, "--xml="+report, ln.Addr().String()).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		p, err := os.ReadFile(report)
		if err != nil {
			t.Fatal(err)
		}
		var found scan
		if err := xml.Unmarshal(p, &found); err != nil {
			t.Fatal(err)
		}
		found.check(t)
		if !strings.Contains(string(text), "Server supports TLS Fallback SCSV") { // of which the report has nothing
			t.Error("TLS_FALLBACK_SCSV is not supported")
		}
		if t.Failed() {
			t.Logf("%s\n%s", text, p)
		}

		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: id.roots, ServerName: id.name}}
		client := &http.Client{Transport: transport, Timeout: bound}
		resp, err := client.Get("https://" + ln.Addr().String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
			t.Errorf("afterwards it answers %q, %v", body, err)
		}
		transport.CloseIdleConnections()
		nothingLeft(t, e)
		if handshakeErrors(e) == 0 {
			t.Error("no handshake has failed: was it this server?")
		}
	})
}
