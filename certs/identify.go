package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What a client may send. Both are checked before any signature is.
const (
	maxChain      = 10
	maxChainBytes = 64 << 10
	maxIssuers    = 3 // of one name
)

// Identify says which organization the peer certificates of a handshake prove.
// It knows nothing of what the organization may do.
//
// An organization is proven by a chain to one of its own authorities and by its
// identifier in the leaf; both must fit, byte for byte. The reason of a refusal
// is the first of these that holds:
//
//  1. no_client_cert
//  2. bad_certificate: too many or too large, the leaf is an authority or of an
//     old version, its subject or organizationIdentifier must not be
//     interpreted, weak keys, SHA-1
//  3. unknown_ca: no chain to an authority of any organization, dates of the
//     leaf aside
//  4. bad_certificate: the chain breaks name constraints, a path length or the
//     like
//  5. not_yet_valid, expired: the leaf, or a certificate of its chain
//  6. server_only_certificate, wrong_usage
//  7. bad_certificate: proves two organizations, or an attribute by which an
//     organization would be recognized must not be interpreted, or a qualified
//     statement is missing
//  8. wrong_organization
//  9. revoked, revocation_unavailable
//  10. agreement_expired
//
// It never waits. Where the status of a certificate that is new has still to be
// asked for, the answer is revocation_unavailable; see Prove.
func (s *Set) Identify(cs *tls.ConnectionState, now time.Time) Identity {
	id, _ := s.identify(cs, now, true)
	return id
}

// Prove is Identify for a request: where the status of a certificate has to be
// asked for first, it waits for that, for two seconds at most.
func (s *Set) Prove(ctx context.Context, cs *tls.ConnectionState, now time.Time) Identity {
	id, pending := s.identify(cs, now, false)
	if pending == nil {
		return id
	}
	ctx, cancel := context.WithTimeout(ctx, ocspFirst)
	defer cancel()
	for pending != nil {
		select {
		case <-pending:
			id, pending = s.identify(cs, time.Now(), false)
		case <-ctx.Done():
			return s.Identify(cs, time.Now())
		}
	}
	return id
}

// identify is Identify. It counts no uncertain answer that is pending, unless
// that is the last word.
func (s *Set) identify(cs *tls.ConnectionState, now time.Time, last bool) (Identity, <-chan struct{}) {
	if len(cs.PeerCertificates) == 0 {
		return Identity{Reason: NoClientCert}, nil
	}
	now = now.Round(0) // validity is a matter of the wall clock, also when that is set back
	leaf := cs.PeerCertificates[0]
	id := Identity{Leaf: leaf}
	refuse := func(r Reason, detail string) (Identity, <-chan struct{}) {
		id.Organization, id.Chain, id.Reason, id.Detail = "", nil, r, detail
		return id, nil
	}
	says, err := readable(cs.PeerCertificates)
	if err != nil {
		return refuse(BadCertificate, err.Error())
	}
	id.ID = says.identifier
	var named []*organization
	var contradiction error
	for _, o := range s.organizations {
		value, ok, err := o.names(says)
		if err != nil {
			contradiction = err
		}
		if ok {
			if named = append(named, o); len(named) == 1 {
				id.Claimed, id.ID = o.key, value
			}
		}
	}
	// Each organization is held against its own authorities and no others.
	path := verifier{leaf: leaf, sent: cs.PeerCertificates}
	var sent [sha256.Size]byte
	if len(named) > 0 {
		sent = sentDigest(cs.PeerCertificates)
	}
	var proven *organization
	var chain []*x509.Certificate
	for _, o := range named {
		if !signs(leaf) {
			continue
		}
		c := s.chains.get(chainKey{sent, o}, cs.PeerCertificates, now)
		if c == nil {
			if c, err = path.verify(o.pool, now, o.usage); err != nil {
				continue
			}
			if !s.manager.clock.behind.Load() { // what a wrong clock calls good is not kept
				s.chains.put(chainKey{sent, o}, c, cs.PeerCertificates, now)
			}
		}
		if proven != nil {
			return refuse(BadCertificate, fmt.Sprintf("the certificate proves two organizations: %s and %s", proven.key, o.key))
		}
		proven, chain = o, c
		id.Claimed = o.key
		id.ID, _, _ = o.names(says)
	}
	if proven == nil {
		usage := x509.ExtKeyUsageClientAuth
		if slices.ContainsFunc(named, func(o *organization) bool { return o.usage == x509.ExtKeyUsageAny }) {
			usage = x509.ExtKeyUsageAny
		}
		return refuse(path.fault(s.byCA, now, usage, contradiction, id.Claimed))
	}
	var pending <-chan struct{}
	if len(proven.lists) > 0 || proven.responder != nil {
		v := proven.judge(chain, now)
		if pending = v.pending; pending == nil || last {
			proven.count(v)
		}
		id.Passing = v.passing
		if v.reason != "" {
			id, _ := refuse(v.reason, v.detail)
			return id, pending
		}
		id.Detail = v.detail
	}
	if !proven.until.IsZero() && !now.Before(proven.until) {
		return refuse(AgreementExpired, "the agreement ended on "+proven.until.AddDate(0, 0, -1).Format(time.DateOnly))
	}
	id.Organization, id.Chain = proven.key, slices.Clip(chain[:len(chain)-1])
	return id, pending
}

// claim is what a leaf says of itself.
type claim struct {
	leaf       *x509.Certificate
	subject    []attribute
	identifier string // organizationIdentifier
	names      []sanName
}

// readable checks what can be seen without any signature, and reads what the
// leaf says.
func readable(peers []*x509.Certificate) (*claim, error) {
	if len(peers) > maxChain {
		return nil, fmt.Errorf("%d certificates were sent; at most %d are looked at", len(peers), maxChain)
	}
	size := 0
	for _, c := range peers {
		size += len(c.Raw)
	}
	if size > maxChainBytes {
		return nil, fmt.Errorf("the certificates have %d bytes; at most %d are looked at", size, maxChainBytes)
	}
	for i, c := range peers {
		// A client may send its root along, whose signature on itself means nothing.
		if i > 0 && bytes.Equal(c.RawSubject, c.RawIssuer) {
			continue
		}
		switch c.SignatureAlgorithm {
		case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.DSAWithSHA256, x509.ECDSAWithSHA1, x509.UnknownSignatureAlgorithm:
			return nil, fmt.Errorf("certificate %d is signed by %s", i+1, c.SignatureAlgorithm)
		}
		// Where several certificates have one name, each is tried as the issuer of
		// each: two are enough for an authority that is changing its key.
		same := 0
		for _, d := range peers[1:] {
			if bytes.Equal(c.RawIssuer, d.RawSubject) {
				same++
			}
		}
		if same > maxIssuers {
			return nil, fmt.Errorf("%d certificates could be the issuer of certificate %d; at most %d are looked at", same, i+1, maxIssuers)
		}
	}
	says := &claim{leaf: peers[0]}
	switch leaf := says.leaf; {
	case leaf.IsCA:
		return nil, errors.New("the certificate is one of a certification authority")
	case leaf.Version != 3:
		// Older ones can't say what they are for (RFC 5280, 4.2).
		return nil, fmt.Errorf("the certificate is of version %d; only version 3 is accepted", leaf.Version)
	case leaf.SerialNumber == nil || leaf.SerialNumber.Sign() <= 0:
		// RFC 5280, 4.1.2.2; revocation goes by this number.
		return nil, errors.New("the serial number is not positive")
	}
	err := weak(says.leaf)
	if err != nil {
		return nil, err
	}
	if says.subject, err = subjectOf(says.leaf); err != nil {
		return nil, err
	}
	if says.identifier, err = single(says.subject, oidOrganizationIdentifier); err != nil {
		return nil, err
	}
	says.names, err = sanNames(says.leaf)
	return says, err
}

// verifier finds chains from a leaf.
type verifier struct {
	leaf *x509.Certificate
	sent []*x509.Certificate // by the client, the leaf first
}

func poolOf(l []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range l {
		p.AddCert(c)
	}
	return p
}

var errWeak = errors.New("weak key")

// verify is a chain of strong keys to an authority of roots. roots is never nil:
// x509 would take the system's.
func (v verifier) verify(roots *x509.CertPool, now time.Time, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	chains, err := v.leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: poolOf(v.sent[1:]), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return nil, err
	}
	err = errors.New("no chain to an authority")
	for _, chain := range chains {
		if len(chain) < 2 {
			continue // an authority itself
		}
		if err = soundChain(chain); err == nil {
			return chain, nil
		}
	}
	return nil, err
}

// signs reports whether a key may sign a handshake: where keyUsage stands, it
// must say so (RFC 8446, 4.4.2.2).
func signs(leaf *x509.Certificate) bool {
	return leaf.KeyUsage == 0 || leaf.KeyUsage&x509.KeyUsageDigitalSignature != 0
}

// fault is the reason why no organization was proven. all holds the
// authorities of all organizations.
func (v verifier) fault(all *x509.CertPool, now time.Time, usage x509.ExtKeyUsage, contradiction error, claimed string) (Reason, string) {
	// x509 reports the dates of the leaf before it looks at a signature. What a
	// stranger writes into a certificate of his own is no reason.
	at := now
	if at.After(v.leaf.NotAfter) {
		at = v.leaf.NotAfter
	}
	if at.Before(v.leaf.NotBefore) {
		at = v.leaf.NotBefore
	}
	if _, err := v.verify(all, at, x509.ExtKeyUsageAny); err != nil {
		return v.reasonOf(err, now)
	}
	if now.Before(v.leaf.NotBefore) {
		return NotYetValid, "valid from " + v.leaf.NotBefore.UTC().Format(time.RFC3339)
	}
	if now.After(v.leaf.NotAfter) {
		return Expired, "expired on " + v.leaf.NotAfter.UTC().Format(time.RFC3339)
	}
	if _, err := v.verify(all, now, usage); err != nil {
		return v.reasonOf(err, now)
	}
	switch {
	case !signs(v.leaf):
		return WrongUsage, "its keyUsage does not allow digital signatures"
	case contradiction != nil:
		return BadCertificate, contradiction.Error()
	case claimed != "":
		return WrongOrganization, "the authority behind the certificate is not one of the organization that it names"
	}
	return WrongOrganization, "no configured organization has this identifier"
}

// reasonOf names what x509 found.
func (v verifier) reasonOf(err error, now time.Time) (Reason, string) {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if c := invalid.Cert; c != nil && now.Before(c.NotBefore) {
			return NotYetValid, "a certificate of the chain is valid from " + c.NotBefore.UTC().Format(time.RFC3339)
		}
		return Expired, "a certificate of the chain has expired"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage && serverOnly(v.leaf):
		return ServerOnly, "its extended key usage is for servers; an organization whose authority issues none for clients needs eku: any"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return WrongUsage, "its extended key usage, or that of an authority of its chain, does not allow client authentication"
	case errors.As(err, &unknown):
		return UnknownCA, "no chain to a configured authority"
	}
	return BadCertificate, err.Error()
}

// serverOnly reports whether a certificate is for servers and not for clients.
func serverOnly(leaf *x509.Certificate) bool {
	return slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// weak refuses keys that are too weak to prove anything, and kinds of keys that
// nobody has looked at.
func weak(c *x509.Certificate) error {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 {
			return fmt.Errorf("%w: RSA of %d bits, at least 2048 are needed", errWeak, n)
		}
		if k.E < 65537 {
			return fmt.Errorf("%w: RSA with the public exponent %d, at least 65537 is needed", errWeak, k.E)
		}
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n < 256 {
			return fmt.Errorf("%w: a curve of %d bits, at least 256 are needed", errWeak, n)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("%w: %s keys are not accepted", errWeak, c.PublicKeyAlgorithm)
	}
	return nil
}

// soundChain looks for what x509 lets pass in a chain.
func soundChain(chain []*x509.Certificate) error {
	for _, c := range chain {
		if err := weak(c); err != nil {
			return err
		}
		if err := constraintsKnown(c); err != nil {
			return err
		}
	}
	return nil
}

var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// constraintsKnown makes sure that all name constraints of an authority are of
// kinds that x509 holds against the certificates below it: DNS, IP, e-mail and
// URI. Where others (directoryName, ...) are not marked critical, it would pass
// over them, and let an authority out of its bounds.
func constraintsKnown(c *x509.Certificate) error {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidNameConstraints) {
			continue
		}
		var sides []asn1.RawValue // permitted, excluded
		if rest, err := asn1.Unmarshal(e.Value, &sides); err != nil || len(rest) > 0 {
			return errors.New("name constraints that can't be read")
		}
		for _, side := range sides {
			for rest := side.Bytes; len(rest) > 0; {
				var subtree struct{ Base asn1.RawValue }
				var whole asn1.RawValue
				var err error
				if rest, err = asn1.Unmarshal(rest, &whole); err == nil {
					_, err = asn1.Unmarshal(whole.Bytes, &subtree.Base)
				}
				if err != nil {
					return errors.New("name constraints that can't be read")
				}
				switch subtree.Base.Tag {
				case 1, 2, 6, 7: // rfc822Name, dNSName, uniformResourceIdentifier, iPAddress
				default:
					return fmt.Errorf("name constraints of a kind that can't be checked (tag %d)", subtree.Base.Tag)
				}
			}
		}
	}
	return nil
}
