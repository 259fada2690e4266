package httpserver

import (
	"bufio"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/textproto"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// This compares how servers read messages: those that the tests of the Go tree
// on this machine send, read from there when the test runs. What follows a
// message on its connection matters as much as the message: two servers that
// disagree on where it ends can be made to disagree on what is a request.

// requestLike finds texts whose first line could be taken for a request line.
var requestLike = regexp.MustCompile(`^[\r\n]*[^\s"]+ [^\r\n]*HTTP/[0-9]|^[A-Z]{3,10} [^\r\n]+\r?\n`)

// goMessages returns the texts in the tests of net/http that look like requests.
func goMessages(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src/net/http/*_test.go"))
	if err != nil || len(files) == 0 {
		t.Skipf("no tests of net/http in %s: %v", runtime.GOROOT(), err)
	}
	found := make(map[string]bool)
	add := func(text string) {
		if !requestLike.MatchString(text) || strings.HasPrefix(text, "HTTP/") || len(text) > 1<<20 {
			return
		}
		found[text] = true
		if strings.Contains(text, "\n") && !strings.Contains(text, "\r") { // a helper of theirs makes CRLF of it
			found[strings.ReplaceAll(strings.TrimSpace(text), "\n", "\r\n")+"\r\n\r\n"] = true
		}
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if text, ok := constant(e); ok {
					add(text)
					return false
				}
			}
			return true
		})
	}
	messages := make([]string, 0, len(found))
	for text := range found {
		messages = append(messages, text)
	}
	slices.Sort(messages)
	return messages
}

// constant returns the text of a string literal, or of several with + between
// them.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, ok := constant(e.X)
		if !ok || e.Op != token.ADD {
			return "", false
		}
		right, ok := constant(e.Y)
		return left + right, ok
	case *ast.ParenExpr:
		return constant(e.X)
	}
	return "", false
}

// reading is how a server reads the bytes of a connection.
type reading struct {
	requests []string // what the handler saw, one by one
	statuses []int    // what was answered, but for 100, which is sent or not
}

func (r reading) String() string {
	return fmt.Sprintf("%v %q", r.statuses, r.requests)
}

// refused is true exactly when the server refused something itself.
func (r reading) refused() bool {
	return len(r.statuses) > 0 && r.statuses[len(r.statuses)-1] >= 400
}

// reader is a handler that notes what it sees.
type reader struct {
	mu       sync.Mutex
	requests []string
	methods  []string
}

func (rd *reader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if r.ProtoMinor > 1 {
		r.Proto = "HTTP/1.1" // a server may call a later version by the one that it speaks (RFC 9110, 2.5)
	}
	text := fmt.Sprintf("%s %s %s host=%q length=%d coding=%v fields=%v trailer=%v body=%q", r.Method, r.RequestURI, r.Proto, r.Host,
		r.ContentLength, r.TransferEncoding, r.Header, r.Trailer, body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		text += " cut off"
	case err != nil:
		text += " malformed"
	}
	rd.mu.Lock()
	rd.requests = append(rd.requests, text)
	rd.methods = append(rd.methods, r.Method)
	rd.mu.Unlock()
}

// serveReader starts a server that notes every request.
func serveReader(t *testing.T, k kind) (*reader, *site) {
	t.Helper()
	rd := new(reader)
	return rd, k.serveWith(t, &http.Server{Handler: rd, DisableGeneralOptionsHandler: true})
}

// read has a server read the bytes of a connection, to their end.
func (rd *reader) read(t *testing.T, s *site, text string) (result reading) {
	t.Helper()
	rd.mu.Lock()
	rd.requests, rd.methods = nil, nil
	rd.mu.Unlock()
	c := s.connect(t)
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, text) // a refusal may come before the end
		_ = c.CloseWrite()
	}()
	r := bufio.NewReader(c)
	for {
		if _, err := r.Peek(1); err != nil {
			if !ends(err) {
				t.Errorf("%s: %q: %v", s.kind, text, err)
			}
			break
		}
		method := "" // of a request that the server refuses
		rd.mu.Lock() // the answer has begun, so its request was noted
		if n := len(result.statuses); n < len(rd.methods) {
			method = rd.methods[n]
		}
		rd.mu.Unlock()
		a, err := readAnswer(r, method)
		if err != nil {
			t.Errorf("%s: %q: %v", s.kind, text, err)
			break
		}
		if a.status >= 200 {
			result.statuses = append(result.statuses, a.status)
		}
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	result.requests = slices.Clone(rd.requests)
	return result
}

// disagreement is that a server reads the bytes of a connection otherwise than
// net/http.
type disagreement struct {
	text      string
	got, want reading
	shared    int // the first requests, which both read the same
}

// stricter is true exactly when the server refuses the next request itself and
// net/http does not.
func (d disagreement) stricter() bool {
	return d.shared == len(d.got.requests) && d.shared < len(d.want.requests) && d.got.refused()
}

// next is the request that only net/http reads.
func (d disagreement) next() string { return d.want.requests[d.shared] }

// stricterAt is a test for messages that a pattern finds.
func stricterAt(pattern string) func(d disagreement) bool {
	re := regexp.MustCompile(pattern)
	return func(d disagreement) bool { return d.stricter() && re.MatchString(d.text) }
}

// allowed lists how a server may differ. No kind lets it read a request that
// net/http reads otherwise or refuses; the empty line is the exception and is
// looked at apart.
var allowed = []struct {
	name, reason string
	holds        func(d disagreement) bool
}{
	{
		"ended within a message", "who leaves within a message waits for no answer, and its handler need not see it", func(d disagreement) bool {
			unfinished := len(d.want.requests) == d.shared && d.want.refused() && (d.shared > 0 || !blankLine.MatchString(d.text)) ||
				len(d.want.requests) == d.shared+1 && strings.HasSuffix(d.next(), " cut off")
			return unfinished && len(d.got.requests) == d.shared && !d.got.refused()
		},
	},
	{
		"malformed body", "what is malformed when it comes with its head is refused before a handler sees it", func(d disagreement) bool {
			return d.stricter() && len(d.want.requests) == d.shared+1 && strings.HasSuffix(d.next(), " malformed")
		},
	},
	{
		"no request", "what cannot begin a request is refused at its first byte; net/http waits for its line, and then for nothing", func(d disagreement) bool {
			return d.shared == len(d.got.requests) && d.shared == len(d.want.requests) && d.got.refused() && !d.want.refused()
		},
	},
	{
		"another status", "both refuse the same", func(d disagreement) bool {
			return d.shared == len(d.got.requests) && d.shared == len(d.want.requests) && d.got.refused() && d.want.refused()
		},
	},
	{
		"Connection of 1.0", "all fields Connection are one list of tokens; net/http looks at the first, and for a word", func(d disagreement) bool {
			return !d.want.refused() && !d.got.refused() && min(len(d.got.requests), len(d.want.requests)) == d.shared && oddConnection.MatchString(d.text)
		},
	},
	{
		"preface of HTTP/2", "it is no request of HTTP/1.x, and its version is refused as such", stricterAt(`^PRI \* HTTP/2\.0\r\n`),
	},
	{
		"bare LF", "a line ends in CRLF; where other ends are taken, servers differ on what a line is (RFC 9112, 2.2)", stricterAt(`(^|[^\r])\n`),
	},
	{
		"length and coding", "the classic of request smuggling; a server may refuse it (RFC 9112, 6.3)",
		stricterAt(`(?is)transfer-encoding:.*content-length:|content-length:.*transfer-encoding:`),
	},
	{
		"CONNECT", "its target is a host and a port (RFC 9112, 3.2.3), and HTTP/1.1 has a Host always; net/rpc's is neither", stricterAt(`(?m)^CONNECT `),
	},
	{
		"star", "* is a target for OPTIONS alone (RFC 9112, 3.2.4)", stricterAt(`(?m)^[^O]+ \* HTTP/1`),
	},
	{
		"target's host", "a target and a Host that name different hosts are read differently by different servers", stricterAt(`(?m)^[A-Z]+ http://`),
	},
}

var (
	blankLine     = regexp.MustCompile(`\n\r?\n`)
	oddConnection = regexp.MustCompile(`(?is)HTTP/1\.0\r\n(?:.*\r\n)?connection:(?:.*\r\nconnection:|[^\r]*[^\r:,] +keep-alive|[^\r]*keep-alive +[^\r,])`)
)

// compare tells how a server differs from net/http: "" if it does not, the name
// of an allowed kind, or an error.
func compare(text string, got, want reading) (kind string, d disagreement, err error) {
	d = disagreement{text: text, got: got, want: want}
	if fmt.Sprint(got) == fmt.Sprint(want) {
		return "", d, nil
	}
	for d.shared < min(len(got.requests), len(want.requests)) && got.requests[d.shared] == want.requests[d.shared] {
		d.shared++
	}
	for _, a := range allowed {
		if a.holds(d) {
			return a.name + ": " + a.reason, d, nil
		}
	}
	switch {
	case d.shared < len(got.requests) && d.shared < len(want.requests):
		return "", d, errors.New("a request is read differently")
	case d.shared < len(got.requests):
		return "", d, errors.New("a request is accepted that net/http refuses")
	case d.stricter():
		return "", d, errors.New("a request is refused that net/http reads, for no listed reason")
	}
	return "", d, errors.New("answered differently")
}

// emptyLine reports whether got is what net/http reads without the empty lines
// in front of request lines. They are the one thing that a server may accept and
// net/http does not: no part of any message, and servers should ignore them (RFC
// 9112, 2.2). Where they are depends on where bodies end, so they are left out
// wherever they could be.
func emptyLine(t *testing.T, s *site, rd *reader, m, behind string, got reading) bool {
	t.Helper()
	m = strings.TrimPrefix(strings.TrimPrefix(m, "\r\n"), "\r\n")
	for _, text := range []string{
		m + behind,
		strings.TrimSuffix(m, "\r\n") + behind,
		strings.TrimSuffix(m, "\r\n\r\n") + behind,
		strings.ReplaceAll(m+behind, "\r\n\r\n\r\n", "\r\n\r\n"),
	} {
		if fmt.Sprint(rd.read(t, s, text)) == fmt.Sprint(got) {
			return true
		}
	}
	return false
}

// TestMessagesOfGo sends every message, alone and with a request behind it, to
// every server.
func TestMessagesOfGo(t *testing.T) {
	messages := goMessages(t)
	if len(messages) < 50 {
		t.Errorf("only %d messages found", len(messages))
	}
	var sites []*site
	var readers []*reader
	for _, k := range kinds {
		rd, s := serveReader(t, k)
		readers = append(readers, rd)
		sites = append(sites, s)
	}
	next := message("GET /next", "X-Next: 1")
	agreed, differ := 0, make(map[string][]string)
	for _, m := range messages {
		for _, behind := range []string{"", next} {
			text := m + behind
			var want reading
			for i, s := range sites {
				got := readers[i].read(t, s, text)
				if i == 0 {
					want = got
					continue
				}
				kind, _, err := compare(text, got, want)
				if err != nil && len(got.requests) > len(want.requests) && emptyLine(t, sites[0], readers[0], m, behind, got) {
					kind, err = "an empty line in front of a request line is ignored", nil
				}
				switch {
				case err != nil:
					t.Errorf("%v: %q\n%s: %v\n%s: %v", err, text, s.kind, got, sites[0].kind, want)
				case kind == "":
					agreed++
				default:
					differ[kind] = append(differ[kind], fmt.Sprintf("%.200q: %v, not %v", text, got.statuses, want.statuses))
				}
			}
		}
	}
	t.Logf("%d messages, each alone and with a request behind it: %d times the same", len(messages), agreed)
	for kind, texts := range differ {
		t.Logf("%s: %d times\n\t%s", kind, len(texts), strings.Join(texts, "\n\t"))
	}
}

// TestReaderSees proves that a difference would be noticed.
func TestReaderSees(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		rd, s := serveReader(t, k)
		got := rd.read(t, s, upload("POST /a", "body", "x-y: 1")+"HEAD /b HTTP/1.0\r\n\r\n")
		want := reading{[]string{
			`POST /a HTTP/1.1 host="example.com" length=4 coding=[] fields=map[Content-Length:[4] ` + textproto.CanonicalMIMEHeaderKey("x-y") +
				`:[1]] trailer=map[] body="body"`,
			`HEAD /b HTTP/1.0 host="" length=0 coding=[] fields=map[] trailer=map[] body=""`,
		}, []int{200, 200}}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v\nwant %v", got, want)
		}
	})
}
