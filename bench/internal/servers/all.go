package servers

import (
	"crypto/tls"
	"slices"

	"github.com/sluice-go/sluice"
)

// All holds all servers in the order of reports. What it says of buffers and
// of TCP_NODELAY is from the sources of the versions in go.mod.
var All = slices.Concat(echoReferences, echoPeers, sluiceEchoes, sluiceDrivers(), httpServers, tlsServers, webSocketServers, otherServers)

// Modules that several servers show.
const (
	gnetModule    = "github.com/panjf2000/gnet/v2"
	netpollModule = "github.com/cloudwego/netpoll"
	nbioModule    = "github.com/lesismal/nbio"
)

var echoReferences = []Server{
	{
		Name: Bare, Protocol: Echo, Serve: bare,
		About: "A bare loop, Go and system calls alone: per loop a goroutine, a level-triggered epoll set that it looks into once more before it sleeps, " +
			"Read and Write of golang.org/x/sys/unix, a listener (SO_REUSEPORT if there are several) and a read buffer of 64 KiB; TCP_NODELAY.",
	},
	{
		Name: "c-epoll", Protocol: Echo, Foreign: true, Command: cReference("epoll"),
		About: "C: per loop a thread, a level-triggered epoll set, a listener (SO_REUSEPORT if there are several) " +
			"and a read buffer of 64 KiB; TCP_NODELAY.",
	},
	{
		Name: "c-uring", Protocol: Echo, Foreign: true, Command: cReference("uring"),
		About: "C: per loop a thread, an io_uring (SINGLE_ISSUER, DEFER_TASKRUN) with multishot accept and receive, " +
			"a listener (SO_REUSEPORT if there are several) and 64 posted buffers of 64 KiB, from which it sends, too; TCP_NODELAY.",
	},
}

var echoPeers = []Server{
	{
		Name: "net", Protocol: Echo, Serve: netEcho,
		About: "A goroutine for every connection, with a read buffer that begins at 4 KiB and doubles up to 64 KiB " +
			"when a read fills it; TCP_NODELAY, which package net sets.",
	},
	{
		Name: "gnet", Protocol: Echo, Module: gnetModule, Serve: gnetEcho,
		About: "WithNumEventLoop, and WithReusePort, so that each loop accepts for itself; OnTraffic with Next and Write; " +
			"read buffer of 64 KiB per loop and TCP_NODELAY, its defaults.",
	},
	{
		Name: "gnet-poll_opt", Protocol: Echo, Module: gnetModule, Serve: gnetPollOptEcho, Command: buildWithPollOpt,
		About: "As gnet, built with its tag poll_opt.",
	},
	{
		Name: "netpoll", Protocol: Echo, Module: netpollModule, Serve: netpollEcho,
		About: "SetNumLoops; zero-copy reader and writer; handlers on the loops by SetRunner, which costs less for small messages " +
			"than its default and more for large ones, and would block where a socket takes no more; " +
			"read buffer per connection, which begins at 8 KiB and grows with what comes, and TCP_NODELAY, its defaults.",
	},
	{
		Name: "netpoll-pool", Protocol: Echo, Module: netpollModule, Serve: netpollPoolEcho,
		About: "As netpoll, with handlers on pooled goroutines, its default.",
	},
	{
		Name: "nbio", Protocol: Echo, Module: nbioModule, Serve: nbioEcho,
		About: "NPoller, besides its goroutine that accepts; level-triggered; read buffer of 64 KiB per loop and TCP_NODELAY, its defaults.",
	},
	{
		Name: "evio", Protocol: Echo, Module: "github.com/tidwall/evio", Serve: evioEcho,
		About: "NumLoops, RoundRobin, ReuseInputBuffer; read buffer of 65,535 bytes per loop, which is fixed; " +
			"TCP_NODELAY is set on its listener from outside, as it has no option for it.",
	},
	{
		Name: "gev", Protocol: Echo, Module: "github.com/Allenxuxu/gev", Serve: gevEcho,
		About: "NumLoops, besides its loop that accepts; read buffer of 64 KiB per loop, which is fixed; " +
			"TCP_NODELAY is set on its listener from outside, as it has no option for it.",
	},
}

var sluiceEchoes = []Server{
	{
		Name: "sluice", Protocol: Echo, Serve: sluiceEcho(sluice.Config{}),
		About: "The zero Config: a loop for each processor with a listener of its own; OnData with Next and Write; " +
			"read buffer of 64 KiB per loop and TCP_NODELAY, its defaults.",
	},
	{
		Name: "sluice-main", Protocol: Echo, Variant: true, Serve: sluiceEcho(sluice.Config{Accept: sluice.AcceptMain}),
		About: "As sluice, with a main loop that accepts for the others.",
	},
}

var httpServers = []Server{
	{
		Name: NetHTTP, Protocol: HTTP, Serve: netHTTP,
		About: "The standard library's server as it is: a goroutine for every connection, buffers of 4 KiB, TCP_NODELAY.",
	},
	{
		Name: FastHTTP, Protocol: HTTP, Module: "github.com/valyala/fasthttp", Serve: fastHTTP,
		About: "As it is, but without a Server field in its answers: a goroutine for every connection, pooled buffers of 4 KiB, " +
			"TCP_NODELAY, which package net sets.",
	},
	{
		Name: "hertz", Protocol: HTTP, Module: "github.com/cloudwego/hertz", Serve: hertzHTTP,
		About: "On netpoll with SetNumLoops, without a Server field in its answers: a pooled goroutine while there is something to read, " +
			"netpoll's read buffer per connection and its TCP_NODELAY, by default.",
	},
	{
		Name: "nbhttp", Protocol: HTTP, Module: nbioModule, Serve: nbHTTP,
		About: "NPoller; net/http's handler, on the loops by ServerExecutor, which is faster than its default of pooled goroutines; it says the length of its answers, as it would chunk them otherwise; " +
			"read buffer of 64 KiB per loop and TCP_NODELAY, its defaults.",
	},
	{
		Name: "nginx", Protocol: HTTP, Foreign: true, NoWork: true, Command: nginxCommand,
		About: "One process with one loop, so on one core only; no log, kept connections without a limit of requests; " +
			"TCP_NODELAY by default; its answers have the fields Server and Connection in addition, and it has no /work. " +
			"It allocates the structs of all connections when it starts, so its memory per connection looks too small.",
	},
	{
		Name: "sluice-http", Protocol: HTTP, Serve: sluiceClear(sluiceHTTP),
		About: "httpd with net/http's handler, on pooled goroutines; read buffer of 64 KiB per loop and TCP_NODELAY, its defaults.",
	},
	{
		Name: "sluice-native", Protocol: HTTP, Serve: sluiceClear(sluiceNative),
		About: "httpd with a LoopHandler, which does the work on the loop; read buffer of 64 KiB per loop and TCP_NODELAY, its defaults.",
	},
}

var tlsServers = []Server{
	{
		Name: "net-tls", Protocol: TLS, Serve: netTLS(ec),
		About: "As net, with crypto/tls.",
	},
	{
		Name: "nbio-tls", Protocol: TLS, Module: nbioModule, Serve: nbioTLS(ec),
		About: "As nbio, with its fork of the crypto/tls of Go 1.16, which has no X25519MLKEM768, so that its full handshakes are cheaper; what its WrapData does, with pooled buffers.",
	},
	{
		Name: "sluice-tls", Protocol: TLS, Serve: sluiceTLS(ec, tls.NoClientCert),
		About: "As sluice, with sluice.TLS.",
	},
	{
		Name: "sluice-mtls", Protocol: TLS, Variant: true, Serve: sluiceTLS(ec, tls.RequireAnyClientCert),
		About: "As sluice-tls, with certificates of the clients, one each.",
	},
	{
		Name: "net-tls-rsa", Protocol: TLS, Variant: true, Serve: netTLS(rsa2048),
		About: "As net-tls, with an RSA certificate.",
	},
	{
		Name: "nbio-tls-rsa", Protocol: TLS, Module: nbioModule, Variant: true, Serve: nbioTLS(rsa2048),
		About: "As nbio-tls, with an RSA certificate.",
	},
	{
		Name: "sluice-tls-rsa", Protocol: TLS, Variant: true, Serve: sluiceTLS(rsa2048, tls.NoClientCert),
		About: "As sluice-tls, with an RSA certificate.",
	},
	{
		Name: "nethttp-tls", Protocol: HTTPS, Serve: netHTTPS,
		About: "As nethttp, with crypto/tls; HTTP/1.1.",
	},
	{
		Name: "fasthttp-tls", Protocol: HTTPS, Module: "github.com/valyala/fasthttp", Serve: fastHTTPS,
		About: "As fasthttp, with crypto/tls.",
	},
	{
		Name: "nbhttp-tls", Protocol: HTTPS, Module: nbioModule, Serve: nbHTTPS,
		About: "As nbhttp, with nbio's fork of the crypto/tls of Go 1.16.",
	},
	{
		Name: "sluice-http-tls", Protocol: HTTPS, Serve: sluiceHTTPS(sluiceHTTP),
		About: "As sluice-http, with its TLSConfig.",
	},
	{
		Name: "sluice-native-tls", Protocol: HTTPS, Serve: sluiceHTTPS(sluiceNative),
		About: "As sluice-native, with its TLSConfig.",
	},
}

var otherServers = []Server{
	{
		Name: "grpcgo", Protocol: GRPC, Module: "google.golang.org/grpc", Serve: grpcGoEcho,
		About: "A codec that takes a message's bytes as they are and without a copy; NumStreamWorkers, one for each processor; " +
			"buffers of 32 KiB per connection, its default; TCP_NODELAY, which package net sets.",
	},
}
