package httpd

import "github.com/sluice-go/sluice"

// Own returns the engine that the server made for itself, nil if there is none.
func (s *Server) Own() *sluice.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}
