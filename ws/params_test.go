package ws_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/ws"
)

// extension is an element of Sec-WebSocket-Extensions as a test reads it.
type extension struct {
	name   string
	params [][2]string // the value is "" if there is none
}

// grammar reads by the ABNF of RFC 6455 9.1, one production at a time.
type grammar struct{ rest string }

func (g *grammar) space() { g.rest = strings.TrimLeft(g.rest, " \t") }

// eat takes a character, with the space around it, if it comes.
func (g *grammar) eat(c string) (ok bool) {
	g.space()
	if g.rest, ok = strings.CutPrefix(g.rest, c); ok {
		g.space()
	}
	return ok
}

// token takes a token, "" if there is none.
func (g *grammar) token() string {
	end := strings.IndexFunc(g.rest, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", c)
	})
	if end < 0 {
		end = len(g.rest)
	}
	token := g.rest[:end]
	g.rest = g.rest[end:]
	return token
}

// value takes a token or a string whose content is one.
func (g *grammar) value() string {
	if !strings.HasPrefix(g.rest, `"`) {
		return g.token()
	}
	var content strings.Builder
	for i := 1; i < len(g.rest); i++ {
		switch g.rest[i] {
		case '"':
			g.rest = g.rest[i+1:]
			inner := grammar{content.String()}
			if token := inner.token(); inner.rest == "" {
				return token
			}
			return ""
		case '\\':
			i++
		}
		if i < len(g.rest) {
			content.WriteByte(g.rest[i])
		}
	}
	return ""
}

// parse reads a whole value. Empty elements of the list do not count.
func parse(value string) (list []extension, ok bool) {
	g := grammar{value}
	for {
		for g.eat(",") {
		}
		g.space()
		if g.rest == "" {
			return list, true
		}
		e := extension{name: strings.ToLower(g.token())}
		if e.name == "" {
			return nil, false
		}
		for g.eat(";") {
			p := [2]string{strings.ToLower(g.token())}
			if p[0] == "" {
				return nil, false
			}
			if g.eat("=") {
				if p[1] = g.value(); p[1] == "" {
					return nil, false
				}
			}
			e.params = append(e.params, p)
		}
		list = append(list, e)
		g.space()
		if g.rest != "" && g.rest[0] != ',' {
			return nil, false
		}
	}
}

// deflateParams are the parameters of permessage-deflate, in an offer or an
// answer, by name: -1 is one without a value.
func (e extension) deflateParams(answer bool) (values map[string]int, ok bool) {
	if e.name != "permessage-deflate" {
		return nil, false
	}
	values = map[string]int{}
	sizes := []string{"8", "9", "10", "11", "12", "13", "14", "15"}
	for _, p := range e.params {
		if _, twice := values[p[0]]; twice {
			return nil, false
		}
		bare := p[1] == ""
		switch p[0] {
		case "server_no_context_takeover", "client_no_context_takeover":
			ok = bare
		case "server_max_window_bits":
			ok = slices.Contains(sizes, p[1])
		case "client_max_window_bits":
			ok = slices.Contains(sizes, p[1]) || bare && !answer
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
		values[p[0]] = -1
		if !bare {
			values[p[0]], _ = strconv.Atoi(p[1])
		}
	}
	return values, true
}

// answered is what the parameters of an answer say of a side.
func answered(values map[string]int, who string) ws.Side {
	_, no := values[who+"_no_context_takeover"]
	s := ws.Side{Takeover: !no, Bits: 15}
	if bits, ok := values[who+"_max_window_bits"]; ok {
		s.Bits = bits
	}
	return s
}

// atMost reports whether a window is no larger than another, of which 0 means 15.
func atMost(bits, limit int) bool { return limit == 0 || bits <= limit }

// checkAnswer checks what a server that wants something has answered to offers.
func checkAnswer(t *testing.T, offers string, want, agreed ws.Params, answer string, ok bool) {
	t.Helper()
	var offer map[string]int // the first that is valid
	list, wellFormed := parse(offers)
	acceptable := false
	for _, e := range list {
		if offer, acceptable = e.deflateParams(false); acceptable {
			break
		}
	}
	if wellFormed && ok != acceptable {
		t.Fatalf("to %q it answers %q, %v", offers, answer, ok)
	}
	if !ok {
		if answer != "" || agreed != (ws.Params{}) {
			t.Fatalf("to %q it answers %q and keeps to %+v", offers, answer, agreed)
		}
		return
	}
	answers, _ := parse(answer)
	if len(answers) != 1 {
		t.Fatalf("to %q it answers %q", offers, answer)
	}
	values, valid := answers[0].deflateParams(true)
	server, client := answered(values, "server"), answered(values, "client")
	if !valid || agreed.Server != server || agreed.Server.Takeover && !want.Server.Takeover ||
		agreed.Client.Takeover && !want.Client.Takeover || !atMost(server.Bits, want.Server.Bits) {
		t.Fatalf("to %q it answers %q and keeps to %+v, wanting %+v", offers, answer, agreed, want)
	}
	if !wellFormed {
		return
	}
	bits, asked := offer["client_max_window_bits"]
	_, answersBits := values["client_max_window_bits"]
	if answersBits && !asked || asked && !atMost(agreed.Client.Bits, max(bits, 0)) {
		t.Fatalf("to %q it answers %q: the client's window", offers, answer)
	}
	if agreed.Client.Bits > client.Bits || client.Takeover != agreed.Client.Takeover || asked && !atMost(agreed.Client.Bits, want.Client.Bits) {
		t.Fatalf("to %q it answers %q and keeps to %+v", offers, answer, agreed)
	}
	if _, no := offer["server_no_context_takeover"]; no && server.Takeover {
		t.Fatalf("to %q it answers %q: the server's takeover", offers, answer)
	}
	if bits := offer["server_max_window_bits"]; !atMost(server.Bits, bits) {
		t.Fatalf("to %q it answers %q: the server's window", offers, answer)
	}
}

// all wants everything that compresses better.
var all = ws.Params{Server: ws.Side{Takeover: true}, Client: ws.Side{Takeover: true}}

var negotiations = []struct {
	offers string
	want   ws.Params
	answer string // "" if there is none
}{
	{"permessage-deflate", ws.Params{}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
	{"permessage-deflate", all, "permessage-deflate"},
	{"\t,, Permessage-Deflate ,", all, "permessage-deflate"},
	{"permessage-deflate; client_max_window_bits", all, "permessage-deflate"},
	{"permessage-deflate; client_max_window_bits; server_max_window_bits=10", all, "permessage-deflate; server_max_window_bits=10"},
	{"permessage-deflate;server_max_window_bits = \"10\" ", all, "permessage-deflate; server_max_window_bits=10"},
	{`permessage-deflate; server_max_window_bits="1\0"`, all, "permessage-deflate; server_max_window_bits=10"},
	{"permessage-deflate; client_max_window_bits=9", all, "permessage-deflate; client_max_window_bits=9"},
	{"permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER", all, "permessage-deflate; server_no_context_takeover"},
	{"permessage-deflate; client_no_context_takeover", all, "permessage-deflate; client_no_context_takeover"},
	{"permessage-deflate; server_max_window_bits=15", all, "permessage-deflate; server_max_window_bits=15"},
	{"permessage-deflate; server_max_window_bits=8", all, "permessage-deflate; server_max_window_bits=8"},
	{"permessage-deflate", ws.Params{Server: ws.Side{Takeover: true, Bits: 9}, Client: ws.Side{Takeover: true, Bits: 9}}, "permessage-deflate; server_max_window_bits=9"},
	{
		"permessage-deflate; client_max_window_bits; server_max_window_bits=12",
		ws.Params{Server: ws.Side{Takeover: true, Bits: 9}, Client: ws.Side{Takeover: true, Bits: 10}},
		"permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
	},
	{"permessage-deflate; server_max_window_bits=16, permessage-deflate; server_max_window_bits=9, permessage-deflate", all, "permessage-deflate; server_max_window_bits=9"},
	{"x-webkit-deflate-frame, foo; a=\"b\"; c, permessage-deflate", all, "permessage-deflate"},
	{`foo; a="x, permessage-deflate, y"`, all, ""},
	{`foo; a="\", permessage-deflate", permessage-deflate; client_no_context_takeover`, all, "permessage-deflate; client_no_context_takeover"},
	{`foo; a=", permessage-deflate`, all, ""},
	{"", all, ""},
	{",", all, ""},
	{"permessage-deflates", all, ""},
	{"per\u212aessage-deflate", all, ""},
	{"permessage-deflate;", all, ""},
	{"permessage-deflate; ; client_max_window_bits", all, ""},
	{"permessage-deflate; foo", all, ""},
	{"permessage-deflate; server_no_context_ta\u212aeover", all, ""},
	{"permessage-deflate; server_no_context_takeover=1", all, ""},
	{"permessage-deflate; server_no_context_takeover=", all, ""},
	{"permessage-deflate; client_no_context_takeover; client_no_context_takeover", all, ""},
	{"permessage-deflate; client_max_window_bits; client_max_window_bits=10", all, ""},
	{"permessage-deflate; server_max_window_bits", all, ""},
	{"permessage-deflate; server_max_window_bits=", all, ""},
	{"permessage-deflate; client_max_window_bits=", all, ""},
	{"permessage-deflate; server_max_window_bits=7", all, ""},
	{"permessage-deflate; client_max_window_bits=16", all, ""},
	{"permessage-deflate; client_max_window_bits=08", all, ""},
	{"permessage-deflate; client_max_window_bits=+9", all, ""},
	{"permessage-deflate; client_max_window_bits=9.0", all, ""},
	{"permessage-deflate; client_max_window_bits=99999999999999999999", all, ""},
	{`permessage-deflate; server_max_window_bits="10`, all, ""},
	{`permessage-deflate; server_max_window_bits="10\"`, all, ""},
	{`permessage-deflate; server_max_window_bits="10\`, all, ""},
	{`permessage-deflate; server_max_window_bits=10"`, all, ""},
	{`permessage-deflate; server_max_window_bits="1"0"`, all, ""},
	{`permessage-deflate; server_max_window_bits=""`, all, ""},
}

func TestNegotiate(t *testing.T) {
	for _, tt := range negotiations {
		agreed, answer, ok := ws.Negotiate(tt.offers, tt.want)
		if answer != tt.answer || ok != (tt.answer != "") {
			t.Errorf("to %q it answers %q, %v, want %q", tt.offers, answer, ok, tt.answer)
		}
		checkAnswer(t, tt.offers, tt.want, agreed, answer, ok)
	}
}

// allParams calls f with all there are.
func allParams(f func(p ws.Params)) {
	for i := range 1 << 8 {
		side := func(i int) ws.Side {
			return ws.Side{Takeover: i&1 != 0, Bits: []int{0, 8, 9, 10, 11, 13, 14, 15}[i>>1]}
		}
		f(ws.Params{Server: side(i & 15), Client: side(i >> 4)})
	}
}

func TestBothEndsAgree(t *testing.T) {
	allParams(func(client ws.Params) {
		offer := client.Offer()
		allParams(func(server ws.Params) {
			agreed, answer, ok := ws.Negotiate(offer, server)
			checkAnswer(t, offer, server, agreed, answer, ok)
			got, ok, err := client.Accepted(answer)
			if got != agreed || !ok || err != nil {
				t.Fatalf("%q, %q: %+v, %v, %v, want %+v", offer, answer, got, ok, err, agreed)
			}
			if agreed.Server.Takeover && !client.Server.Takeover || agreed.Client.Takeover && !client.Client.Takeover ||
				!atMost(agreed.Server.Bits, client.Server.Bits) || !atMost(agreed.Client.Bits, client.Client.Bits) {
				t.Fatalf("%q, %q: %+v", offer, answer, agreed)
			}
		})
	})
}

func TestAnswers(t *testing.T) {
	both := func(s, c ws.Side) ws.Params { return ws.Params{Server: s, Client: c} }
	full, none := ws.Side{Takeover: true, Bits: 15}, ws.Side{Bits: 15}
	small := both(ws.Side{Bits: 10}, ws.Side{Takeover: true, Bits: 10})
	for _, tt := range []struct {
		offered ws.Params
		answer  string
		agreed  ws.Params
		err     bool
	}{
		{all, "", ws.Params{}, false},
		{all, " \t", ws.Params{}, false},
		{all, "permessage-deflate", both(full, full), false},
		{all, " PERMESSAGE-DEFLATE ", both(full, full), false},
		{all, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", both(none, none), false},
		{all, "permessage-deflate; server_max_window_bits=9", both(ws.Side{Takeover: true, Bits: 9}, full), false},
		{all, "permessage-deflate; client_max_window_bits=9", both(full, ws.Side{Takeover: true, Bits: 9}), false},
		{all, `permessage-deflate; client_max_window_bits="9"`, both(full, ws.Side{Takeover: true, Bits: 9}), false},
		{all, "permessage-deflate; client_max_window_bits", ws.Params{}, true},
		{all, "permessage-deflate; server_max_window_bits", ws.Params{}, true},
		{all, "permessage-deflate; server_max_window_bits=7", ws.Params{}, true},
		{all, "permessage-deflate; foo", ws.Params{}, true},
		{all, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", ws.Params{}, true},
		{all, "permessage-deflate, permessage-deflate", ws.Params{}, true},
		{all, "permessage-deflate; server_no_context_takeover, foo", ws.Params{}, true},
		{all, "foo", ws.Params{}, true},
		{ws.Params{}, "permessage-deflate", ws.Params{}, true},
		{ws.Params{}, "permessage-deflate; server_no_context_takeover", both(none, none), false},
		{small, "permessage-deflate; server_no_context_takeover", ws.Params{}, true},
		{small, "permessage-deflate; server_no_context_takeover; server_max_window_bits=11", ws.Params{}, true},
		{small, "permessage-deflate; server_max_window_bits=10", ws.Params{}, true},
		{small, "permessage-deflate; server_no_context_takeover; server_max_window_bits=10", both(ws.Side{Bits: 10}, ws.Side{Takeover: true, Bits: 10}), false},
		{
			small, "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12",
			both(ws.Side{Bits: 9}, ws.Side{Takeover: true, Bits: 10}), false,
		},
	} {
		agreed, ok, err := tt.offered.Accepted(tt.answer)
		if agreed != tt.agreed || ok != (agreed != ws.Params{}) || (err != nil) != tt.err {
			t.Errorf("%q, %q: %+v, %v, %v", tt.offered.Offer(), tt.answer, agreed, ok, err)
		}
	}
}

func TestWindowsAreChecked(t *testing.T) {
	for bits := -1; bits < 20; bits++ {
		want := bits == 0 || bits >= 8 && bits <= 15
		for _, p := range []ws.Params{{Server: ws.Side{Bits: bits}}, {Client: ws.Side{Bits: bits}}} {
			if err := p.Check(); (err == nil) != want {
				t.Errorf("%+v: %v", p, err)
			}
		}
	}
}
