package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// clockSkew is how far the clock of an authority may be ahead of ours.
const clockSkew = 5 * time.Minute

// listState is what was read last of a revocation list. It does not change.
type listState struct {
	issuer    *x509.Certificate
	revoked   serials
	number    []byte
	this      time.Time // thisUpdate
	next      time.Time // nextUpdate
	fetched   time.Time
	points    []string // the list is a part: of certificates that name one of these
	onlyUsers bool     // says nothing of authorities
	onlyCAs   bool     // says nothing of clients and servers
}

// parseList reads a list that one of the issuers signed. Its entries, which may
// be many, are looked at only once the signature is known to be good: a list
// may come over a network that anybody can write to.
func parseList(b []byte, issuers []*x509.Certificate, now time.Time) (*listState, error) {
	if block, rest := pem.Decode(b); block != nil && block.Type == "X509 CRL" {
		if more, _ := pem.Decode(rest); more != nil {
			return nil, errors.New("there is more than one list; write each as a source of its own")
		}
		b = block.Bytes
	}
	head, signed, entries, ok := splitList(b)
	if !ok {
		return nil, errors.New("not a revocation list")
	}
	crl, err := x509.ParseRevocationList(head)
	if err != nil {
		return nil, fmt.Errorf("not a revocation list: %w", err)
	}
	switch crl.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return nil, fmt.Errorf("the list is signed by %s, which proves nothing any more", crl.SignatureAlgorithm)
	}
	i := slices.IndexFunc(issuers, func(ca *x509.Certificate) bool {
		return bytes.Equal(ca.RawSubject, crl.RawIssuer) && (ca.KeyUsage == 0 || ca.KeyUsage&x509.KeyUsageCRLSign != 0) &&
			ca.CheckSignature(crl.SignatureAlgorithm, signed, crl.Signature) == nil
	})
	if i < 0 {
		return nil, fmt.Errorf("the list of %s is not signed by an authority of the organization; an intermediate one that is not in ca has to be written as issuer", plain(crl.Issuer.String()))
	}
	if crl.ThisUpdate.After(now.Add(clockSkew)) {
		return nil, fmt.Errorf("the list is from the future: %s", crl.ThisUpdate.UTC().Format(time.RFC3339))
	}
	if crl.NextUpdate.IsZero() {
		return nil, errors.New("the list has no nextUpdate, so nobody could know when it is stale")
	}
	s := &listState{issuer: issuers[i], this: crl.ThisUpdate, next: crl.NextUpdate}
	if crl.Number != nil {
		s.number = crl.Number.Bytes()
	}
	if err := s.readScope(crl); err != nil {
		return nil, err
	}
	s.revoked, err = readEntries(entries)
	return s, err
}

// splitList takes a list apart: the same list without its entries, the bytes
// that are signed, and the entries.
func splitList(der []byte) (head, signed []byte, entries cryptobyte.String, ok bool) {
	outer := cryptobyte.String(der)
	var list, tbs, body cryptobyte.String
	if !outer.ReadASN1(&list, tags.SEQUENCE) || !outer.Empty() || !list.ReadASN1Element(&tbs, tags.SEQUENCE) {
		return nil, nil, nil, false
	}
	signed = tbs
	if !tbs.ReadASN1(&body, tags.SEQUENCE) {
		return nil, nil, nil, false
	}
	// version, signature, issuer, thisUpdate, nextUpdate (RFC 5280, 5.1)
	var before []byte
	for _, f := range []struct {
		optional bool
		tags     []tags.Tag
	}{{true, []tags.Tag{tags.INTEGER}}, {false, []tags.Tag{tags.SEQUENCE}}, {false, []tags.Tag{tags.SEQUENCE}}, {false, times}, {true, times}} {
		var e cryptobyte.String
		var tag tags.Tag
		rest := body
		if !body.ReadAnyASN1Element(&e, &tag) || !slices.Contains(f.tags, tag) {
			if !f.optional {
				return nil, nil, nil, false
			}
			body = rest
			continue
		}
		before = append(before, e...)
	}
	if body.PeekASN1Tag(tags.SEQUENCE) && !body.ReadASN1(&entries, tags.SEQUENCE) {
		return nil, nil, nil, false
	}
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(before)
			b.AddBytes(body)
		})
		b.AddBytes(list)
	})
	head, err := b.Bytes()
	return head, signed, entries, err == nil
}

var times = []tags.Tag{tags.UTCTime, tags.GeneralizedTime}

var (
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDeltaCRL                 = asn1.ObjectIdentifier{2, 5, 29, 27}
)

// readScope notes of which certificates the list says something. It refuses what
// would have to be put together with something else first: deltas, parts by
// reason, and indirect lists (RFC 5280, 5.2).
func (s *listState) readScope(crl *x509.RevocationList) error {
	for _, e := range crl.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return errors.New("a delta list alone says too little")
		case e.Id.Equal(oidIssuingDistributionPoint):
			var idp struct {
				Point          asn1.RawValue  `asn1:"optional,tag:0"`
				OnlyUsers      bool           `asn1:"optional,tag:1"`
				OnlyCAs        bool           `asn1:"optional,tag:2"`
				OnlyReasons    asn1.BitString `asn1:"optional,tag:3"`
				Indirect       bool           `asn1:"optional,tag:4"`
				OnlyAttributes bool           `asn1:"optional,tag:5"`
			}
			if rest, err := asn1.Unmarshal(e.Value, &idp); err != nil || len(rest) > 0 {
				return errors.New("its issuing distribution point can't be read")
			}
			if idp.OnlyAttributes || idp.Indirect || idp.OnlyReasons.BitLength > 0 {
				return errors.New("its issuing distribution point says that it is indirect or covers only some reasons or attribute certificates")
			}
			s.onlyUsers, s.onlyCAs = idp.OnlyUsers, idp.OnlyCAs
			if len(idp.Point.FullBytes) > 0 {
				if s.points = pointNames(idp.Point.Bytes); len(s.points) == 0 {
					return errors.New("the list is a part, and its issuing distribution point does not say by a URL which")
				}
			}
		case e.Critical:
			return fmt.Errorf("it has the critical extension %s, which nobody here understands", e.Id)
		}
	}
	return nil
}

// pointNames lists the URLs of a DistributionPointName.
func pointNames(b []byte) (urls []string) {
	names := cryptobyte.String(b)
	if !names.ReadASN1(&names, tags.Tag(0).Constructed().ContextSpecific()) {
		return nil
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag tags.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return nil
		}
		if tag == tags.Tag(6).ContextSpecific() {
			urls = append(urls, string(name))
		}
	}
	return urls
}

// silent says why the list would not show that c is revoked; "" if it would.
func (s *listState) silent(c *x509.Certificate) string {
	switch {
	case s.onlyUsers && c.IsCA:
		return "the revocation list covers no authorities"
	case s.onlyCAs && !c.IsCA:
		return "the revocation list covers only authorities"
	case len(s.points) > 0 && !slices.ContainsFunc(s.points, func(p string) bool { return slices.Contains(c.CRLDistributionPoints, p) }):
		return "the revocation list is a part that does not cover the certificate: it is of " + plain(s.points[0])
	}
	return ""
}

// same reports whether two lists lead to the same answers at one time.
func (s *listState) same(o *listState) bool {
	return s.revoked.equal(o.revoked) && sameAuthority(s.issuer, o.issuer) && slices.Equal(s.points, o.points) && s.onlyUsers == o.onlyUsers && s.onlyCAs == o.onlyCAs
}

// olderThan reports whether s would take back what a list from the same source
// has said. Who can answer in the place of the source has only lists that are
// signed; these must not bring back an older one by way of one of another
// authority or part.
func (s *listState) olderThan(o *listState) bool {
	alike := sameAuthority(s.issuer, o.issuer) && slices.Equal(s.points, o.points)
	return s.this.Before(o.this) || alike && older(s.number, o.number)
}

// sameAuthority reports whether two certificates are of one authority: it has
// the same name and the same key.
func sameAuthority(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// older compares CRL numbers, big-endian without leading zeros.
func older(a, b []byte) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return bytes.Compare(a, b) < 0
}

// readEntries collects the serial numbers of a list. An entry with a critical
// extension may be about a certificate of another issuer (RFC 5280, 5.3.3).
func readEntries(entries cryptobyte.String) (serials, error) {
	s := serials{sorted: make([]serialNumber, 0, len(entries)/32)}
	for i := 1; !entries.Empty(); i++ {
		var entry, number, when, extensions cryptobyte.String
		var tag tags.Tag
		if !entries.ReadASN1(&entry, tags.SEQUENCE) || !entry.ReadASN1(&number, tags.INTEGER) || !entry.ReadAnyASN1(&when, &tag) || !slices.Contains(times, tag) {
			return serials{}, fmt.Errorf("entry %d can't be read", i)
		}
		if !entry.Empty() && (!entry.ReadASN1(&extensions, tags.SEQUENCE) || !entry.Empty()) {
			return serials{}, fmt.Errorf("entry %d can't be read", i)
		}
		for !extensions.Empty() {
			var e cryptobyte.String
			var oid asn1.ObjectIdentifier
			var critical bool
			if !extensions.ReadASN1(&e, tags.SEQUENCE) || !e.ReadASN1ObjectIdentifier(&oid) || !e.ReadOptionalASN1Boolean(&critical, tags.BOOLEAN, false) {
				return serials{}, fmt.Errorf("entry %d can't be read", i)
			}
			if critical {
				return serials{}, fmt.Errorf("entry %d has the critical extension %s, which nobody here understands", i, oid)
			}
		}
		s.add(number)
	}
	s.seal()
	return s, nil
}

// serialNumber is a serial number of at most 20 octets, as RFC 5280 allows, in
// words that compare fast; the highest comes first.
type serialNumber [3]uint64

// serialOf reads octets, of which there are at most 24.
func serialOf(b []byte) serialNumber {
	var full [24]byte
	copy(full[len(full)-len(b):], b)
	return serialNumber{binary.BigEndian.Uint64(full[:]), binary.BigEndian.Uint64(full[8:]), binary.BigEndian.Uint64(full[16:])}
}

func (n *serialNumber) less(o *serialNumber) bool {
	if n[0] != o[0] {
		return n[0] < o[0]
	}
	if n[1] != o[1] {
		return n[1] < o[1]
	}
	return n[2] < o[2]
}

// serials is a set of serial numbers: 24 bytes for each, and nothing in it that
// the garbage collector would have to follow.
type serials struct {
	sorted []serialNumber
	long   []string // what does not fit
}

// add takes the octets of an INTEGER. They are read without sign: an authority
// that forgets the leading zero means the same number.
func (s *serials) add(b []byte) {
	b = bytes.TrimLeft(b, "\x00")
	if len(b) > 24 {
		s.long = append(s.long, string(b))
		return
	}
	s.sorted = append(s.sorted, serialOf(b))
}

// seal makes the set ready to be asked.
func (s *serials) seal() {
	slices.SortFunc(s.sorted, func(a, b serialNumber) int {
		switch {
		case a.less(&b):
			return -1
		case b.less(&a):
			return 1
		}
		return 0
	})
	s.sorted = slices.Clone(slices.Compact(s.sorted))
	slices.Sort(s.long)
	s.long = slices.Compact(s.long)
}

func (s *serials) has(n *big.Int) bool {
	if n.BitLen() > 8*24 {
		_, ok := slices.BinarySearch(s.long, string(n.Bytes()))
		return ok
	}
	var b [24]byte
	k := serialOf(n.FillBytes(b[:]))
	from, to := 0, len(s.sorted)
	for from < to {
		if mid := int(uint(from+to) >> 1); s.sorted[mid].less(&k) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from < len(s.sorted) && s.sorted[from] == k
}

func (s *serials) len() int { return len(s.sorted) + len(s.long) }

func (s *serials) equal(o serials) bool {
	return slices.Equal(s.sorted, o.sorted) && slices.Equal(s.long, o.long)
}
