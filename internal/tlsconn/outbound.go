package tlsconn

import (
	"errors"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

const (
	// sealMax is how many bytes are encrypted ahead of what the driver has taken.
	sealMax = 4 * plainMax

	// outMax is how many encrypted bytes may wait: more than the loop's Sends
	// come to, so that it is the peer who makes crypto/tls answer all the time.
	outMax = 4 * sealMax

	// directMin is from how many bytes on a record is written at once.
	directMin = 8 << 10

	// sparesMax is how many unused outbounds a loop keeps.
	sparesMax = 64

	// iovMax is how many pieces one Send of the driver may have.
	iovMax = 64
)

// errDeaf ends a connection whose peer asks for new keys and does not read.
var errDeaf = errors.New("the TLS peer asks for answers and does not read them")

// errUnsendable is for those who send after that has failed.
var errUnsendable = errors.New("sending to the TLS peer has failed before")

// outbound is what waits for the driver.
type outbound struct {
	buf   buffer.LinkBuffer // ciphertext
	plain int               // the bytes of the loop's Send that are in it
}

// outbound returns what waits for the driver, to be added to.
func (s *session) outbound() *outbound {
	if s.out == nil {
		l := s.layer
		if n := len(l.spare); n > 0 {
			s.out, l.spare = l.spare[n-1], l.spare[:n-1]
		} else {
			s.out = &outbound{}
			s.out.buf.SetPool(l.pool)
		}
	}
	return s.out
}

// emit sends a record, or keeps it until it can be sent. A large one is not copied
// unless the kernel does not take it. An error is the connection's, which the kernel
// tells once.
func (s *session) emit(p []byte) error {
	if len(p) >= directMin && s.out == nil && s.flags&(sending|unsendable|finSent) == 0 {
		n, err := s.layer.drv.TryWrite(int(s.fd), p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	if len(p) > 0 {
		_, _ = s.outbound().buf.Write(p)
	}
	return nil
}

// empty gives the outbound back.
func (s *session) empty() {
	if s.out == nil {
		return
	}
	s.out.buf.Close()
	s.out.plain = 0
	if l := s.layer; len(l.spare) < sparesMax {
		l.spare = append(l.spare, s.out)
	}
	s.out = nil
}

// Send is driver.Driver's for a connection with TLS: bytes that have left are
// those of records that have left. What is in bufs beyond sealMax is left where it
// is until there is room for it.
func (l *Layer) Send(id driver.ID, bufs [][]byte) (sent int, err error) {
	s := l.sessions[id]
	for skip := 0; len(bufs) > 0; {
		n, rest, at, err := l.seal(s, bufs, skip)
		if err != nil {
			l.giveUp(s)
			return sent, err
		}
		if err := l.push(s); err != nil {
			return sent, err
		}
		if s.flags&sending != 0 {
			s.out.plain = n
			s.flags |= answering
			return sent, nil
		}
		sent += n
		bufs, skip = rest, at
	}
	return sent, nil
}

// seal encrypts up to sealMax bytes of bufs, of which the first skip have been
// encrypted. Small pieces go into one record. It returns how many bytes they were,
// and what is left.
func (l *Layer) seal(s *session, bufs [][]byte, skip int) (n int, rest [][]byte, at int, err error) {
	record := l.record[:0]
	write := func(p []byte) {
		if err == nil && len(p) > 0 {
			_, err = s.tc.Write(p)
		}
	}
	for len(bufs) > 0 && n < sealMax && err == nil {
		p := bufs[0][skip:]
		if room := sealMax - n; len(p) > room {
			p = p[:room]
			skip += room
		} else {
			bufs, skip = bufs[1:], 0
		}
		n += len(p)
		if len(record) == 0 && (len(p) >= plainMax || len(bufs) == 0) {
			write(p)
			continue
		}
		for len(p) > 0 {
			k := min(len(p), plainMax-len(record))
			record = append(record, p[:k]...)
			if p = p[k:]; len(record) == plainMax {
				write(record)
				record = record[:0]
			}
		}
	}
	write(record)
	l.record = record[:0]
	return n, bufs, skip, err
}

// push hands what waits to the driver, and ends the direction when that was all
// and it is to be ended.
func (l *Layer) push(s *session) error {
	switch {
	case s.flags&sending != 0 || s.state == shut:
		return nil
	case s.flags&unsendable != 0:
		l.giveUp(s)
		return errUnsendable
	case s.flags&finSent != 0: // what crypto/tls says after that is nobody's business
		s.empty()
		return nil
	}
	for s.out != nil && s.out.buf.Len() > 0 {
		bufs := s.out.buf.Buffers(l.pieces[:0], iovMax)
		total := 0
		for _, p := range bufs {
			total += len(p)
		}
		n, err := l.drv.Send(s.id, bufs)
		clear(bufs)
		l.pieces = bufs
		l.took(s, n)
		if err != nil {
			l.giveUp(s)
			return err
		}
		if n < total {
			s.flags |= sending
			return nil
		}
	}
	s.empty()
	if s.flags&finWanted != 0 {
		s.flags = s.flags&^finWanted | finSent
		l.drv.CloseWrite(s.id)
		if s.state == established {
			l.post(func() { l.finished(s) })
		}
	}
	return nil
}

// giveUp notes that nothing can be sent any more: CloseWrite is as good as carried
// out. Reading does not find it in every case, since the kernel tells an error once.
func (l *Layer) giveUp(s *session) {
	s.flags |= unsendable
	s.empty()
	if s.flags&finWanted != 0 {
		s.flags &^= finWanted
		if s.state == established {
			l.post(func() { l.finished(s) })
		}
	}
}

// finished tells the loop that CloseWrite is carried out.
func (l *Layer) finished(s *session) {
	if s.state == established {
		l.events.Finished(s.id)
	}
}

// took forgets n bytes that have left.
func (l *Layer) took(s *session, n int) {
	_ = s.out.buf.Skip(n)
	s.out.buf.Release()
}

// Sent takes the driver's answer to a Send.
func (l *Layer) Sent(id driver.ID, n int, err error) {
	s := l.sessions[id]
	s.flags &^= sending
	plain := s.out.plain
	l.took(s, n)
	if err == nil {
		err = l.push(s)
	} else {
		l.giveUp(s)
	}
	if s.flags&sending != 0 {
		return
	}
	if s.flags&answering != 0 {
		s.flags &^= answering
		if err != nil {
			plain = 0
		}
		l.events.Sent(id, plain, err)
	}
	if s.state == failed {
		if err != nil {
			s.flags |= eof
		}
		l.finish(s)
	}
}

// CloseWrite is driver.Driver's: with a close_notify before the end.
func (l *Layer) CloseWrite(id driver.ID) {
	s := l.sessions[id]
	if s.flags&broken == 0 {
		_ = s.tc.CloseWrite() // where it fails nothing can be sent
	}
	s.flags |= finWanted
	_ = l.push(s) // gives up where that fails
}

// Pause is driver.Driver's.
func (l *Layer) Pause(id driver.ID) {
	l.sessions[id].flags |= paused
	l.drv.Pause(id)
}

// Resume is driver.Driver's.
func (l *Layer) Resume(id driver.ID) {
	s := l.sessions[id]
	s.flags &^= paused
	switch {
	case s.flags&(held|endOwed) != 0:
		l.post(func() { l.proceed(s) })
	case s.flags&full == 0:
		l.drv.Resume(id)
	}
}

// proceed decrypts what waited for Resume.
func (l *Layer) proceed(s *session) {
	if s.state != established || s.flags&paused != 0 || s.flags&(held|endOwed) == 0 {
		return
	}
	if s.flags&held != 0 {
		s.flags &^= held
		b, n := s.pend, s.n
		s.pend, s.n = nil, 0
		l.decrypt(s, b.Bytes()[:n])
		b.Release()
	}
	if s.state != established || s.flags&(held|paused) != 0 {
		return
	}
	l.drv.Resume(s.id)
	if s.flags&endOwed != 0 {
		s.flags &^= endOwed
		l.end(s)
	}
}

// Shut is driver.Driver's, at any time after Begin.
func (l *Layer) Shut(id driver.ID, abort bool) {
	s := l.sessions[id]
	if s.state == shut {
		return // as of itself, after a handshake that failed
	}
	if s.state == shaking {
		l.abort(s)
	}
	s.state = shut
	s.drop()
	l.drv.Shut(id, abort)
}

// Closed takes the driver's report that connection id has ended.
func (l *Layer) Closed(id driver.ID) {
	l.sessions[id].empty() // until now the driver might have sent of it
	l.mu.Lock()
	l.sessions[id] = nil
	l.mu.Unlock()
	l.events.Closed(id)
}
