package servers

import (
	"sync"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
	nbiotls "github.com/lesismal/nbio/extension/tls"
)

func nbioEcho(addr string) error {
	engine := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{addr}, NPoller: Loops()})
	engine.OnData(func(c *nbio.Conn, in []byte) {
		c.Write(in) // copies what it cannot send at once; an error closes c
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}

// nbioTLS is nbioEcho over its fork of crypto/tls.
func nbioTLS(key newKey) func(addr string) error {
	return func(addr string) error { return serveNbioTLS(key, addr) }
}

func serveNbioTLS(key newKey, addr string) error {
	config, err := nbioConfig(key)
	if err != nil {
		return err
	}
	engine := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{addr}, NPoller: Loops()})
	engine.OnOpen(nbiotls.WrapOpen(config, false, nil))
	engine.OnClose(nbiotls.WrapClose(func(_ *nbio.Conn, c *nbiotls.Conn, _ error) { c.Close() }))
	buffers := sync.Pool{New: func() any { return new([readSize]byte) }}
	engine.OnData(func(raw *nbio.Conn, in []byte) { // as nbiotls.WrapData, which allocates a buffer each time
		c := raw.Session().(*nbiotls.Conn)
		c.Append(in)
		p := buffers.Get().(*[readSize]byte)
		defer buffers.Put(p)
		for {
			n, err := c.Read(p[:])
			if err != nil {
				raw.Close()
			}
			if err != nil || n == 0 {
				return
			}
			c.Write(p[:n])
		}
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}

// nbioConfig is serverTLS of nbio's fork.
func nbioConfig(key newKey) (*tls.Config, error) {
	cert, private, err := certificate(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, private)
	return &tls.Config{Certificates: []tls.Certificate{pair}}, err
}
