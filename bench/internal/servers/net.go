package servers

import (
	"crypto/tls"
	"fmt"
	"net"
)

// netBuffer is where the buffer of a connection begins, in bytes: what bufio
// and net/http take. It doubles whenever one read fills it, up to readSize.
const netBuffer = 4 << 10

// netEcho is Go's own model: a goroutine and a buffer for every connection.
func netEcho(addr string) error {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	return echoOn(l)
}

// netTLS is netEcho over crypto/tls.
func netTLS(key newKey) func(addr string) error {
	return func(addr string) error {
		config, err := serverTLS(key)
		if err != nil {
			return err
		}
		l, err := tls.Listen("tcp4", addr, config)
		if err != nil {
			return err
		}
		return echoOn(l)
	}
}

func echoOn(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			defer c.Close()
			buf := make([]byte, netBuffer)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
				if n == len(buf) && n < readSize {
					buf = make([]byte, 2*n)
				}
			}
		}()
	}
}
