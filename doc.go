// Package sluice is a toolkit for servers that hold very many connections.
//
// Go's own model gives every connection a goroutine with its stack and its
// buffers. Sluice keeps connections on a few event loops (a master-slave
// multi-reactor over epoll or kqueue) and gives an idle one nothing but a
// small struct without pointers, so that memory and garbage collection stay
// small at hundreds of thousands of connections.
//
//	err := sluice.Serve("tcp", ":7000", sluice.Funcs{
//		Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
//			c.WriteBuffer(in)
//		},
//	})
//
// An Engine runs the loops. Engine.Listen accepts connections and Engine.Dial
// makes them; either way a Handler is told what happens to them, on their
// loop. A Conn is a handle, safe to keep and to use from any goroutine for
// ever. Nothing on a loop may block: Conn.Offload runs what may, in order, on
// pooled goroutines, and Conn.NetConn is a blocking net.Conn for code that
// wants one.
//
// When not to use it: below some thousand connections package net serves as
// fast and is simpler to write for.
package sluice
