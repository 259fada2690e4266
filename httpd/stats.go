package httpd

import "sync/atomic"

// Stats is a snapshot of a server's counters. How many handlers run and how
// many requests wait for one is in the Jobs of sluice.Engine.Stats.
type Stats struct {
	Conns    int64 // connections at present, hijacked ones included
	Hijacked int64 // connections at present that handlers have hijacked
	Requests int64 // requests received
	Refused  int64 // messages that were refused as malformed or beyond a limit
}

// counts are those of one loop, on a cache line of their own.
type counts struct {
	requests, refused atomic.Int64
	_                 [48]byte
}

// Stats returns the server's counters. Any goroutine may call it.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st Stats
	for _, sv := range s.services {
		st.Conns += sv.open.Load()
		st.Hijacked += sv.hijacked.Load()
		for i := range sv.counts {
			st.Requests += sv.counts[i].requests.Load()
			st.Refused += sv.counts[i].refused.Load()
		}
	}
	return st
}
