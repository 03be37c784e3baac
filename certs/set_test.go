package certs

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// server answers handshakes from whatever set is current.
type server struct {
	addr string
	set  atomic.Pointer[Set]
	last chan tls.ConnectionState // one for each good handshake
}

func serve(t *testing.T, s *Set) *server {
	t.Helper()
	srv := &server{last: make(chan tls.ConnectionState, 100)}
	srv.set.Store(s)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv.addr = ln.Addr().String()
	conf := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return srv.set.Load().ConfigFor(hello, []string{"h2", "http/1.1"})
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			c := tls.Server(raw, conf)
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if c.Handshake() == nil {
				srv.last <- c.ConnectionState()
				c.Write([]byte("x")) // with it come the tickets
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return srv
}

// dial does a handshake and returns both sides' state.
func (srv *server) dial(t *testing.T, c *tls.Config) (client, server tls.ConnectionState, err error) {
	t.Helper()
	raw, err := net.Dial("tcp", srv.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, c)
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		return client, server, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil && err != io.EOF {
		return client, server, err
	}
	return conn.ConnectionState(), <-srv.last, nil
}

// node is a development CA with a set of hosts and one organization.
type node struct {
	m      *Manager
	ca     *DevCA
	config Config
	roots  *x509.CertPool
	client tls.Certificate
}

func newNode(t *testing.T) *node {
	t.Helper()
	ca, err := NewDevCA("Development")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{m: newManager(t), ca: ca, roots: x509.NewCertPool()}
	n.roots.AddCert(ca.Certificate)
	first := n.server(t, "open.example", "*.open.example")
	second := n.server(t, "mtls.example", "other.example")
	n.client = n.issue(t, ClientSpec{CN: "client", OrganizationID: "NTRBG-1"})
	n.config = Config{
		TLS:           TLS{Certificates: []KeyPair{first, second}},
		Organizations: map[string]Organization{"meu": {ID: unit.List{"NTRBG-1"}, CA: unit.List{writeFile(t, ca.CertPEM())}}},
		Hosts: []Host{
			{Name: "open.example", Service: "open"}, {Name: "*.open.example", Service: "open", MTLS: MTLSOff},
			{Name: "mtls.example", Service: "mtls", MTLS: MTLSRequired}, {Name: "Other.example.", Service: "other", MTLS: MTLSOptional},
		},
	}
	return n
}

func (n *node) server(t *testing.T, hosts ...string) KeyPair {
	t.Helper()
	cert, key, err := n.ca.Server(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair(t, cert, key)
}

func (n *node) issue(t *testing.T, s ClientSpec) tls.Certificate {
	t.Helper()
	cert, key, err := n.ca.Client(s)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (n *node) dialer(host string) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: n.roots, Certificates: []tls.Certificate{n.client}, NextProtos: []string{"h2"}, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
}

func TestConfigFor(t *testing.T) { // not parallel: it counts allocations
	n := newNode(t)
	srv := serve(t, build(t, n.m, n.config))
	for _, tt := range []struct {
		name, sni, served string
		asks              bool
	}{
		{"exact", "open.example", "open.example", false},
		{"other case", "OPEN.example", "open.example", false},
		{"wildcard", "a.open.example", "open.example", false},
		{"mutual TLS required", "mtls.example", "mtls.example", true},
		{"mutual TLS optional, configured in other case with a dot", "other.example", "mtls.example", true},
		{"two labels under a wildcard", "a.b.open.example", "open.example", false},
		{"unknown", "unknown.example", "open.example", false},
		{"suffix of a host", "example", "open.example", false},
		{"none", "", "open.example", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := n.dialer(tt.sni)
			c.InsecureSkipVerify = true // which certificate is looked at below
			client, server, err := srv.dial(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if got := client.PeerCertificates[0].DNSNames[0]; got != tt.served {
				t.Errorf("served the certificate of %s, want %s", got, tt.served)
			}
			if got := len(server.PeerCertificates) > 0; got != tt.asks {
				t.Errorf("client certificate: got %v, want %v", got, tt.asks)
			}
			if client.NegotiatedProtocol != "h2" {
				t.Errorf("got protocol %q", client.NegotiatedProtocol)
			}
			id := srv.set.Load().Identify(&server, time.Now())
			if want := map[bool]string{true: "meu"}[tt.asks]; id.Organization != want {
				t.Errorf("got organization %q (%s), want %q", id.Organization, id.Reason, want)
			}
		})
	}
	t.Run("no certificate still gets a handshake", func(t *testing.T) {
		c := n.dialer("mtls.example")
		c.Certificates = nil
		_, server, err := srv.dial(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := srv.set.Load().Identify(&server, time.Now()).Reason; got != NoClientCert {
			t.Errorf("got %q, want %q", got, NoClientCert)
		}
	})
	t.Run("same configuration each time", func(t *testing.T) {
		s := srv.set.Load()
		hello := &tls.ClientHelloInfo{ServerName: "mtls.example"}
		protos := []string{"h3"}
		a, _ := s.ConfigFor(hello, protos)
		b, _ := s.ConfigFor(hello, protos)
		if a != b || !slices.Equal(a.NextProtos, protos) {
			t.Errorf("got two configurations, or protocols %v", a.NextProtos)
		}
		if n := testing.AllocsPerRun(100, func() { s.ConfigFor(hello, protos) }); n > 0 {
			t.Errorf("got %v allocations", n)
		}
	})
}

// TestResumption holds what a session ticket is good for: the same host under
// the same trust, and nothing else.
func TestResumption(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range []struct {
			name string
			then func(t *testing.T, n *node, srv *server, c *tls.Config)
			want bool
		}{
			{"same host", func(*testing.T, *node, *server, *tls.Config) {}, true},
			{"same trust built again", func(t *testing.T, n *node, srv *server, _ *tls.Config) { srv.set.Store(build(t, n.m, n.config)) }, true},
			{"keys turned over once", func(t *testing.T, n *node, srv *server, _ *tls.Config) {
				n.m.Activate(srv.set.Load())
				n.m.tickets.turn()
				srv.set.Load().rekey()
			}, true},
			{"keys turned over twice", func(t *testing.T, n *node, srv *server, _ *tls.Config) {
				n.m.tickets.turn()
				n.m.tickets.turn()
				srv.set.Load().rekey()
			}, false},
			{"another organization's authority", func(t *testing.T, n *node, srv *server, _ *tls.Config) {
				n.config.Organizations["meu"] = Organization{ID: unit.List{"NTRBG-1"}, CA: unit.List{write(t, newAuthority(t, "new", nil).cert)}}
				srv.set.Store(build(t, n.m, n.config))
			}, false},
			{"agreement changed", func(t *testing.T, n *node, srv *server, _ *tls.Config) {
				o := n.config.Organizations["meu"]
				o.ValidUntil = date(t, "2099-01-01")
				n.config.Organizations["meu"] = o
				srv.set.Store(build(t, n.m, n.config))
			}, false},
			{"trust changed by a list", func(t *testing.T, n *node, srv *server, _ *tls.Config) {
				n.m.Activate(srv.set.Load())
				n.m.trustChanged("meu")
			}, false},
			{"another process", func(t *testing.T, n *node, srv *server, _ *tls.Config) {
				srv.set.Store(build(t, newManager(t), n.config))
			}, false},
			{"another host", func(_ *testing.T, _ *node, _ *server, c *tls.Config) { c.ServerName = "other.example" }, false},
			{"unknown host", func(_ *testing.T, _ *node, _ *server, c *tls.Config) { c.ServerName = "unknown.example" }, false},
			{"open host", func(_ *testing.T, _ *node, _ *server, c *tls.Config) { c.ServerName = "open.example" }, false},
		} {
			t.Run(tls.VersionName(version)+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				n := newNode(t)
				srv := serve(t, build(t, n.m, n.config))
				c := n.dialer("mtls.example")
				c.InsecureSkipVerify = true
				c.MaxVersion = version
				c.ClientSessionCache = &oneSession{}
				if _, _, err := srv.dial(t, c); err != nil {
					t.Fatal(err)
				}
				tt.then(t, n, srv, c)
				_, server, err := srv.dial(t, c)
				if err != nil {
					t.Fatal(err)
				}
				if server.DidResume != tt.want {
					t.Errorf("resumed: got %v, want %v", server.DidResume, tt.want)
				}
				if tt.want && srv.set.Load().Identify(&server, time.Now()).Organization != "meu" {
					t.Error("the resumed connection lost its certificate")
				}
			})
		}
	}
}

// TestWildcardResumption: the ticket of one name is not taken under another one of
// the same wildcard, and no change of organizations' trust ends it.
func TestWildcardResumption(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		n := newNode(t)
		srv := serve(t, build(t, n.m, n.config))
		n.m.Activate(srv.set.Load())
		c := n.dialer("a.open.example")
		c.MaxVersion = version
		c.ClientSessionCache = &oneSession{}
		for i, tt := range []struct {
			name string
			want bool
		}{{"a.open.example", false}, {"a.open.example", true}, {"A.open.example", true}, {"b.open.example", false}, {"b.open.example", true}, {"a.open.example", false}} {
			c.ServerName = tt.name
			c.InsecureSkipVerify = true // the client itself would resume under one name only
			n.m.trustChanged()
			_, server, err := srv.dial(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if server.DidResume != tt.want {
				t.Errorf("%s, %d. %s: resumed %v, want %v", tls.VersionName(version), i+1, tt.name, server.DidResume, tt.want)
			}
		}
	}
}

// oneSession offers the last session to whatever host comes next.
type oneSession struct{ s *tls.ClientSessionState }

func (c *oneSession) Get(string) (*tls.ClientSessionState, bool) { return c.s, c.s != nil }
func (c *oneSession) Put(_ string, s *tls.ClientSessionState)    { c.s = s }

func TestNoCertificate(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	s := build(t, m, Config{})
	if _, err := s.ConfigFor(&tls.ClientHelloInfo{ServerName: "a.example"}, nil); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("got %v, want ErrNoCertificate", err)
	}
}

// TestExpiredServerCertificate is served all the same, with a warning, and only
// where no other covers the host.
func TestExpiredServerCertificate(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	root := &authority{n.ca.Certificate, n.ca.key}
	key := newKey(t)
	old := root.leafFor(t, &key.PublicKey, subject(t, cn("old")), dates(-2*day, -day), dns("open.example", "mtls.example"))
	alone := keyPair(t, certPEM(old.Raw), keyPEM(key))
	n.config.TLS.Certificates = append([]KeyPair{alone}, n.config.TLS.Certificates...)
	s := build(t, n.m, n.config)
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "expired on") || !strings.Contains(w[0], alone.Cert) {
		t.Errorf("got warnings %q", w)
	}
	srv := serve(t, s)
	if _, _, err := srv.dial(t, n.dialer("open.example")); err != nil {
		t.Errorf("the valid certificate is not preferred: %v", err)
	}
	n.config.TLS.Certificates = []KeyPair{alone}
	n.config.Hosts = []Host{{Name: "open.example", Service: "open"}}
	srv.set.Store(build(t, n.m, n.config))
	var invalid x509.CertificateInvalidError
	if _, _, err := srv.dial(t, n.dialer("open.example")); !errors.As(err, &invalid) {
		t.Errorf("got %v, want a certificate that has expired", err)
	}
}

// TestBuildErrors holds what makes a configuration fail, and that the message
// names what and where.
func TestBuildErrors(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root", nil)
	sub := newAuthority(t, "sub", root)
	other := newAuthority(t, "other", nil)
	rootFile, subFile, otherFile := unit.List{write(t, root.cert)}, unit.List{write(t, sub.cert)}, unit.List{write(t, other.cert)}
	leaf := root.leaf(t, subject(t, cn("leaf")))
	good := Organization{ID: unit.List{"A"}, CA: rootFile}
	orgs := func(l ...Organization) func(*node) {
		return func(n *node) {
			n.config.Organizations = map[string]Organization{}
			for i, o := range l {
				n.config.Organizations[string(rune('a'+i))] = o
			}
		}
	}
	damaged := write(t, root.cert, other.cert)
	mute := newAuthority(t, "mute", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	extended := func(id asn1.ObjectIdentifier, critical bool, value []byte) *authority {
		return newAuthority(t, "extended", nil, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: value}}
		})
	}
	strange := extended(asn1.ObjectIdentifier{1, 2, 3, 4}, true, []byte{5, 0})
	bound := extended(oidNameConstraints, false, marshal(t, []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: marshal(t, []asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: subject(t, cn("x"))},
	})}}))
	for _, tt := range []struct {
		name   string
		change func(*node)
		want   string // none: no error
	}{
		{"good", func(*node) {}, ""},
		{"host without a certificate", func(n *node) { n.config.Hosts = append(n.config.Hosts, Host{Name: "x.example", Service: "s"}) }, `host "x.example" of service "s": no certificate in tls.certificates covers it, and tls.acme is not set`},
		{"wildcard host under an exact certificate", func(n *node) { n.config.Hosts = append(n.config.Hosts, Host{Name: "*.mtls.example", Service: "s"}) }, `host "*.mtls.example"`},
		{"host under a wildcard certificate", func(n *node) { n.config.Hosts = append(n.config.Hosts, Host{Name: "b.open.example", Service: "s"}) }, ""},
		{"unknown profile", func(n *node) { n.config.TLS.Profile = "old" }, `unknown profile "old"`},
		{"certificate file missing", func(n *node) { n.config.TLS.Certificates[1].Cert = "/nonexistent.pem" }, "tls.certificates[1]: certificate: open /nonexistent.pem"},
		{"key of another certificate", func(n *node) { n.config.TLS.Certificates[0].Key = n.config.TLS.Certificates[1].Key }, "tls.certificates[0]: "},
		{"chain in the wrong order", func(n *node) {
			key := newKey(t)
			c := sub.leafFor(t, &key.PublicKey, subject(t, cn("s")), dns("a.example"))
			n.config.TLS.Certificates = append(n.config.TLS.Certificates, keyPair(t, append(append(certPEM(c.Raw), certPEM(root.cert.Raw)...), certPEM(sub.cert.Raw)...), keyPEM(key)))
		}, "did not issue certificate 1"},
		{"ACME without TLS", func(n *node) { n.config.TLS.ACME = &ACME{Directory: "http://ca.example/"} }, "https"},
		{"ACME for a wildcard", func(n *node) {
			n.config.TLS.ACME = &ACME{Directory: "https://ca.example/"}
			n.config.Hosts = append(n.config.Hosts, Host{Name: "*.x.example", Service: "s"})
		}, "wildcard"},
		{"ACME with an unreadable root", func(n *node) { n.config.TLS.ACME = &ACME{Directory: "https://ca.example/", CA: "/nonexistent.pem"} }, "tls.acme.ca"},

		{"nothing to match", orgs(Organization{CA: rootFile}), `organization "a": needs id, subject, san or spki`},
		{"empty subject", orgs(Organization{Subject: &SubjectMatch{}, CA: rootFile}), "demands nothing"},
		{"bad pin", orgs(Organization{SPKI: unit.List{"sha1/AAAA"}, CA: rootFile}), "sha256/"},
		{"pins apart", orgs(Organization{SPKI: unit.List{pinOf(root.cert)}, CA: rootFile}, Organization{SPKI: unit.List{pinOf(other.cert)}, CA: rootFile}), ""},
		{"unknown usage", orgs(Organization{ID: unit.List{"A"}, EKU: "server", CA: rootFile}), `eku: unknown value "server"`},
		{"unknown qualified type", orgs(Organization{ID: unit.List{"A"}, QC: &QC{Type: "stamp"}, CA: rootFile}), `unknown type "stamp"`},
		{"no authority", orgs(Organization{ID: unit.List{"A"}}), "needs ca"},
		{"authority missing", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{"/nonexistent.pem"}}), "open /nonexistent.pem"},
		{"authority is a client", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{write(t, leaf)}}), "is not a certification authority"},
		{"empty authority file", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{writeFile(t, nil)}}), "holds no certificate"},
		{"damaged authority file", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{damage(t, damaged)}}), "only 1 of 2"},
		{"private key among authorities", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{writeFile(t, keyPEM(root.key))}}), "PRIVATE KEY"},
		{"authority that may not sign", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{write(t, mute.cert)}}), "does not allow it to sign certificates"},
		{"authority with an unknown critical extension", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{write(t, strange.cert)}}), "critical extension that is not known here (1.2.3.4)"},
		{"authority with unknown name constraints", orgs(Organization{ID: unit.List{"A"}, CA: unit.List{write(t, bound.cert)}}), "name constraints of a kind"},
		{"bad pattern", orgs(Organization{SAN: unit.List{"ip:127.0.0.1"}, CA: rootFile}), "dns:, uri: or email:"},
		{"pattern for everybody", orgs(Organization{SAN: unit.List{"dns:*"}, CA: rootFile}), "everybody"},
		{"unreadable list", orgs(Organization{ID: unit.List{"A"}, CA: rootFile, CRL: CRLs{{File: writeFile(t, nil)}}}), "is empty"},
		{"list missing", orgs(Organization{ID: unit.List{"A"}, CA: rootFile, CRL: CRLs{{File: "/nonexistent.crl"}}}), "/nonexistent.crl: no such file"},
		{"list without source", orgs(Organization{ID: unit.List{"A"}, CA: rootFile, CRL: CRLs{{}}}), "write either url or file"},
		{"list from elsewhere", orgs(Organization{ID: unit.List{"A"}, CA: rootFile, CRL: CRLs{{URL: "ldap://x/"}}}), "http or https"},
		{"policy without list", orgs(Organization{ID: unit.List{"A"}, CA: rootFile, Revocation: &Revocation{}}), "there is neither crl nor ocsp"},
		{"unknown policy", orgs(Organization{ID: unit.List{"A"}, CA: rootFile, Revocation: &Revocation{Mode: "soft"}}), `unknown mode "soft"`},
		{"grace without its mode", orgs(Organization{ID: unit.List{"A"}, CA: rootFile, Revocation: &Revocation{Grace: 1}}), "mode: grace"},

		{"one id twice under one authority", orgs(good, good), `organizations "a" and "b": one certificate could prove both`},
		{"one id twice, one authority under the other", orgs(good, Organization{ID: unit.List{"A"}, CA: subFile}), "could prove both"},
		{"one id under two authorities", orgs(good, Organization{ID: unit.List{"A"}, CA: otherFile}), ""},
		{"two ids under one authority", orgs(good, Organization{ID: unit.List{"B"}, CA: rootFile}), ""},
		{"id and subject under one authority", orgs(good, Organization{Subject: &SubjectMatch{O: "B"}, CA: rootFile}), "give both an id"},
		{"two subjects under one authority", orgs(Organization{Subject: &SubjectMatch{O: "A", C: "BG"}, CA: rootFile}, Organization{Subject: &SubjectMatch{O: "B", C: "BG"}, CA: rootFile}), ""},
		{"subjects that don't differ", orgs(Organization{Subject: &SubjectMatch{O: "A"}, CA: rootFile}, Organization{Subject: &SubjectMatch{OU: "B"}, CA: rootFile}), "give both an id"},
		{"patterns apart", orgs(Organization{SAN: unit.List{"dns:*.a.example"}, CA: rootFile}, Organization{SAN: unit.List{"dns:*.b.example"}, CA: rootFile}), ""},
		{"patterns that meet", orgs(Organization{SAN: unit.List{"dns:*.a.example"}, CA: rootFile}, Organization{SAN: unit.List{"dns:x.*.example"}, CA: rootFile}), "fit one name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			tt.change(n)
			_, err := n.m.Build(n.config)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}
