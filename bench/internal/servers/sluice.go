package servers

import (
	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

// The name alone stands for the driver that Sluice chooses by itself;
// "sluice-epoll" and so on stand for one of those that this system has.
func init() {
	Echo["sluice"] = func(addr string) error { return sluiceEcho("auto", addr) }
	for _, driver := range sluice.Drivers() {
		Echo["sluice-"+driver] = func(addr string) error { return sluiceEcho(driver, addr) }
	}
}

func sluiceEcho(driver, addr string) error {
	engine, err := sluice.New(sluice.Config{Loops: 1, Driver: driver})
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
