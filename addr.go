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

func (p peerAddr) netAddr() net.Addr {
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
	case addrUnix:
		return &net.UnixAddr{Net: "unix"}
	default:
		return unknownAddr{}
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, p.port))
}

// unknownAddr is the address of what has none any more.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "unknown" }
func (unknownAddr) String() string  { return "unknown" }
