package httpserver

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// app is a handler and requests to it.
type app struct {
	name      string
	handler   func(t *testing.T) http.Handler
	exchanges []exchange
	scrub     []string // patterns of what differs from run to run
}

// exchange is a conversation over one connection.
type exchange struct {
	name string
	want string   // statuses, then "kept" or "closed"
	send []string // as converse takes it

	pipelined bool   // true exactly when everything is sent at once
	unlike    bool   // true exactly when bodies differ from run to run
	whole     bool   // true exactly when it matters that each part is sent in one piece
	refusal   bool   // true exactly when the server itself answers: the words are its own
	contains  string // what the last answer must contain, in head, body or trailer
	logged    string // what the server must log
}

// apps are all applications.
var apps = slices.Concat(plainApps, libraryApps, chiApps, ginApps, echoApps)

// difference is an exchange that a server does differently from net/http, on
// purpose.
type difference struct {
	exchange string // app/exchange
	want     string // instead of the exchange's own
	reason   string
}

// differences lists them all.
var differences = []difference{
	{"plain/length invalid", "200 kept", "without the invalid length a short answer's own takes its place, as in every other short answer"},
	{"plain/seen absolute of another host", "400 closed", "a target and a Host that name different hosts are read differently by different servers"},
	{"plain/seen fragment", "400 closed", "a target has no fragment (RFC 9112, 3.2), and servers differ on what # is"},
	{"plain/early hints 1.0", "200 closed", "a client of HTTP/1.0 is sent no 1xx (RFC 9110, 15.2)"},
	{"plain/empty lines between", "200 200 kept", "a server should ignore an empty line in front of a request line (RFC 9112, 2.2)"},
	{"plain/expected and sent at once", "200 kept", "nobody waits for 100 when the body is there (RFC 9110, 10.1.1)"},
	{"plain/hijack with a body unread", "101 closed", "the body belongs to the request, not to what follows on a hijacked connection"},
	{"plain/chunk size invalid", "400 closed", "what is malformed when it comes with the head is refused before a handler sees it"},
	{"plain/chunk too long", "400 closed", "the same"},
	{"MaxBytesHandler/a bit too large", "413 kept", "http.MaxBytesReader asks only net/http's own ResponseWriter to close; the rest of the body is here and short"},
}

// TestSameAnswers holds every server to the answers of the first: status line,
// fields, body, trailer, and whether the connection is kept.
func TestSameAnswers(t *testing.T) {
	listed := make(map[string]difference)
	for _, d := range differences {
		listed[d.exchange] = d
	}
	for _, a := range apps {
		var scrub []*regexp.Regexp
		for _, s := range a.scrub {
			scrub = append(scrub, regexp.MustCompile(s))
		}
		t.Run(a.name, func(t *testing.T) {
			var sites []*site
			for _, k := range kinds {
				sites = append(sites, k.serve(t, a.handler(t)))
			}
			for _, e := range a.exchanges {
				t.Run(e.name, func(t *testing.T) {
					d, ok := listed[a.name+"/"+e.name]
					delete(listed, a.name+"/"+e.name)
					var reference string
					for i, s := range sites {
						s.log.Reset()
						answers, kept := s.converse(t, e.send, conversation{pipelined: e.pipelined})
						got := e.report(answers, kept, scrub)
						switch {
						case i > 0 && ok:
							e.want = d.want
						case i > 0 && got != reference:
							t.Errorf("%s differs from %s:\n%s", s.kind, sites[0].kind, firstDifference(got, reference))
						}
						e.check(t, s, answers, kept)
						if i == 0 {
							reference = got
						} else if ok && got == reference {
							t.Errorf("%s does not differ as listed: %s", s.kind, d.reason)
						}
					}
				})
			}
		})
	}
	for name := range listed {
		if len(kinds) > 1 && !t.Failed() {
			t.Errorf("there is no exchange %s, whose difference is listed", name)
		}
	}
}

// TestSameAnswersToBytes: it makes no difference when every byte comes alone.
func TestSameAnswersToBytes(t *testing.T) {
	const long = 2000 // bytes, too many to send one by one
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, plain(t))
		for _, e := range plainApps[0].exchanges {
			if e.whole || len(strings.Join(e.send, "")) > long {
				continue
			}
			for _, d := range differences {
				if d.exchange == "plain/"+e.name && k.name != kinds[0].name {
					e.want = d.want
				}
			}
			t.Run(e.name, func(t *testing.T) {
				s.log.Reset()
				answers, kept := s.converse(t, e.send, conversation{pipelined: e.pipelined, bytewise: true})
				if e.refusal { // what comes behind the refused bytes may break the words that follow the head
					for i := range answers {
						answers[i].broken = ""
					}
				}
				e.check(t, s, answers, kept)
			})
		}
	})
}

// check fails t if the answers are not what e wants.
func (e exchange) check(t *testing.T, s *site, answers []answer, kept bool) {
	t.Helper()
	if got := summary(answers, kept); got != e.want {
		t.Errorf("%s: %s, want %s\n%v\nlog: %.1000s", s.kind, got, e.want, answers, s.log)
	}
	if !strings.Contains(s.log.String(), e.logged) {
		t.Errorf("%s logs %.1000q, which should contain %q", s.kind, s.log, e.logged)
	}
	if e.contains == "" || len(answers) == 0 {
		return
	}
	last := answers[len(answers)-1]
	all := strings.Join(slices.Concat(last.fields, last.trailer, []string{last.body}), "\n")
	if !strings.Contains(all, e.contains) {
		t.Errorf("%s: no %q in\n%v\nlog: %.1000s", s.kind, e.contains, last, s.log)
	}
}

// report is everything that servers are compared by.
func (e exchange) report(answers []answer, kept bool, scrub []*regexp.Regexp) string {
	var b strings.Builder
	for _, a := range answers {
		if e.unlike || e.refusal {
			a.body = ""
		}
		if e.refusal {
			a.line, a.fields = strconv.Itoa(a.status), nil
		}
		fmt.Fprintf(&b, "%s\n%s\n\n%q %q\n%s\n", a.line, strings.Join(oneTrailer(a.fields), "\n"), a.trailer, a.broken, a.body)
	}
	fmt.Fprintf(&b, "kept: %t\n", kept)
	report := b.String()
	for _, re := range scrub {
		report = re.ReplaceAllString(report, "***")
	}
	if e.unlike {
		report = regexp.MustCompile(`Content-Length: \d+`).ReplaceAllString(report, "Content-Length: ***")
	}
	return report
}

// oneTrailer makes one of several fields Trailer, which are one list.
func oneTrailer(fields []string) []string {
	var names, others []string
	for _, f := range fields {
		if list, ok := strings.CutPrefix(f, "Trailer: "); ok {
			names = append(names, strings.Split(list, ", ")...)
		} else {
			others = append(others, f)
		}
	}
	if names == nil {
		return fields
	}
	slices.Sort(names)
	return append(others, "Trailer: "+strings.Join(names, ", "))
}

// firstDifference shows where two reports part.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %.300q\nwant %.300q\nof\n%.2000s\nwant\n%.2000s", i, g[i], w[i], got, want)
		}
	}
	return fmt.Sprintf("%.2000s\nwant\n%.2000s", got, want)
}
