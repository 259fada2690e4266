// Command autocert serves HTTPS with certificates that it gets by itself, from
// Let's Encrypt unless it is told of another authority that speaks ACME.
//
//	autocert -hosts example.com,www.example.com -cache certs -email me@example.com
//
// The authority makes sure that the hosts are this server's by a handshake with port
// 443 of each (TLS-ALPN-01, RFC 8737); nothing needs to listen on port 80. A host's
// first visitor waits for its certificate, though no longer than a handshake may take:
// the next one finds it.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/sluice-go/sluice/httpd"
)

func main() {
	addr := flag.String("addr", ":443", "`address` to listen on")
	hosts := flag.String("hosts", "", "`names` of the hosts to serve, with commas between them")
	cache := flag.String("cache", "certs", "`directory` that keeps certificates and keys when the server ends")
	email := flag.String("email", "", "`address` for the authority to write to")
	directory := flag.String("directory", autocert.DefaultACMEDirectory, "`URL` of the authority's ACME directory")
	flag.Parse()
	if *hosts == "" {
		log.Fatal("autocert: -hosts is missing")
	}
	s := newServer(strings.Split(*hosts, ","), *cache, *email, &acme.Client{DirectoryURL: *directory})
	s.Addr = *addr
	log.Fatal(s.ListenAndServeTLS("", "")) // no files: TLSConfig gets the certificates
}

// newServer returns a server of hosts.
func newServer(hosts []string, cache, email string, authority *acme.Client) *httpd.Server {
	certificates := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(hosts...), // or anyone could have us ask for any name
		Cache:      autocert.DirCache(cache),
		Email:      email,
		Client:     authority,
	}
	return &httpd.Server{
		TLSConfig:         certificates.TLSConfig(),
		Handler:           http.HandlerFunc(greet),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
}

func greet(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Hello from %s\n", r.TLS.ServerName)
}
