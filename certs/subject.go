package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

var (
	oidCN                     = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSerialNumber           = asn1.ObjectIdentifier{2, 5, 4, 5}
	oidC                      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidO                      = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOU                     = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidOrganizationIdentifier = asn1.ObjectIdentifier{2, 5, 4, 97}
	oidSAN                    = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// maxAttribute bounds a value that identifies an organization. X.520 allows 64
// characters for most of them.
const maxAttribute = 256

// What is looked at of a leaf, so that one certificate does not cost more than
// another whatever it holds.
const (
	maxAttributes = 64  // of the subject
	maxNames      = 250 // alternative names
)

// attribute is one attribute of a subject, with the bytes of its value.
type attribute struct {
	oid   asn1.ObjectIdentifier
	class int
	tag   int
	value []byte
}

// subjectOf reads the subject's attributes as they are written: values are
// compared byte by byte, and what a library makes of an odd encoding never
// decides who somebody is.
func subjectOf(c *x509.Certificate) ([]attribute, error) {
	unreadable := errors.New("the subject can't be read")
	var rdns []asn1.RawValue
	if rest, err := asn1.Unmarshal(c.RawSubject, &rdns); err != nil || len(rest) > 0 {
		return nil, unreadable
	}
	var l []attribute
	for _, rdn := range rdns {
		if rdn.Class != asn1.ClassUniversal || rdn.Tag != asn1.TagSet || !rdn.IsCompound {
			return nil, unreadable
		}
		for rest := rdn.Bytes; len(rest) > 0; {
			var a struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}
			var err error
			if rest, err = asn1.Unmarshal(rest, &a); err != nil {
				return nil, unreadable
			}
			if len(l) == maxAttributes {
				return nil, fmt.Errorf("the subject has more than %d attributes", maxAttributes)
			}
			l = append(l, attribute{a.Type, a.Value.Class, a.Value.Tag, a.Value.Bytes})
		}
	}
	return l, nil
}

// single is the one value of an attribute; "" if there is none. An error is a
// certificate that must not be interpreted: two values, NUL, an empty or very
// long value, or an encoding other than UTF8String and PrintableString. Other
// encodings (BMPString, TeletexString, UniversalString) spell one text in other
// bytes, so they could not be compared byte by byte.
func single(l []attribute, oid asn1.ObjectIdentifier) (string, error) {
	found, seen := "", false
	for _, a := range l {
		if !a.oid.Equal(oid) {
			continue
		}
		if seen {
			return "", fmt.Errorf("the attribute %s occurs twice", oid)
		}
		seen = true
		switch {
		case a.class != asn1.ClassUniversal || a.tag != asn1.TagUTF8String && a.tag != asn1.TagPrintableString:
			return "", fmt.Errorf("the attribute %s is neither UTF8String nor PrintableString", oid)
		case len(a.value) == 0:
			return "", fmt.Errorf("the attribute %s is empty", oid)
		case len(a.value) > maxAttribute:
			return "", fmt.Errorf("the attribute %s is longer than %d bytes", oid, maxAttribute)
		case bytes.IndexByte(a.value, 0) >= 0:
			return "", fmt.Errorf("the attribute %s holds NUL", oid)
		case !utf8.Valid(a.value):
			return "", fmt.Errorf("the attribute %s is not UTF-8", oid)
		}
		found = string(a.value)
	}
	return found, nil
}

// sanTags are the kinds of subject alternative names that patterns can ask for,
// with their tags (RFC 5280, 4.2.1.6) and what a * does not match.
var sanTags = map[string]struct {
	tag  int
	stop string
}{"email": {1, "@"}, "dns": {2, "."}, "uri": {6, "/:"}}

// sanPattern is a pattern of one kind of subject alternative name.
type sanPattern struct {
	kind string
	text string // lower case for dns
}

// CheckSAN says what is wrong with an item of san.
func CheckSAN(s string) error {
	_, err := compileSAN(s)
	return err
}

// compileSAN reads "dns:*.nra.example".
func compileSAN(s string) (sanPattern, error) {
	kind, text, ok := strings.Cut(s, ":")
	if _, known := sanTags[kind]; !ok || !known || text == "" {
		return sanPattern{}, fmt.Errorf("san %q: write dns:, uri: or email: and a pattern", s)
	}
	if strings.Trim(text, "*.") == "" || strings.Contains(text, "**") {
		return sanPattern{}, fmt.Errorf("san %q would fit everybody", s)
	}
	for _, r := range text {
		if r <= ' ' || r >= 0x7f {
			return sanPattern{}, fmt.Errorf("san %q: only printable ASCII occurs in these names; write an international domain as xn--", s)
		}
	}
	if kind == "dns" {
		text = lowerASCII(text)
	}
	return sanPattern{kind, text}, nil
}

// sanName is one alternative name, as its bytes stand in the certificate.
type sanName struct{ kind, value string }

// sanNames are the alternative names of the kinds that patterns can ask for.
func sanNames(c *x509.Certificate) ([]sanName, error) {
	var l []sanName
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSAN) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil, errors.New("the alternative names can't be read")
		}
		if len(names) > maxNames {
			return nil, fmt.Errorf("the certificate has %d alternative names; at most %d are looked at", len(names), maxNames)
		}
		for _, n := range names {
			for kind, t := range sanTags {
				if n.Class == asn1.ClassContextSpecific && n.Tag == t.tag && !n.IsCompound {
					l = append(l, sanName{kind, string(n.Bytes)})
				}
			}
		}
	}
	return l, nil
}

// find is the name that fits. Domain names are compared without regard to
// the case of ASCII letters, the rest byte by byte.
func (p sanPattern) find(names []sanName) (string, bool) {
	for _, n := range names {
		if n.kind != p.kind || len(n.value) > maxAttribute || !printableASCII(n.value) {
			continue
		}
		text := n.value
		if p.kind == "dns" {
			text = lowerASCII(text)
		}
		if glob(p.text, text, sanTags[p.kind].stop) {
			return n.value, true
		}
	}
	return "", false
}

// glob reports whether s fits a pattern in which * stands for one or more
// characters that are not in stop. Its time grows with len(pattern)*len(s).
func glob(pattern, s, stop string) bool {
	// reach[i] says whether the pattern so far can end before s[i].
	reach := make([]bool, len(s)+1)
	reach[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(s)+1)
		for j := range len(s) {
			if pattern[i] == '*' {
				next[j+1] = (reach[j] || next[j]) && strings.IndexByte(stop, s[j]) < 0
			} else {
				next[j+1] = reach[j] && pattern[i] == s[j]
			}
		}
		reach = next
	}
	return reach[len(s)]
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
