package certs

import (
	"errors"
	"fmt"
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
		_, err := CheckIdentifier(id)
		note("id", id, err)
	}
	for _, text := range c.SAN {
		note("san", text, CheckSAN(text))
	}
	for _, pin := range c.SPKI {
		note("spki", pin, CheckPin(pin))
	}
	if c.Subject != nil && *c.Subject == (SubjectMatch{}) {
		note("subject", "", errors.New("subject demands nothing; write at least one of cn, o, ou, c and serial_number"))
	}
	_, err := usageOf(c.EKU)
	note("eku", "", err)
	if c.QC != nil {
		note("qc", "", c.QC.Check())
	}
	return l
}

// CheckAuthorities says what is wrong with a file of certification authorities.
// Those whose time is over are no mistake, but listed.
func CheckAuthorities(path string) (expired []string, err error) {
	cas, err := LoadCAs(path)
	for _, c := range cas {
		if time.Now().After(c.NotAfter) {
			expired = append(expired, fmt.Sprintf("%s expired on %s", c.Subject, c.NotAfter.UTC().Format(time.DateOnly)))
		}
	}
	return expired, err
}
