package sluice

import (
	"net"
	"net/netip"
)

// peerAddr is the peer's address in a form without pointers. An IPv6 zone is
// kept as the interface's index.
type peerAddr struct {
	ip   [16]byte
	zone uint32
	port uint16
	kind addrKind
}

type addrKind uint8

const (
	addrUnknown addrKind = iota
	addrTCP4
	addrTCP6
	addrUnix // its path, if it has one, is known only while the descriptor is open
)

func makePeerAddr(a net.Addr) peerAddr {
	switch a := a.(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		p := peerAddr{ip: ap.Addr().As16(), port: ap.Port(), kind: addrTCP6}
		if ap.Addr().Unmap().Is4() {
			p.kind = addrTCP4
		}
		if a.Zone != "" {
			if ifi, err := net.InterfaceByName(a.Zone); err == nil {
				p.zone = uint32(ifi.Index)
			}
		}
		return p
	case *net.UnixAddr:
		return peerAddr{kind: addrUnix}
	}
	return peerAddr{}
}

// RemoteAddrPort returns the peer's address if it is one of TCP, otherwise the
// zero AddrPort. Unlike RemoteAddr it allocates nothing and asks nobody. It
// works in OnClose, too.
func (c Conn) RemoteAddrPort() netip.AddrPort {
	s, err := c.lockAny()
	if err != nil {
		return netip.AddrPort{}
	}
	defer s.mu.Unlock()
	return c.ch.peers[c.key&slotMask].addrPort()
}

// addrPort returns a TCP address, or the zero AddrPort.
func (p peerAddr) addrPort() netip.AddrPort {
	ip := netip.AddrFrom16(p.ip)
	switch p.kind {
	case addrTCP4:
		ip = ip.Unmap()
	case addrTCP6:
		if p.zone != 0 {
			if ifi, err := net.InterfaceByIndex(int(p.zone)); err == nil {
				ip = ip.WithZone(ifi.Name)
			}
		}
	default:
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, p.port)
}

func (p peerAddr) netAddr() net.Addr {
	switch p.kind {
	case addrUnknown:
		return unknownAddr{}
	case addrUnix:
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(p.addrPort())
}

// unknownAddr is the address of what has none any more.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "unknown" }
func (unknownAddr) String() string  { return "unknown" }
