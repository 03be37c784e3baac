package certs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Mistake is what is wrong with one setting of an organization.
type Mistake struct {
	Key   string // the setting
	Value string // the item of a list, or ""
	Err   error
}

// Check says everything that is wrong with the settings of an organization,
// without reading a file.
func (c Organization) Check() (l []Mistake) {
	note := func(key, value string, err error) {
		if err != nil {
			l = append(l, Mistake{key, value, err})
		}
	}
	for _, id := range c.ID {
		if id == "" || len(id) > maxAttribute {
			note("id", id, fmt.Errorf("an identifier has 1 to %d bytes", maxAttribute))
		}
	}
	for _, text := range c.SAN {
		_, err := compileSAN(text)
		note("san", text, err)
	}
	for _, pin := range c.SPKI {
		note("spki", pin, checkPin(pin))
	}
	if c.Subject != nil && *c.Subject == (SubjectMatch{}) {
		note("subject", "", errors.New("subject demands nothing; write at least one of cn, o, ou, c and serial_number"))
	}
	_, err := usageOf(c.EKU)
	note("eku", "", err)
	if c.QC != nil {
		note("qc", "", c.QC.check())
	}
	return l
}

// CheckAuthorities says what is wrong with a file of certification authorities.
// Those whose time is over are no mistake, but listed.
func CheckAuthorities(path string) (expired []string, err error) {
	cas, err := loadCAs(path)
	for _, c := range cas {
		if time.Now().After(c.NotAfter) {
			expired = append(expired, fmt.Sprintf("%s expired on %s", c.Subject, c.NotAfter.UTC().Format(time.DateOnly)))
		}
	}
	return expired, err
}

// Ambiguity is two organizations that one certificate could prove.
type Ambiguity struct{ A, B, Why string }

// Ambiguities lists the organizations that are not told apart for sure. Files
// that can't be read are passed over.
func Ambiguities(all map[string]Organization) (l []Ambiguity) {
	var read []*organization
	for _, key := range slices.Sorted(maps.Keys(all)) {
		c := all[key]
		o := &organization{key: key, ids: c.ID, subject: c.Subject, pins: c.SPKI}
		if len(o.readNames(c)) > 0 {
			continue
		}
		for _, path := range c.CA {
			if cas, err := loadCAs(path); err == nil {
				o.cas = append(o.cas, cas...)
			}
		}
		read = append(read, o)
	}
	for i, a := range read {
		for _, b := range read[i+1:] {
			if why := overlap(a, b); why != "" {
				l = append(l, Ambiguity{a.key, b.key, why})
			}
		}
	}
	return l
}
