package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// resolveEvery is how often names are looked up again. The resolver of Go
	// does not tell how long an answer is valid, so it is an interval.
	resolveEvery = 10 * time.Second
	// lookupTimeout bounds one look-up.
	lookupTimeout = 5 * time.Second
	// staleAfter is how long the last good answer is used when no new one is to
	// be had.
	staleAfter = 10 * time.Minute
	// maxServers bounds what DNS can make of one URL.
	maxServers = 256
)

// lookup is the last good look-up of an origin.
type lookup struct {
	addrs []string // address and port
	at    time.Time
}

// parseURL reads a configured upstream.
func parseURL(s string) (*origin, error) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return nil, fmt.Errorf("upstream with %q: only a scheme, a host and a port are understood; there are no passwords in it", s[i:])
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("upstream %q is not a URL", s)
	}
	o := &origin{url: s}
	scheme, srv := strings.CutPrefix(u.Scheme, "srv+")
	o.srv = srv
	switch scheme {
	case "http":
		o.port = "80"
	case "https":
		o.https = true
		o.port = "443"
	default:
		return nil, fmt.Errorf("upstream %q: the scheme must be http, https, srv+http or srv+https", s)
	}
	if u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("upstream %q: only a scheme, a host and a port are understood; use rewrite for paths", s)
	}
	o.host = u.Hostname()
	if o.host == "" {
		return nil, fmt.Errorf("upstream %q has no host", s)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("upstream %q: port %s is out of range", s, p)
		}
		if o.srv {
			return nil, fmt.Errorf("upstream %q: an SRV record names the port itself", s)
		}
		o.port = p
	} else if strings.HasSuffix(u.Host, ":") {
		return nil, fmt.Errorf("upstream %q has an empty port", s)
	}
	if a, err := netip.ParseAddr(o.host); err == nil {
		if o.srv {
			return nil, fmt.Errorf("upstream %q: an SRV record has a name, not an address", s)
		}
		o.static = true
		o.host = a.String()
	}
	return o, nil
}

// serverName is the name that a certificate of o must carry by default.
func (o *origin) serverName() string {
	name := strings.TrimSuffix(o.host, ".")
	if o.srv { // _service._proto.name: what DNS answers must not decide whom to trust
		for strings.HasPrefix(name, "_") {
			_, rest, ok := strings.Cut(name, ".")
			if !ok {
				break
			}
			name = rest
		}
	}
	return name
}

// resolve looks every name up once and puts the servers found in force.
func (p *Pool) resolve(ctx context.Context) {
	now := time.Now()
	for _, o := range p.origins {
		if o.static {
			continue
		}
		addrs, err := p.lookup(ctx, o)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			o.last = lookup{addrs, time.Now()}
			o.known.Store(max(1, p.now()))
			o.failing = false
		case !o.failing:
			o.failing = true
			p.log.Warn("upstream name was not found; the last known addresses stay in use", zap.String("upstream", o.url), zap.Duration("for", staleAfter), zap.Error(err))
		}
		if err != nil {
			p.metrics().errors[reasonDNS].Inc()
		}
		if o.last.addrs != nil && now.Sub(o.last.at) > staleAfter {
			o.last.addrs = nil
			p.log.Error("upstream name was not found for too long; its addresses are given up", zap.String("upstream", o.url))
		}
	}
	p.assemble()
}

// lookup finds the addresses of an origin.
func (p *Pool) lookup(ctx context.Context, o *origin) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if !o.srv {
		return p.lookupHost(ctx, o.host, o.port)
	}
	_, records, err := p.resolver.LookupSRV(ctx, "", "", o.host)
	if len(records) == 0 {
		if err == nil {
			err = &net.DNSError{Err: "no SRV record", Name: o.host, IsNotFound: true}
		}
		return nil, err
	}
	// Those of the best priority share the load; weights are not looked at.
	best := slices.MinFunc(records, func(a, b *net.SRV) int { return int(a.Priority) - int(b.Priority) }).Priority
	var addrs []string
	var errs []error
	for _, r := range records {
		if r.Priority != best || r.Target == "." || r.Port == 0 {
			continue
		}
		l, err := p.lookupHost(ctx, r.Target, strconv.Itoa(int(r.Port)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		addrs = append(addrs, l...)
		if len(addrs) >= maxServers {
			break
		}
	}
	if len(addrs) == 0 {
		if errs == nil {
			errs = append(errs, &net.DNSError{Err: "the SRV record names no server", Name: o.host, IsNotFound: true})
		}
		return nil, errors.Join(errs...)
	}
	return addrs, nil
}

func (p *Pool) lookupHost(ctx context.Context, host, port string) ([]string, error) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(host, ".")); err == nil {
		return []string{hostPort(a.String(), port)}, nil
	}
	ips, err := p.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var l []string
	for _, ip := range ips {
		if len(l) == maxServers {
			break
		}
		l = append(l, hostPort(ip.Unmap().String(), port))
	}
	if len(l) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return l, nil
}

// assemble makes the list of servers from what is known of the origins. A
// server that is already known keeps its connections and its health.
func (p *Pool) assemble() {
	former := p.list()
	var l []*server
	for _, o := range p.origins {
		addrs := o.last.addrs
		if o.static {
			addrs = []string{hostPort(o.host, o.port)}
		}
		addrs = slices.Clone(addrs)
		slices.Sort(addrs)
		for _, a := range slices.Compact(addrs) {
			known := func(s *server) bool { return s.addr == a && s.origin == o }
			if i := slices.IndexFunc(former, known); i >= 0 {
				l = append(l, former[i])
			} else {
				l = append(l, &server{addr: a, origin: o, pool: p})
			}
		}
	}
	if slices.Equal(l, former) {
		return
	}
	p.use(l)
}
