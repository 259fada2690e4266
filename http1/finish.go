package http1

import "slices"

// finish checks what only a whole head shows, tells h, and prepares d for the
// body.
func (d *Decoder) finish(p []byte, w *work, h *Head) *Error {
	if e := w.checkFraming(); e != nil {
		return e
	}
	if d.responses {
		d.frameResponse(w, h)
	} else {
		if e := w.checkRequest(p); e != nil {
			return e
		}
		d.frameRequest(w, h)
	}
	if limit := d.limit().body(); limit >= 0 {
		if h.Length > limit {
			return ErrBodyTooLarge
		}
		d.total = limit
	} else {
		d.total = -1
	}
	d.begin(h)
	w.tell(p, h)
	if d.responses {
		w.tellResponse(p, h)
	} else {
		w.tellRequest(p, h)
	}
	return nil
}

// checkFraming refuses what makes it doubtful where the body ends (RFC 9112
// 6.3). Transfer-Encoding on HTTP/1.0 is such a thing: who does not know it
// reads no body, or one until the end.
func (w *work) checkFraming() *Error {
	if w.seen&seenCoding != 0 && (w.seen&seenLength != 0 || w.minor == 0) {
		return ErrFraming
	}
	return nil
}

// checkRequest checks Host (RFC 9112 3.2) and that CONNECT has no body, which
// one server would take for a body and another for the tunnel's first bytes.
func (w *work) checkRequest(p []byte) *Error {
	switch {
	case w.seen&seenHost == 0:
		if w.minor > 0 {
			return ErrHost
		}
	case w.seen&seenAbsolute != 0:
		// The target counts (RFC 9112 3.2.2), but a server that routes by Host
		// would take the request elsewhere than one that follows the rule.
		scheme := p[w.target : w.authority-uint32(len("://"))]
		if !sameAuthority(p[w.host:w.hostEnd], p[w.authority:w.authorityTo], scheme) {
			return ErrHost
		}
	}
	if w.seen&seenConnect != 0 && (w.seen&seenCoding != 0 || w.length > 0) {
		return errConnectBody
	}
	return nil
}

// frameRequest finds how the body of a request is framed (RFC 9112 6.3).
func (d *Decoder) frameRequest(w *work, h *Head) {
	h.Chunked = w.seen&seenCoding != 0
	h.Length = w.length
	if h.Chunked {
		h.Length = -1
	}
	h.Close = w.closes()
}

// frameResponse finds how the body of a response is framed (RFC 9112 6.3).
func (d *Decoder) frameResponse(w *work, h *Head) {
	interim := w.status < 200 && w.status != 101
	answers := d.answers
	if !interim {
		d.answers = answersOther
	}
	h.Close = w.closes()
	h.Chunked, h.Length = false, 0
	switch {
	case w.status < 200 || w.status == 204 || w.status == 304 || answers == answersHead:
	case answers == answersConnect && w.status < 300:
	case w.seen&seenCoding != 0:
		h.Chunked, h.Length = true, -1
	case w.seen&seenLength != 0:
		h.Length = w.length
	default:
		h.Length, h.Close = -1, true
	}
}

// closes tells whether the fields and the version end the connection after the
// message (RFC 9112 9.3).
func (w *work) closes() bool {
	return w.seen&seenClose != 0 || w.minor == 0 && w.seen&seenKeep == 0
}

// begin prepares for the body that h announces.
func (d *Decoder) begin(h *Head) {
	switch {
	case h.Chunked:
		d.state = chunkSize0
		d.left, d.digits, d.extensions = 0, 0, 0
	case h.Length > 0:
		d.state, d.left = inFixed, h.Length
	case h.Length < 0:
		d.state, d.left = inClose, d.total
	default:
		d.state = isDone
	}
}

// tell fills in what requests and responses have in common.
func (w *work) tell(p []byte, h *Head) {
	h.Minor = int(w.minor)
	h.Fields = slices.Grow(h.Fields[:0], len(w.spans))[:len(w.spans)]
	for i := range w.spans {
		w.spans[i].fill(&h.Fields[i], p)
	}
	h.Host, h.HostSet = nil, w.seen&seenHost != 0
	if h.HostSet {
		h.Host = p[w.host:w.hostEnd:w.hostEnd]
	}
}

func (w *work) tellRequest(p []byte, h *Head) {
	h.Method = p[w.base:w.methodEnd:w.methodEnd]
	h.Target = p[w.target:w.targetEnd:w.targetEnd]
	h.Status, h.Reason = 0, nil
	h.Upgrade = w.seen&seenUpgrade != 0 && w.minor > 0
	h.Continue, h.Expectation = false, nil
	if w.seen&seenExpect == 0 && w.minor == 0 {
		return
	}
	if w.seen&(seenContinue|seenExpect) != 0 {
		h.Continue = w.seen&seenExpect == 0
		h.Expectation = p[w.expect:w.expectEnd:w.expectEnd]
	}
}

func (w *work) tellResponse(p []byte, h *Head) {
	h.Method, h.Target = nil, nil
	h.Status = int(w.status)
	h.Reason = p[w.target:w.targetEnd:w.targetEnd]
	h.Upgrade = w.seen&seenUpgrade != 0
	h.Continue, h.Expectation = false, nil
}
