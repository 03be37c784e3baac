package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// checkListens checks the addresses on which clients are served, and that they
// can be opened beside each other.
func (t *tree) checkListens(list *yaml.Node) {
	var taken []taken
	if a, err := parseListen(t.config.Admin.Listen); err == nil {
		_, admin := get(t.main.root, "admin")
		_, at := get(admin, "listen")
		taken = append(taken, a.by(at, "the admin listener"))
	}
	serves := false
	for _, n := range list.Content {
		_, redirect := get(n, "redirect")
		serves = serves || redirect == nil || redirect.Value != "https"
		if a := t.checkListen(n, taken); a != nil {
			taken = append(taken, *a)
		}
	}
	if !serves && len(list.Content) > 0 {
		t.warn(list, "every listener only redirects, so nothing is served; write one without redirect, such as {address: \"[::]:443\"}")
	}
}

// taken is an address and what took it.
type taken struct {
	addr netip.AddrPort // unspecified also for an address without host
	at   *yaml.Node
	what string
}

func (a taken) by(at *yaml.Node, what string) taken { a.at, a.what = at, what; return a }

// meets reports whether two addresses can't both be listened on.
func (a taken) meets(b taken) bool {
	if a.addr.Port() != b.addr.Port() || a.addr.Port() == 0 {
		return false
	}
	x, y := a.addr.Addr().Unmap(), b.addr.Addr().Unmap()
	six := netip.IPv6Unspecified() // takes IPv4 as well
	four := netip.IPv4Unspecified()
	return x == y || x == six || y == six || x == four && y.Is4() || y == four && x.Is4()
}

func parseListen(s string) (a taken, err error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return a, err
	}
	ip := netip.IPv6Unspecified()
	switch host {
	case "":
	case "localhost":
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		if ip, err = netip.ParseAddr(host); err != nil {
			return a, err
		}
	}
	p, err := strconv.ParseUint(port, 10, 16)
	a.addr = netip.AddrPortFrom(ip, uint16(p))
	return a, err
}

// checkListen checks one listener and says what it takes.
func (t *tree) checkListen(n *yaml.Node, others []taken) *taken {
	if n.Kind != yaml.MappingNode {
		return nil // noted by decode
	}
	_, protocols := get(n, "protocols")
	for _, p := range wordsOf(protocols) {
		t.oneOf(p, "protocol", "h1", "h2", "h3")
	}
	if protocols != nil && len(wordsOf(protocols)) == 0 {
		t.problem(protocols, "protocols is empty; leave it out for [h1, h2]")
	}
	if _, r := get(n, "redirect"); r != nil {
		t.oneOf(r, "redirect", "https")
		if protocols != nil {
			t.problem(protocols, "a listener that redirects speaks only HTTP/1.1; leave protocols out")
		}
	} else if k, _ := get(n, "redirect_port"); k != nil {
		t.problem(k, "redirect_port has no effect without redirect: https")
	}
	t.checkRange(n, "redirect_port", 1, 65535)
	_, a := get(n, "address")
	if a == nil {
		t.problem(n, "a listener has no address; write for example {address: \"[::]:443\"}")
		return nil
	}
	if a.Kind != yaml.ScalarNode || a.Tag == "!!null" {
		return nil // noted by decode
	}
	host, port, err := net.SplitHostPort(a.Value)
	if err != nil || !validPort(port, 1) {
		hint := ""
		if validPort(a.Value, 1) {
			hint = "did you mean \"[::]:" + a.Value + "\"?"
		}
		t.bad(a, hint, "address %q is not host:port; write for example \"[::]:443\" or 127.0.0.1:8443", a.Value)
		return nil
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil {
		t.bad(a, "", "address %q must name an IP address, not a host name", a.Value)
		return nil
	}
	me, err := parseListen(a.Value)
	if err != nil {
		return nil
	}
	me = me.by(a, "")
	if i := slices.IndexFunc(others, me.meets); i >= 0 {
		switch o := others[i]; {
		case o.what == "" && o.at.Value == a.Value:
			t.problem(a, "address %q is already used in line %d", a.Value, o.at.Line)
		case o.what == "":
			t.problem(a, "address %q can't be opened beside %q in line %d, which takes the same port", a.Value, o.at.Value, o.at.Line)
		default:
			t.problem(a, "address %q is taken by %s, %s", a.Value, o.what, t.config.Admin.Listen)
		}
		return nil
	}
	return &me
}

// validPort reports whether s is the number of a port, from least.
func validPort(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= least && n <= 65535 && strconv.Itoa(n) == s
}
