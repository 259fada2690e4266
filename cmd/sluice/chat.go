package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/sluice-go/sluice/websocket"
)

const (
	// saidMax is the length of a message in bytes: a page of text.
	saidMax = 4 << 10

	// saidPerSecond is how many messages a member may send in a second. Everybody
	// gets each of them.
	saidPerSecond = 10

	// membersMax bounds the room: everybody is told of everybody who comes or goes.
	membersMax = 1000

	// nameMax is the length of a name in characters.
	nameMax = 32

	// chatBacklog is how many bytes wait for a member who does not keep up: what
	// was said while a phone changed networks.
	chatBacklog = 256 << 10
)

// room is the chat of /chat. A member sends plain text and receives events.
type room struct {
	server  *websocket.Server
	members websocket.Group

	mu      sync.Mutex // also has events told in the order of their numbers
	present int
}

// event is what members are told, as JSON.
type event struct {
	Kind    string `json:"kind"` // "joined", "left", "said" or, to its sender alone, "refused"
	Name    string `json:"name"`
	Text    string `json:"text,omitempty"`    // of "said" and "refused"
	Present int    `json:"present,omitempty"` // how many members there are now; of "joined" and "left"
}

// member is the Context of a connection of the room.
type member struct {
	name string

	// Loop only.
	in     bool      // true exactly when it is counted
	second time.Time // when the second began in which said were sent
	said   int
}

func newRoom() *room {
	r := new(room)
	r.server = &websocket.Server{
		Handler: r,
		Accept: func(req *websocket.Request) (any, error) {
			query, err := url.ParseQuery(req.Query())
			if err != nil {
				return nil, &websocket.Refusal{Status: http.StatusBadRequest, Text: "write /chat/ws?name=NAME"}
			}
			return &member{name: nameOf(query.Get("name"))}, nil
		},
		Compression: &websocket.Compression{},
		MaxMessage:  saidMax,
		Backlog:     websocket.Backlog{Bytes: chatBacklog, Policy: websocket.DropOldest},
	}
	return r
}

// nameOf makes a name to be shown of what a client says: characters that can be seen,
// and single spaces between them.
func nameOf(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	name := []rune(strings.Join(strings.Fields(s), " "))
	if name = name[:min(len(name), nameMax)]; len(name) == 0 {
		return "somebody"
	}
	return strings.TrimSpace(string(name))
}

// OnOpen lets a member in, if there is room.
func (r *room) OnOpen(c *websocket.Conn) {
	m := c.Context().(*member)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.present == membersMax {
		_ = c.Close(websocket.TryAgainLater, "the room is full")
		return
	}
	r.members.Add(c)
	if r.tell(event{Kind: "joined", Name: m.name, Present: r.present + 1}) != nil {
		_ = c.Close(websocket.TryAgainLater, "the room is too busy")
		return
	}
	m.in = true
	r.present++
}

// OnMessage tells everybody what a member says.
func (r *room) OnMessage(c *websocket.Conn, op websocket.Opcode, data []byte) {
	m := c.Context().(*member)
	switch {
	case op != websocket.Text:
		_ = c.Close(websocket.UnsupportedData, "send text")
	case !m.mayTalk(time.Now()):
		_ = c.Close(websocket.PolicyViolation, "too many messages in a second")
	default:
		if text := strings.TrimSpace(string(data)); text != "" {
			r.say(c, text)
		}
	}
}

// say tells everybody what a member says, or the member that nobody was told.
func (r *room) say(c *websocket.Conn, text string) {
	e := event{Kind: "said", Name: c.Context().(*member).name, Text: text}
	if r.tell(e) != nil {
		e.Kind = "refused"
		_ = c.WriteMessage(websocket.Text, e.json()) // fails if the member does not keep up, either
	}
}

// mayTalk counts a message and reports whether it is within the limit.
func (m *member) mayTalk(now time.Time) bool {
	if now.Sub(m.second) >= time.Second {
		m.second, m.said = now, 0
	}
	m.said++
	return m.said <= saidPerSecond
}

// OnClose tells that a member has left.
func (r *room) OnClose(c *websocket.Conn, _ error) {
	m := c.Context().(*member)
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.in {
		r.present--
		_ = r.tell(event{Kind: "left", Name: m.name, Present: r.present}) // the next will tell how many are present
	}
}

// tell sends an event to all members, or to none if more is said than the server can
// tell them.
func (r *room) tell(e event) error {
	return r.members.Broadcast(websocket.Prepare(websocket.Text, e.json()))
}

func (e event) json() []byte {
	data, _ := json.Marshal(e) // of strings and a number: cannot fail
	return data
}

//go:embed chat.html
var chatHTML string

// chatPolicy has a browser run the page's own script and nothing else, and talk to
// this server alone.
var chatPolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src '" + hashOf(chatHTML) +
	"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// hashOf names the script of a page for a Content-Security-Policy.
func hashOf(page string) string {
	_, script, _ := strings.Cut(page, "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	sum := sha256.Sum256([]byte(script))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// chatPage is the page at /chat.
func chatPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", chatPolicy)
	_, _ = io.WriteString(w, chatHTML)
}
