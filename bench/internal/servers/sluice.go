package servers

import (
	"crypto/tls"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

// sluiceDirect is the server whose connections have no descriptors.
const sluiceDirect = "sluice-direct"

// sluiceDrivers returns a server for each driver that this system has;
// "sluice" is the one that Sluice chooses by itself. Another has direct descriptors.
func sluiceDrivers() []Server {
	var all []Server
	for _, driver := range sluice.Drivers() {
		all = append(all, Server{
			Name: "sluice-" + driver, Protocol: Echo, Variant: true, Serve: sluiceEcho(sluice.Config{Driver: driver}),
			About: "Sluice with its driver " + driver + ".",
		})
	}
	return append(all, Server{
		Name: sluiceDirect, Protocol: Echo, Variant: true, Serve: sluiceEcho(sluice.Config{DirectDescriptors: true}),
		About: "Sluice on io_uring with direct descriptors.",
	})
}

// sluiceEcho returns an echo server with settings of its own. A loop for each
// processor is the default.
func sluiceEcho(cfg sluice.Config) func(addr string) error {
	return func(addr string) error { return listenSluice(cfg, addr, echoHandler) }
}

// sluiceTLS returns an echo server over TLS with such a key, that wants client
// certificates or not.
func sluiceTLS(key newKey, clients tls.ClientAuthType) func(addr string) error {
	return func(addr string) error {
		config, err := serverTLS(key)
		if err != nil {
			return err
		}
		config.ClientAuth = clients
		return listenSluice(sluice.Config{}, addr, sluice.TLS(config, echoHandler))
	}
}

func listenSluice(cfg sluice.Config, addr string, h sluice.Handler) error {
	engine, err := sluice.New(cfg)
	if err != nil {
		return err
	}
	if _, err := engine.Listen("tcp4", addr, h); err != nil {
		return err
	}
	return engine.Wait()
}

var echoHandler = sluice.Funcs{Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
	if err := c.WriteBuffer(in); err != nil {
		c.Abort()
	}
}}
