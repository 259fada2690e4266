package sim

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// place is an address of the network: a TCP address if ap is valid, else a
// Unix one, of which the empty path is that of an unnamed socket. odd says
// what an address of another kind was; nothing can be reached there.
type place struct {
	ap   netip.AddrPort
	path string
	odd  string
}

// addr returns p as the net package writes it.
func (p place) addr() net.Addr {
	if p.ap.IsValid() {
		return net.TCPAddrFromAddrPort(p.ap)
	}
	return &net.UnixAddr{Name: p.path, Net: "unix"}
}

// network returns the name of p's network.
func (p place) network() string {
	if p.ap.IsValid() {
		return "tcp"
	}
	return "unix"
}

const (
	// An end that was not bound has an address made from its serial number;
	// its place has one of these bits and the serial below them.
	ephemeral4 = 1 << 31
	ephemeral6 = 1 << 30
	serialMask = ephemeral6 - 1

	// portsPerHost is how many serials share one made-up IP address.
	portsPerHost = 60000

	firstFreePort = 32768
)

var (
	// silentNet is TEST-NET-1 of RFC 5737: no one lives there, so attempts
	// to connect to it are never answered.
	silentNet = netip.MustParsePrefix("192.0.2.0/24")

	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
)

// places gives numbers to addresses, so that an end can hold one in four
// bytes, and knows who listens where.
type places struct {
	known  []place
	number map[place]uint32
	serial uint32

	ports    map[uint16][]*listener // TCP listeners by their port
	paths    map[string][]*listener // Unix listeners
	nextPort uint16
}

func (s *places) init() {
	s.known = []place{{}}
	s.number = map[place]uint32{{}: 0}
	s.ports = map[uint16][]*listener{}
	s.paths = map[string][]*listener{}
	s.nextPort = firstFreePort
}

// numberOf returns the number of p.
func (s *places) numberOf(p place) uint32 {
	k, ok := s.number[p]
	if !ok {
		k = uint32(len(s.known))
		s.known = append(s.known, p)
		s.number[p] = k
	}
	return k
}

// unbound returns the place of one more end that connects to p.
func (s *places) unbound(p place) uint32 {
	if !p.ap.IsValid() {
		return 0
	}
	s.serial = (s.serial + 1) & serialMask
	if p.ap.Addr().Is4() {
		return s.serial | ephemeral4
	}
	return s.serial | ephemeral6
}

// at returns the place with number k.
func (s *places) at(k uint32) place {
	if k&(ephemeral4|ephemeral6) == 0 {
		return s.known[k]
	}
	serial := k & serialMask
	host := serial/portsPerHost + 1
	a := netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)})
	if k&ephemeral6 != 0 {
		a = netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(host >> 16), 14: byte(host >> 8), 15: byte(host)})
	}
	return place{ap: netip.AddrPortFrom(a, uint16(1024+serial%portsPerHost))}
}

// silent is true exactly when an attempt to connect to place k is never
// answered.
func (s *places) silent(k uint32) bool { return silentNet.Contains(s.known[k].ap.Addr()) }

// target turns the address of a Dial into a place.
func target(a net.Addr) place {
	switch a := a.(type) {
	case *net.TCPAddr:
		if a == nil {
			break
		}
		ip, _ := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap().WithZone(a.Zone)
		if !ip.IsValid() || ip == netip.IPv4Unspecified() {
			ip = loopback4
		} else if ip == netip.IPv6Unspecified() {
			ip = netip.IPv6Loopback()
		}
		if a.Port <= 0 || a.Port > 65535 || (len(a.IP) != 0 && len(a.IP) != 4 && len(a.IP) != 16) {
			break
		}
		return place{ap: netip.AddrPortFrom(ip, uint16(a.Port))}
	case *net.UnixAddr:
		if a != nil && a.Name != "" && (a.Net == "unix" || a.Net == "") {
			return place{path: a.Name}
		}
	}
	if a == nil {
		return place{odd: "(none)"}
	}
	return place{odd: strconv.Quote(a.String())}
}

// parse turns the address of a listener into a place.
func parse(network, address string) (place, error) {
	bad := func(why string) (place, error) {
		return place{}, &net.AddrError{Err: why, Addr: address}
	}
	switch network {
	case "unix":
		if address == "" {
			return bad("missing path")
		}
		return place{path: address}, nil
	case "tcp", "tcp4", "tcp6":
	default:
		return place{}, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return place{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return bad("not a port: " + service)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" && network == "tcp4":
		ip = netip.IPv4Unspecified()
	case host == "":
		ip = netip.IPv6Unspecified()
	case host == "localhost" && network == "tcp6":
		ip = netip.IPv6Loopback()
	case host == "localhost":
		ip = loopback4
	case err != nil:
		return bad("not an IP address, and the simulated network has no names: " + host)
	}
	ip = ip.Unmap()
	if network == "tcp4" && !ip.Is4() || network == "tcp6" && !ip.Is6() {
		return bad("not an address of " + network)
	}
	return place{ap: netip.AddrPortFrom(ip, uint16(port))}, nil
}

// bind lets l be reached at p, whose port may be 0 for a free one.
func (s *places) bind(l *listener, p place) error {
	if !p.ap.IsValid() {
		if len(s.paths[p.path]) > 0 {
			return syscall.EADDRINUSE
		}
		l.place = p
		s.paths[p.path] = append(s.paths[p.path], l)
		return nil
	}
	if silentNet.Contains(p.ap.Addr()) {
		return syscall.EADDRNOTAVAIL
	}
	port := p.ap.Port()
	if port == 0 {
		if port = s.freePort(); port == 0 {
			return syscall.EADDRINUSE
		}
		p.ap = netip.AddrPortFrom(p.ap.Addr(), port)
	}
	for _, other := range s.ports[port] {
		if overlap(other.place.ap.Addr(), p.ap.Addr()) && !(other.options.ReusePort && l.options.ReusePort) {
			return syscall.EADDRINUSE
		}
	}
	l.place = p
	s.ports[port] = append(s.ports[port], l)
	return nil
}

// freePort returns a port at which no one listens, or 0 if there is none.
func (s *places) freePort() uint16 {
	for range 65536 - firstFreePort {
		port := s.nextPort
		if s.nextPort++; s.nextPort < firstFreePort {
			s.nextPort = firstFreePort
		}
		if len(s.ports[port]) == 0 {
			return port
		}
	}
	return 0
}

// overlap is true exactly when listeners on a and b could be given the same
// connection.
func overlap(a, b netip.Addr) bool { return a == b || covers(a, b) || covers(b, a) }

// covers is true exactly when a is an address of all hosts, b among them.
func covers(a, b netip.Addr) bool {
	return a.IsUnspecified() && (a.Is6() || b.Is4())
}

// unbind ends what bind began.
func (s *places) unbind(l *listener) {
	remove := func(ls []*listener) []*listener {
		for i, other := range ls {
			if other == l {
				return append(ls[:i:i], ls[i+1:]...)
			}
		}
		return ls
	}
	if l.place.ap.IsValid() {
		port := l.place.ap.Port()
		s.ports[port] = remove(s.ports[port])
	} else {
		s.paths[l.place.path] = remove(s.paths[l.place.path])
	}
}

// listening returns the listeners that could be given a connection to p: those
// on exactly that address, else those on all addresses.
func (s *places) listening(p place) []*listener {
	if !p.ap.IsValid() {
		return s.paths[p.path]
	}
	all := s.ports[p.ap.Port()]
	if len(all) == 1 && overlap(all[0].place.ap.Addr(), p.ap.Addr()) {
		return all
	}
	var exact, wild []*listener
	for _, l := range all {
		switch a := l.place.ap.Addr(); {
		case a == p.ap.Addr():
			exact = append(exact, l)
		case covers(a, p.ap.Addr()):
			wild = append(wild, l)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return wild
}
