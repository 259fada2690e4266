package http1

import (
	"bytes"
	"math"
)

// rule is what a field means to the codec.
type rule struct {
	usual    string // the name as most write it
	requests bool   // true exactly when it means nothing in a response
	once     seen   // set by the first such field, which must be the only one; 0 if it may be repeated
	error    *Error // for a second one
	read     func(w *work, p []byte, s span) *Error
}

// rules are the fields that the codec reads. No two names have the same
// length, which is how a name is looked up.
var rules = [...]rule{
	{"Host", true, seenHost, ErrHost, (*work).readHost},
	{"Expect", true, 0, nil, (*work).readExpect},
	{"Connection", false, 0, nil, (*work).readConnection},
	{"Content-Length", false, seenLength, ErrFraming, (*work).readLength},
	{"Transfer-Encoding", false, seenCoding, ErrFraming, (*work).readCoding},
}

// ruleOf finds the rule for a name by its length.
var ruleOf = func() (t [32]*rule) {
	for i := range rules {
		t[len(rules[i].usual)] = &rules[i]
	}
	return t
}()

// known applies a rule to a field if it has its name.
func (w *work) known(r *rule, p []byte, s span) *Error {
	if r.requests && w.status != 0 {
		return nil
	}
	if name := p[s.name:s.nameEnd]; string(name) != r.usual && !equalFold(name, r.usual) {
		return nil
	}
	if r.once != 0 {
		if w.seen&r.once != 0 {
			return r.error
		}
		w.seen |= r.once
	}
	return r.read(w, p, s)
}

func (w *work) readHost(p []byte, s span) *Error {
	w.host, w.hostEnd = s.value, s.valueEnd
	if !validHost(p[s.value:s.valueEnd]) {
		return ErrHost
	}
	return nil
}

// readLength reads 1*DIGIT (RFC 9110 8.6). A list of equal numbers, which
// that section lets a recipient repair, is refused: not everyone does.
func (w *work) readLength(p []byte, s span) *Error {
	v := p[s.value:s.valueEnd]
	if len(v) == 0 {
		return ErrFraming
	}
	for _, c := range v {
		digit := int64(c - '0')
		if class[c]&isDigit == 0 || w.length > (math.MaxInt64-digit)/10 {
			return ErrFraming
		}
		w.length = w.length*10 + digit
	}
	return nil
}

// readCoding reads a list of transfer codings (RFC 9112 6.1). Chunked must be
// the last and there only once; nothing else is known.
func (w *work) readCoding(p []byte, s span) *Error {
	v := p[s.value:s.valueEnd]
	if equalFold(v, "chunked") {
		return nil
	}
	chunked := false
	for more := true; more; {
		var coding []byte
		coding, v, more = bytes.Cut(v, []byte(","))
		name, _, _ := bytes.Cut(trim(coding), []byte(";"))
		name = trim(name)
		if chunked || len(name) == 0 || !all(name, isToken) {
			return ErrFraming
		}
		chunked = equalFold(name, "chunked")
		if chunked && len(name) != len(trim(coding)) {
			return ErrFraming // chunked has no parameters
		}
	}
	return ErrTransferCoding
}

// readConnection notes the connection options that matter here (RFC 9110
// 7.6.1). Others are not for the codec.
func (w *work) readConnection(p []byte, s span) *Error {
	v := p[s.value:s.valueEnd]
	if string(v) == "keep-alive" { // as most that say anything
		w.seen |= seenKeep
		return nil
	}
	for more := true; more; {
		var option []byte
		option, v, more = bytes.Cut(v, []byte(","))
		option = trim(option)
		switch {
		case equalFold(option, "close"):
			w.seen |= seenClose
		case equalFold(option, "keep-alive"):
			w.seen |= seenKeep
		case equalFold(option, "upgrade"):
			w.seen |= seenUpgrade
		}
	}
	return nil
}

func (w *work) readExpect(p []byte, s span) *Error {
	v := p[s.value:s.valueEnd]
	switch {
	case len(v) == 0 || w.seen&seenExpect != 0:
		return nil
	case !equalFold(v, "100-continue"):
		w.seen |= seenExpect
	case w.seen&seenContinue == 0:
		w.seen |= seenContinue
	}
	w.expect, w.expectEnd = s.value, s.valueEnd
	return nil
}
