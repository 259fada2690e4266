package servers

import (
	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

// The name alone stands for what Sluice chooses by itself; "sluice-epoll" and
// so on stand for one of the drivers that this system has, and "sluice-main" for
// a main loop that accepts for the other.
func init() {
	Echo["sluice"] = func(addr string) error { return sluiceEcho(sluice.Config{}, addr) }
	Echo["sluice-main"] = func(addr string) error { return sluiceEcho(sluice.Config{Accept: sluice.AcceptMain}, addr) }
	for _, driver := range sluice.Drivers() {
		Echo["sluice-"+driver] = func(addr string) error { return sluiceEcho(sluice.Config{Driver: driver}, addr) }
	}
}

func sluiceEcho(cfg sluice.Config, addr string) error {
	cfg.Loops = 1
	engine, err := sluice.New(cfg)
	if err != nil {
		return err
	}
	_, err = engine.Listen("tcp4", addr, sluice.Funcs{Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
		p, err := in.Next(in.Len())
		if err == nil {
			_, err = c.Write(p)
		}
		if err != nil {
			c.Abort()
		}
	}})
	if err != nil {
		return err
	}
	return engine.Wait()
}
