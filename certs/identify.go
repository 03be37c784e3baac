package certs

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// maxChain bounds the certificates that a client may send.
const maxChain = 10

// Identify says which organization the peer certificates of a handshake prove.
// It knows nothing of what the organization may do.
//
// An organization is proven by a chain to one of its own authorities and by its
// identifier in the leaf; both must fit, byte for byte. The reason of a refusal
// is the first that holds of: no_client_cert, bad_certificate, unknown_ca,
// expired or not_yet_valid, wrong_usage, wrong_organization, revoked or
// revocation_unavailable, agreement_expired.
func (s *Set) Identify(cs *tls.ConnectionState, now time.Time) Identity {
	if len(cs.PeerCertificates) == 0 {
		return Identity{Reason: NoClientCert}
	}
	leaf := cs.PeerCertificates[0]
	id := Identity{Leaf: leaf}
	refuse := func(r Reason, detail string) Identity {
		id.Reason, id.Detail = r, detail
		return id
	}
	if len(cs.PeerCertificates) > maxChain {
		return refuse(BadCertificate, "too many certificates in the chain")
	}
	subject, err := subjectOf(leaf)
	if err != nil {
		return refuse(BadCertificate, err.Error())
	}
	identifier, err := single(subject, oidOrganizationIdentifier)
	if err != nil {
		return refuse(BadCertificate, err.Error())
	}
	if err := weak(leaf); err != nil {
		return refuse(BadCertificate, err.Error())
	}
	var named []*organization
	for _, o := range s.organizations {
		value, ok, err := o.names(leaf, subject, identifier)
		if err != nil {
			return refuse(BadCertificate, err.Error())
		}
		if ok {
			named = append(named, o)
			id.Claimed, id.ID = o.key, value
		}
	}
	if len(named) == 0 {
		id.ID = identifier
	}
	intermediates := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	verify := func(roots *x509.CertPool, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
		return leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	}

	var proven *organization
	var first error
	for _, o := range named {
		chains, err := verify(o.pool, x509.ExtKeyUsageClientAuth)
		if err == nil {
			err = weakChain(chains[0])
		}
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		if proven != nil {
			return refuse(BadCertificate, "the certificate proves two organizations")
		}
		proven, id.Chain, id.Claimed = o, chains[0], o.key
	}
	if proven == nil {
		// Which of its faults is the certificate told? Whether any configured
		// authority stands behind it decides.
		_, err := verify(s.byCA, x509.ExtKeyUsageAny)
		switch {
		case err != nil:
			r, detail := reasonOf(err, leaf, now)
			return refuse(r, detail)
		case first != nil:
			r, detail := reasonOf(first, leaf, now)
			if r == UnknownCA {
				r, detail = WrongOrganization, "the authority behind the certificate is not the one of the organization that it names"
			}
			return refuse(r, detail)
		}
		if _, err := verify(s.byCA, x509.ExtKeyUsageClientAuth); err != nil {
			r, detail := reasonOf(err, leaf, now)
			return refuse(r, detail)
		}
		return refuse(WrongOrganization, "no configured organization has this identifier")
	}
	if proven.list != nil {
		if r, detail := proven.list.check(id.Chain, now); r != "" {
			id.Chain = nil
			return refuse(r, detail)
		}
	}
	if !proven.until.IsZero() && !now.Before(proven.until) {
		id.Chain = nil
		return refuse(AgreementExpired, "")
	}
	id.Organization = proven.key
	return id
}

// reasonOf names what x509 found.
func reasonOf(err error, leaf *x509.Certificate, now time.Time) (Reason, string) {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errWeak):
		return BadCertificate, err.Error()
	case errors.As(err, &invalid):
		switch invalid.Reason {
		case x509.Expired:
			if c := invalid.Cert; c != nil && now.Before(c.NotBefore) {
				return NotYetValid, invalid.Detail
			}
			return Expired, invalid.Detail
		case x509.IncompatibleUsage:
			return WrongUsage, "not for client authentication"
		}
		return BadCertificate, err.Error()
	case errors.As(err, &unknown):
		return UnknownCA, "no chain to a configured authority"
	}
	return BadCertificate, err.Error()
}

var errWeak = errors.New("weak cryptography")

// weak refuses keys that are too short to prove anything.
func weak(c *x509.Certificate) error {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 {
			return errors.Join(errWeak, errors.New("an RSA key of fewer than 2048 bits"))
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return errors.Join(errWeak, errors.New("an elliptic curve of fewer than 256 bits"))
		}
	}
	return nil
}

func weakChain(chain []*x509.Certificate) error {
	for _, c := range chain {
		if err := weak(c); err != nil {
			return err
		}
	}
	return nil
}
