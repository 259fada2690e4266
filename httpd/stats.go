package httpd

import "sync/atomic"

// Stats is a snapshot of a server's counters.
type Stats struct {
	Conns    int64 // connections at present, hijacked ones included
	Hijacked int64 // connections at present that handlers have hijacked or taken over, those of WebSocket among them
	Requests int64 // requests received
	Refused  int64 // messages that were refused as malformed or beyond a limit
	TimedOut int64 // connections that ReadHeaderTimeout, ReadTimeout or WriteTimeout ended

	// Handlers and Waiting are those of the engine, of all its servers: how
	// many handlers run at present, and how many connections have a request
	// that waits for one to return.
	Handlers int
	Waiting  int
}

// counts are those of one loop, on a cache line of their own.
type counts struct {
	requests, refused, timedOut atomic.Int64
	_                           [40]byte
}

// Stats returns the server's counters. Any goroutine may call it.
func (s *Server) Stats() Stats {
	var st Stats
	for i, sv := range s.all() {
		st.Conns += sv.open.Load()
		st.Hijacked += sv.hijacked.Load()
		for j := range sv.counts {
			st.Requests += sv.counts[j].requests.Load()
			st.Refused += sv.counts[j].refused.Load()
			st.TimedOut += sv.counts[j].timedOut.Load()
		}
		if i == 0 {
			jobs := sv.eng.Stats().Jobs
			st.Handlers, st.Waiting = jobs.Running, jobs.Waiting
		}
	}
	return st
}
