package httpd

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"

	"github.com/sluice-go/sluice"
)

// ListenAndServeTLS is ListenAndServe over TLS, as the method of http.Server is:
// with the certificate and key in two files in PEM, which may be "" if TLSConfig has
// certificates or a callback that has. The files are read once; package certfile reads
// them again when they change. With Addr "" it listens on ":https".
func (s *Server) ListenAndServeTLS(certFile, keyFile string) error {
	cfg, err := s.tlsConfig(certFile, keyFile)
	if err != nil {
		return err
	}
	addr := s.Addr
	if addr == "" {
		addr = ":https"
	}
	sv, err := s.start(nil, func(e *sluice.Engine, h sluice.Handler) (*sluice.Listener, error) {
		return e.Listen("tcp", addr, over(cfg, h))
	})
	if err != nil {
		return err
	}
	return sv.wait()
}

// ServeTLS is Serve over TLS, with the files of ListenAndServeTLS.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	cfg, err := s.tlsConfig(certFile, keyFile)
	if err != nil {
		_ = l.Close()
		return err
	}
	return s.serve(l, func(h sluice.Handler) sluice.Handler { return over(cfg, h) })
}

// ListenTLS is Listen over TLS, with the files of ListenAndServeTLS.
func (s *Server) ListenTLS(network, address, certFile, keyFile string) (*sluice.Listener, error) {
	cfg, err := s.tlsConfig(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	sv, err := s.start(nil, func(e *sluice.Engine, h sluice.Handler) (*sluice.Listener, error) {
		return e.Listen(network, address, over(cfg, h))
	})
	if err != nil {
		return nil, err
	}
	return sv.ln, nil
}

// ListenAndServeTLS serves handler over TLS on a TCP address with a Server without
// limits of time, as http.ListenAndServeTLS does. It always returns an error.
func ListenAndServeTLS(addr, certFile, keyFile string, handler http.Handler) error {
	return (&Server{Addr: addr, Handler: handler}).ListenAndServeTLS(certFile, keyFile)
}

// ServeTLS serves handler over TLS on l with a Server without limits of time, as
// http.ServeTLS does. It always returns an error.
func ServeTLS(l net.Listener, handler http.Handler, certFile, keyFile string) error {
	return (&Server{Handler: handler}).ServeTLS(l, certFile, keyFile)
}

// over puts a service on top of TLS.
func over(cfg *tls.Config, h sluice.Handler) sluice.Handler {
	h.(*service).secure = true
	return sluice.TLS(cfg, h)
}

// tlsConfig returns what a listener of the server is to use.
func (s *Server) tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	cfg := &tls.Config{}
	if s.TLSConfig != nil {
		cfg = s.TLSConfig.Clone()
	}
	if !slices.Contains(cfg.NextProtos, "http/1.1") {
		cfg.NextProtos = append(slices.Clone(cfg.NextProtos), "http/1.1")
	}
	// HTTP/2 is not spoken here: who offers both is to choose the other.
	cfg.NextProtos = slices.DeleteFunc(slices.Clone(cfg.NextProtos), func(p string) bool { return p == "h2" })
	has := len(cfg.Certificates) > 0 || cfg.GetCertificate != nil || cfg.GetConfigForClient != nil
	if !has && certFile == "" && keyFile == "" {
		return nil, errors.New("httpd: there is no certificate: name two files, or set Certificates, GetCertificate or GetConfigForClient in TLSConfig")
	}
	if certFile != "" || keyFile != "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// speaksHTTP1 reports whether a connection is to carry HTTP/1.x. One that agreed on
// another protocol, of which TLSConfig may offer any, is closed, as net/http does
// without a function in TLSNextProto.
func speaksHTTP1(state *tls.ConnectionState) bool {
	if state == nil { // it has ended
		return true
	}
	switch state.NegotiatedProtocol {
	case "", "http/1.1", "http/1.0":
		return true
	}
	return false
}

// notTLS is what net/http answers to a request in clear on a port for TLS.
const notTLS = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

// OnHandshakeError logs that a handshake has failed, as net/http does, and answers
// a client that does not speak TLS but HTTP.
func (sv *service) OnHandshakeError(remote net.Addr, err error) []byte {
	var answer []byte
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		switch string(header.RecordHeader[:]) {
		case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
			answer, err = []byte(notTLS), errors.New("client sent an HTTP request to an HTTPS server")
		}
	}
	sv.srv.logAt(slog.LevelInfo, "httpd: TLS handshake error from %s: %v", remote, err)
	return answer
}
