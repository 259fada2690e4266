package http1

// Body reads the body that follows a head; p is what has come of it. It takes n
// bytes of p, of which data, a part of p[:n], is body; data may be empty while
// n is not, for framing is no body. It is to be called again while n > 0 and
// the message is not Done: one call returns at most one piece.
//
// It takes all of p unless the message ends in it: when data is empty, err nil and
// the message not Done, n is len(p). After an *Error every call returns the same.
// When there is no body, or its end has been reached, it takes nothing.
func (d *Decoder) Body(p []byte) (data []byte, n int, err error) {
	if d.err != nil {
		return nil, 0, d.err
	}
	switch d.state {
	case inHead, isDone:
		return nil, 0, nil
	case inFixed:
		data = d.take(p)
		if d.left == 0 {
			d.state = isDone
		}
		return data, len(data), nil
	case inClose:
		if d.left < 0 {
			return p, len(p), nil
		}
		if data = d.take(p); len(data) == 0 && len(p) > 0 {
			return nil, 0, d.fail(ErrBodyTooLarge)
		}
		return data, len(data), nil
	}
	data, n, e := d.chunked(p)
	if e != nil {
		return nil, 0, d.fail(e)
	}
	return data, n, nil
}

// take takes as many of the left bytes as p has.
func (d *Decoder) take(p []byte) []byte {
	n := int(min(int64(len(p)), d.left))
	d.left -= int64(n)
	return p[:n:n]
}
