package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// ErrNoCertificate is why a handshake fails for which no certificate can be
// served: ACME has not obtained it yet, or none is configured at all.
var ErrNoCertificate = errors.New("no certificate to serve")

// Set is the trust of one configuration. It does not change, but for the
// session ticket keys, which are turned over, and the chains that it keeps.
type Set struct {
	manager       *Manager
	profile       profile
	organizations []*organization
	byCA          *x509.CertPool // all authorities: hints in handshakes, reasons of refusals
	trustID       string
	warnings      []string
	others        []other
	chains        chains

	certificates []*served
	hosts        map[string]*hostTLS // exact
	wildcards    map[string]*hostTLS // by what follows "*."
	fallback     *hostTLS            // for unknown names and clients without SNI; nil without any certificate
	acmeHosts    []string
	acme         *ACME
}

// other is a certificate that somebody else uses.
type other struct {
	kind, name string
	cert       *x509.Certificate
}

// Show adds a certificate that others use to the metrics of s: its kind, the
// name under which it is configured. It must not be called after Activate.
func (s *Set) Show(kind, name string, cert *x509.Certificate) {
	s.others = append(s.others, other{kind, name, cert})
}

// served is a certificate from files.
type served struct {
	*stapled
	name string // file
	from string // the files, as they are configured
	bad  error  // why the files can't be used and the former certificate is served; nil if they can
}

// hostTLS holds the prepared configurations of one host, by offered protocols.
type hostTLS struct {
	manager  *Manager
	label    string // of the session ticket keys
	identity bool   // clients are asked who they are
	base     *tls.Config
	mu       sync.Mutex // held to change variants and their keys
	variants atomic.Pointer[[]variant]
}

type variant struct {
	protos []string
	config *tls.Config
}

// Build makes a Set: it reads and checks every certificate and every list. It
// starts nothing and changes nothing; Activate does.
func (m *Manager) Build(c Config) (*Set, error) {
	s := &Set{manager: m, hosts: map[string]*hostTLS{}, wildcards: map[string]*hostTLS{}, acme: c.TLS.ACME, byCA: x509.NewCertPool()}
	var errs []error
	var err error
	if s.profile, err = profileOf(c.TLS); err != nil {
		errs = append(errs, err)
	}
	broken, name := false, c.TLS.Profile
	for i, k := range c.TLS.Certificates {
		c, err := m.serve(k)
		if err != nil {
			errs = append(errs, fmt.Errorf("tls.certificates[%d]: %w", i, err))
			broken = true
			continue
		}
		s.certificates = append(s.certificates, c)
		s.warnOf(k.Cert, c.pair.Leaf, time.Now())
		if advice := KeyAdvice(name, c.pair.Leaf); advice != "" {
			s.warnings = append(s.warnings, k.Cert+" "+advice)
		}
	}
	if err := s.loadOrganizations(c.Organizations); err != nil {
		errs = append(errs, err)
	}
	if s.acme != nil {
		for _, p := range s.acme.Problems() {
			errs = append(errs, p.Err)
		}
	}
	for _, h := range c.Hosts {
		if err := s.addHost(h); err != nil && !broken { // else for want of what could not be read
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.addFallback()
	return s, nil
}

// serve reads a certificate from files. Files that can't be used, such as a new
// certificate beside the former key, leave in force what is served from them
// now, if anything is.
func (m *Manager) serve(k KeyPair) (*served, error) {
	from := k.Cert + "\x00" + k.Key.Ref
	pair, _, err := LoadKeyPair(k)
	if err == nil {
		return &served{stapled: m.staples.find(k.Cert, pair), name: k.Cert, from: from}, nil
	}
	if s := m.active.Load(); s != nil {
		for _, c := range s.certificates {
			if c.from == from {
				m.log.Error("certificate files can't be used; the former certificate is served", zap.String("certificate", k.Cert), zap.Time("not_after", c.pair.Leaf.NotAfter.UTC()), zap.Error(err))
				return &served{stapled: c.stapled, name: c.name, from: from, bad: err}, nil
			}
		}
	}
	return nil, err
}

// warnOf notes what is wrong with a certificate that is served all the same: an
// expired one is refused by its clients, but must not keep the other hosts from
// being served after a restart.
func (s *Set) warnOf(name string, leaf *x509.Certificate, now time.Time) {
	text := ""
	switch {
	case now.After(leaf.NotAfter):
		text = "expired on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	case now.Before(leaf.NotBefore):
		text = "is not valid before " + leaf.NotBefore.UTC().Format(time.RFC3339)
	case len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0:
		text = "names no host: clients look at subject alternative names only"
	default:
		return
	}
	s.warnings = append(s.warnings, fmt.Sprintf("%s %s; clients will refuse it", name, text))
	s.manager.log.Error("server certificate "+text, zap.String("certificate", name))
}

// Warnings are what a person should know of a Set that could be built.
func (s *Set) Warnings() []string { return slices.Clone(s.warnings) }

func (s *Set) addHost(h Host) error {
	name := strings.ToLower(strings.TrimSuffix(h.Name, "."))
	rest, wild := strings.CutPrefix(name, "*.")
	t := s.prepare(name, h.MTLS)
	switch files := s.filesFor(name); {
	case len(files) > 0:
		t.base.GetCertificate = s.profile.limit(files.choose)
	case s.acme != nil && (!wild || s.acme.Wildcards()):
		s.acmeHosts = append(s.acmeHosts, name)
		acme := s.manager.acme
		t.base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return acme.certificate(name) }
	case s.acme != nil:
		return fmt.Errorf("host %q of service %q: no certificate in tls.certificates covers it, and ACME can prove a wildcard only by dns-01", name, h.Service)
	default:
		return fmt.Errorf("host %q of service %q: no certificate in tls.certificates covers it, and tls.acme is not set", name, h.Service)
	}
	if wild {
		s.wildcards[rest] = t
	} else {
		s.hosts[name] = t
	}
	return nil
}

func (s *Set) addFallback() {
	t := s.prepare("", MTLSOff)
	switch {
	case len(s.certificates) > 0:
		t.base.GetCertificate = s.profile.limit(choice{s.certificates[0].stapled}.choose)
	case len(s.acmeHosts) > 0:
		acme, first := s.manager.acme, s.acmeHosts[0]
		t.base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return acme.certificate(first) }
	default:
		return
	}
	s.fallback = t
}

// choice is the certificates of one host, of which each has its own kind of key
// or time.
type choice []*stapled

// filesFor are the certificates from files that cover a host.
func (s *Set) filesFor(name string) (l choice) {
	for _, c := range s.certificates {
		if Covers(c.pair.Leaf, name) {
			l = append(l, c.stapled)
		}
	}
	return l
}

// choose takes the first certificate that is valid now and whose kind of key the
// client knows. Without one it still shows some certificate: the client's
// message says more than an alert.
func (l choice) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(l) == 1 {
		return l[0].current(), nil
	}
	now := time.Now()
	var known, valid *stapled
	for _, c := range l {
		in := !now.Before(c.pair.Leaf.NotBefore) && !now.After(c.pair.Leaf.NotAfter)
		if in && valid == nil {
			valid = c
		}
		if hello.SupportsCertificate(&c.pair) == nil {
			if in {
				return c.current(), nil
			}
			if known == nil {
				known = c
			}
		}
	}
	for _, c := range []*stapled{known, valid} {
		if c != nil {
			return c.current(), nil
		}
	}
	return l[0].current(), nil
}

// Covers reports whether a certificate is good for a host; for *.example it has
// to name *.example itself.
func Covers(leaf *x509.Certificate, host string) bool {
	if strings.HasPrefix(host, "*.") {
		return slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return lowerASCII(n) == host })
	}
	return leaf.VerifyHostname(strings.Trim(host, "[]")) == nil
}

// prepare makes the TLS configuration of a host. Session tickets are of use only
// under the same host and the same trust: their keys derive from both.
func (s *Set) prepare(host string, mtls MTLS) *hostTLS {
	c := &tls.Config{
		MinVersion:       s.profile.min,
		CipherSuites:     slices.Clone(s.profile.suites),
		CurvePreferences: slices.Clone(s.profile.groups),
	}
	if mtls == MTLSOptional || mtls == MTLSRequired {
		// Whether the certificate is good is decided with the request, which can be
		// answered with the reason; a failed handshake tells the caller nothing.
		c.ClientAuth = tls.RequestClientCert
		c.ClientCAs = s.byCA
	}
	t := &hostTLS{manager: s.manager, base: c, label: host + "\x00" + string(mtls) + "\x00" + s.trustID, identity: c.ClientAuth != tls.NoClientCert}
	if strings.HasPrefix(host, "*.") {
		onlyUnderName(c)
	}
	c.SetSessionTicketKeys(t.keys())
	t.variants.Store(new([]variant))
	return t
}

// keys are the session ticket keys of now. Those of hosts that ask for
// certificates change with what is learned of revocation and agreements as well.
func (h *hostTLS) keys() [][32]byte {
	label := h.label
	if h.identity {
		label += fmt.Sprint("\x00", h.manager.generation.Load())
	}
	return h.manager.tickets.keys(label)
}

// onlyUnderName makes the tickets of a wildcard good only for the name that
// they were given to.
func onlyUnderName(c *tls.Config) {
	const mark = "vazel name:"
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, []byte(mark+lowerASCII(cs.ServerName)))
		return c.EncryptTicket(cs, ss)
	}
	c.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := c.DecryptTicket(ticket, cs)
		if err != nil || ss == nil {
			return nil, err
		}
		if !slices.ContainsFunc(ss.Extra, func(b []byte) bool { return string(b) == mark+lowerASCII(cs.ServerName) }) {
			return nil, nil // a full handshake
		}
		return ss, nil
	}
}

// ConfigFor answers a handshake: the server's certificate for the name, whether
// a client certificate is asked for, versions and groups. protos is what is
// offered by ALPN; a process has few of these lists. A name that is not
// configured, or none, gets the first certificate and is never asked for one.
func (s *Set) ConfigFor(hello *tls.ClientHelloInfo, protos []string) (*tls.Config, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if s.challenged(hello, name) {
		return s.manager.acme.challengeConfig()
	}
	h := s.hosts[name]
	if h == nil && len(s.wildcards) > 0 {
		if label, rest, ok := strings.Cut(name, "."); ok && label != "" {
			h = s.wildcards[rest]
		}
	}
	if h == nil {
		h = s.fallback
	}
	if h == nil {
		return nil, ErrNoCertificate
	}
	return h.config(protos), nil
}

func (h *hostTLS) config(protos []string) *tls.Config {
	for _, v := range *h.variants.Load() {
		if slices.Equal(v.protos, protos) {
			return v.config
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := *h.variants.Load()
	for _, v := range known {
		if slices.Equal(v.protos, protos) {
			return v.config
		}
	}
	c := h.base.Clone()
	c.NextProtos = slices.Clone(protos)
	all := append(slices.Clone(known), variant{c.NextProtos, c})
	h.variants.Store(&all)
	return c
}

// rekey gives every configuration the current session ticket keys.
func (s *Set) rekey() {
	one := func(h *hostTLS) {
		h.mu.Lock()
		defer h.mu.Unlock()
		keys := h.keys()
		h.base.SetSessionTicketKeys(keys)
		for _, v := range *h.variants.Load() {
			v.config.SetSessionTicketKeys(keys)
		}
	}
	for _, h := range s.hosts {
		one(h)
	}
	for _, h := range s.wildcards {
		one(h)
	}
	if s.fallback != nil {
		one(s.fallback)
	}
}

// TrustID names the trust that decides identities: two sets with the same
// TrustID identify every client alike, at one Epoch and time.
func (s *Set) TrustID() string { return s.trustID }

// Epoch changes whenever answers of Identify may have changed without a new
// TrustID. A kept Identity holds while both stay and no certificate of its
// chain expires.
func (s *Set) Epoch() uint64 { return s.manager.epoch.Load() }

// Changed lists the organizations whose certificates s may judge otherwise than
// former did, revocation lists and time aside.
func (s *Set) Changed(former *Set) (keys []string) {
	if s.trustID == former.trustID {
		return nil
	}
	was := make(map[string]string, len(former.organizations))
	for _, o := range former.organizations {
		was[o.key] = o.digest
	}
	for _, o := range s.organizations {
		if was[o.key] != o.digest {
			keys = append(keys, o.key)
		}
		delete(was, o.key)
	}
	for key := range was {
		keys = append(keys, key)
	}
	return keys
}

// digest is a hash over parts that can't run into each other.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
