//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sock

import (
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// address converts what the kernel says to what package net says. It is package
// syscall that asks: package unix asks for the protocol, too, each time.
func address(sa syscall.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port, Zone: zone(sa.ZoneId)}
	case *syscall.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return nil
}

// zone names the interface of a link-local address.
func zone(id uint32) string {
	if id == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// zoneID is the inverse of zone.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(i.Index), nil
}

// sockaddr converts the address of a peer to what the kernel wants. As in
// package net, the unspecified address means this machine.
func sockaddr(addr net.Addr) (unix.Sockaddr, int, error) {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		return tcpSockaddr(addr)
	case *net.UnixAddr:
		return &unix.SockaddrUnix{Name: addr.Name}, unix.AF_UNIX, nil
	}
	return nil, 0, &net.AddrError{Err: "not an address of a stream socket", Addr: text(addr)}
}

func tcpSockaddr(addr *net.TCPAddr) (unix.Sockaddr, int, error) {
	ip := addr.IP
	if len(ip) == 0 || ip.Equal(net.IPv4zero) {
		ip = net.IPv4(127, 0, 0, 1)
	} else if ip.Equal(net.IPv6unspecified) {
		ip = net.IPv6loopback
	}
	if v4 := ip.To4(); v4 != nil {
		return &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(v4)}, unix.AF_INET, nil
	}
	if len(ip) != net.IPv6len {
		return nil, 0, &net.AddrError{Err: "not an IP address", Addr: text(addr)}
	}
	id, err := zoneID(addr.Zone)
	return &unix.SockaddrInet6{Port: addr.Port, ZoneId: id, Addr: [16]byte(ip)}, unix.AF_INET6, err
}

func text(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return addr.String()
}
