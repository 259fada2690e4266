package http1

import "bytes"

// Head reads a head. p begins with the message's first byte and holds all bytes
// received since; they may have moved since the last call.
//
// When n > 0 the head is complete and takes n bytes, empty lines in front of a
// request line included. h tells what is in it and lends parts of p. When n is
// 0 and err nil, more bytes are needed. Every line is checked as soon as it is
// whole, and what has been checked is not looked at again, however small the
// pieces in which a head comes. After an *Error every call returns
// the same.
//
// It panics when the body of the message before has not been read to its end.
func (d *Decoder) Head(p []byte, h *Head) (n int, err error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.state != inHead && d.state != isDone {
		panic("http1: Head before the end of the body")
	}
	if len(p) == 0 {
		return 0, nil
	}
	d.state = inHead
	d.trailer = nil
	w := d.partial
	if w == nil {
		w = &h.work
		w.reset()
	}
	whole, e := d.lines(p, w)
	if e == nil && whole {
		e = d.finish(p, w, h)
	}
	if e != nil {
		return 0, d.fail(e)
	}
	if !whole {
		d.keep(p, w)
		return 0, nil
	}
	if d.partial != nil {
		h.work.spans = d.partial.spans // for the next head
	}
	d.partial, d.begun = nil, false
	return int(w.next), nil
}

// keep saves a head that is not whole until the next call, which may come with
// another Head.
func (d *Decoder) keep(p []byte, w *work) {
	if d.partial == nil {
		d.partial = new(work)
		*d.partial = *w
		*w = work{}
	}
	rest := p[d.partial.next:]
	// A CR alone may become an empty line in front of a request.
	d.begun = d.partial.seen&seenStart != 0 || len(rest) > 1 || len(rest) == 1 && rest[0] != '\r'
}

// lines reads the lines of a head that are whole, and reports whether the last
// one, which is empty, is among them.
func (d *Decoder) lines(p []byte, w *work) (whole bool, e *Error) {
	limits := d.limit()
	for {
		if e := w.cleanFields(p, limits); e != nil {
			return false, e
		}
		if e := d.firstByte(p, w); e != nil {
			return false, e
		}
		i := bytes.IndexByte(p[w.scan:], '\n')
		end := len(p) // behind what there is of the line
		if i >= 0 {
			end = int(w.scan) + i + 1
		}
		if e := limits.checkHead(w, end, i >= 0); e != nil {
			return false, e
		}
		w.scan = uint32(end)
		if i < 0 {
			return false, nil
		}
		if end-int(w.next) < 2 || p[end-2] != '\r' {
			return false, errLineEnd
		}
		at, to := w.next, uint32(end-2)
		w.next = uint32(end)
		switch {
		case w.seen&seenStart == 0:
			e = d.startLine(p, w, at, to)
		case at == to:
			return true, nil
		case len(w.spans) >= limits.fields():
			e = ErrTooManyFields
		default:
			e = w.fieldLine(p, at, to)
		}
		if e != nil {
			return false, e
		}
	}
}

// firstByte refuses what cannot begin a request at its first byte, since another
// protocol's bytes, such as TLS's, may not have an end of line for long.
func (d *Decoder) firstByte(p []byte, w *work) *Error {
	if d.responses || w.seen&seenStart != 0 || int(w.next) >= len(p) {
		return nil
	}
	if c := p[w.next]; class[c]&isToken == 0 && c != '\r' && c != '\n' {
		return errMethod
	}
	return nil
}

// checkHead checks the size of a head of which bytes up to end are looked at;
// whole is true exactly when the last of them ends a line. Whatever the pieces
// are in which the head comes, the same byte breaks a limit.
func (l *Limits) checkHead(w *work, end int, whole bool) *Error {
	size, line := end-int(w.base), end-int(w.next)
	if w.seen&seenStart != 0 {
		if size > l.head() {
			return ErrHeadTooLarge
		}
		return nil
	}
	if whole {
		line-- // the line feed
	}
	// A CR may belong to the line's end. Without a start line that fits, there
	// is no head that does.
	if line > min(l.line()+1, l.head()) {
		return ErrLineTooLong
	}
	return nil
}

// startLine reads the line p[at:to] in front of the fields.
func (d *Decoder) startLine(p []byte, w *work, at, to uint32) *Error {
	if at == to {
		if d.responses || w.blank == maxBlankLines {
			return errRequestLine
		}
		w.blank++
		w.base = w.next
		return nil
	}
	w.seen |= seenStart
	if d.responses {
		return w.statusLine(p[at:to])
	}
	return w.requestLine(p, at, to)
}

// requestLine reads method SP request-target SP HTTP-version (RFC 9112 3).
func (w *work) requestLine(p []byte, at, to uint32) *Error {
	line := p[at:to]
	i := 0
	for i < len(line) && class[line[i]]&isToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ' ' {
		return errMethod
	}
	method := line[:i]
	i++
	start := i
	for i < len(line) && class[line[i]]&isTarget != 0 {
		i++
	}
	if i == len(line) {
		return errRequestLine // no version: HTTP/0.9, or a piece of something else
	}
	if line[i] != ' ' {
		return errTarget
	}
	w.methodEnd = at + uint32(len(method))
	w.target, w.targetEnd = at+uint32(start), at+uint32(i)
	if e := w.version(line[i+1:]); e != nil {
		return e
	}
	return w.checkTarget(method, line[start:i])
}

// statusLine reads HTTP-version SP status-code SP [reason-phrase] (RFC 9112
// 4). The second space may be missing together with the reason, as from many
// servers.
func (w *work) statusLine(line []byte) *Error {
	const reason = len("HTTP/1.1 200 ")
	if len(line) < reason-1 || line[8] != ' ' || len(line) >= reason && line[reason-1] != ' ' {
		return errStatusLine
	}
	if e := w.version(line[:8]); e != nil {
		return e
	}
	code := line[9:12]
	if !all(code, isDigit) || code[0] == '0' || !allText(line[reason-1:]) {
		return errStatusLine
	}
	w.status = uint16(code[0]-'0')*100 + uint16(code[1]-'0')*10 + uint16(code[2]-'0')
	w.target, w.targetEnd = uint32(min(reason, len(line))), uint32(len(line))
	return nil
}

// version reads HTTP-version (RFC 9112 2.3), which is case-sensitive.
func (w *work) version(v []byte) *Error {
	switch {
	case string(v) == "HTTP/1.1":
		w.minor = 1
	case string(v) == "HTTP/1.0":
		w.minor = 0
	case len(v) != 8 || string(v[:5]) != "HTTP/" || class[v[5]]&isDigit == 0 || v[6] != '.' || class[v[7]]&isDigit == 0:
		return errVersionForm
	case v[5] != '1':
		return ErrVersion
	default:
		w.minor = 1
	}
	return nil
}

// cleanFields reads the field lines at the beginning of what has not been
// looked at that are whole and in order, in one pass over their bytes. It
// leaves the first other line, and what is wrong with it, to its caller.
func (w *work) cleanFields(p []byte, limits *Limits) *Error {
	if w.seen&seenStart == 0 {
		return nil
	}
	head, fields := limits.head(), limits.fields()
	for w.scan == w.next && len(w.spans) < fields {
		at := w.next
		line := p[at:]
		i := 0
		for i < len(line) && class[line[i]]&isToken != 0 {
			i++
		}
		if i == 0 || i == len(line) || line[i] != ':' {
			return nil
		}
		end := i + 1 + textLen(line[i+1:])
		if end+1 >= len(line) || line[end] != '\r' || line[end+1] != '\n' || int(at-w.base)+end+2 > head {
			return nil
		}
		w.next += uint32(end + 2)
		w.scan = w.next
		if e := w.addField(p, trimmed(line, at, i, end)); e != nil {
			return e
		}
	}
	return nil
}

// fieldLine reads field-name ":" OWS field-value OWS (RFC 9112 5) in
// p[at:to], which is not empty.
func (w *work) fieldLine(p []byte, at, to uint32) *Error {
	s, e := parseField(p, at, to)
	if e != nil {
		return e
	}
	return w.addField(p, s)
}

// addField notes a field.
func (w *work) addField(p []byte, s span) *Error {
	w.spans = append(w.spans, s)
	n := s.nameEnd - s.name
	if n >= uint32(len(ruleOf)) || ruleOf[n] == nil {
		return nil
	}
	return w.known(ruleOf[n], p, s)
}

// trimmed returns where name and value are in a line that begins at offset at,
// has its colon at index colon and its CR at index end. It removes spaces and
// tabs around the value (RFC 9110 5.6.3: OWS).
func trimmed(line []byte, at uint32, colon, end int) span {
	value := colon + 1
	for value < end && (line[value] == ' ' || line[value] == '\t') {
		value++
	}
	for end > value && (line[end-1] == ' ' || line[end-1] == '\t') {
		end--
	}
	return span{at, at + uint32(colon), at + uint32(value), at + uint32(end)}
}

// parseField finds name and value in the line p[at:to], which is not empty.
func parseField(p []byte, at, to uint32) (span, *Error) {
	line := p[at:to]
	i := 0
	for i < len(line) && class[line[i]]&isToken != 0 {
		i++
	}
	switch {
	case i == len(line):
		return span{}, errColon
	case line[i] == ':' && i > 0:
	case i == 0 && (line[0] == ' ' || line[0] == '\t'):
		return span{}, errFold
	default:
		return span{}, errName
	}
	if !allText(line[i+1:]) {
		return span{}, errValue
	}
	return trimmed(line, at, i, len(line)), nil
}
