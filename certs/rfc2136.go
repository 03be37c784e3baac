package certs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// updater changes a zone by dynamic updates.
type updater struct {
	server, zone string
	key, alg     string
	keys         map[string]string // key name -> secret; nil without TSIG
}

var tsigAlgorithms = map[string]string{
	"": mdns.HmacSHA256, "hmac-sha256": mdns.HmacSHA256, "hmac-sha384": mdns.HmacSHA384, "hmac-sha512": mdns.HmacSHA512,
}

func (c *RFC2136) check() error {
	if err := checkHostPort(c.Server); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if _, ok := mdns.IsDomainName(c.Zone); !ok && c.Zone != "" {
		return fmt.Errorf("zone %q is not a domain name", c.Zone)
	}
	if _, ok := tsigAlgorithms[c.Algorithm]; !ok {
		return fmt.Errorf("algorithm %q is not known; write hmac-sha256, hmac-sha384 or hmac-sha512", c.Algorithm)
	}
	if c.KeyName == "" || c.Secret.IsZero() {
		return errors.New("needs key_name and secret: updates without a signature could be anyone's")
	}
	if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(c.Secret.Reveal())); err != nil || len(b) == 0 {
		return fmt.Errorf("the key that %s refers to is not in base64", c.Secret)
	}
	return nil
}

func newUpdater(c *RFC2136) *updater {
	u := &updater{server: c.Server, key: mdns.CanonicalName(c.KeyName), alg: tsigAlgorithms[c.Algorithm]}
	if c.Zone != "" {
		u.zone = mdns.CanonicalName(c.Zone)
	}
	u.keys = map[string]string{u.key: strings.TrimSpace(c.Secret.Reveal())}
	return u
}

func (u *updater) Servers() []string { return []string{u.server} }

func (u *updater) Add(ctx context.Context, name, value string) error {
	return u.update(ctx, name, value, (*mdns.Msg).Insert)
}

func (u *updater) Remove(ctx context.Context, name, value string) error {
	return u.update(ctx, name, value, (*mdns.Msg).Remove)
}

func (u *updater) update(ctx context.Context, name, value string, change func(*mdns.Msg, []mdns.RR)) error {
	zone, err := u.zoneOf(ctx, name)
	if err != nil {
		return err
	}
	m := new(mdns.Msg).SetUpdate(zone)
	change(m, []mdns.RR{&mdns.TXT{Hdr: mdns.RR_Header{Name: name, Rrtype: mdns.TypeTXT, Class: mdns.ClassINET, Ttl: 60}, Txt: []string{value}}})
	m.SetTsig(u.key, u.alg, 300, time.Now().Unix())
	answer, err := exchange(ctx, u.server, m, u.keys)
	if err != nil {
		return err
	}
	if answer.Rcode != mdns.RcodeSuccess {
		return fmt.Errorf("%s refused the update of %s: %s", u.server, zone, mdns.RcodeToString[answer.Rcode])
	}
	return nil
}

// zoneOf is the zone that holds a name, as configured or as the server says in
// the SOA record of its answer.
func (u *updater) zoneOf(ctx context.Context, name string) (string, error) {
	if u.zone != "" {
		if !mdns.IsSubDomain(u.zone, name) {
			return "", fmt.Errorf("%s is not in the zone %s", name, u.zone)
		}
		return u.zone, nil
	}
	answer, err := exchange(ctx, u.server, new(mdns.Msg).SetQuestion(name, mdns.TypeSOA), nil)
	if err != nil {
		return "", err
	}
	for _, rr := range append(answer.Answer, answer.Ns...) {
		if soa, ok := rr.(*mdns.SOA); ok && mdns.IsSubDomain(soa.Hdr.Name, name) {
			return mdns.CanonicalName(soa.Hdr.Name), nil
		}
	}
	return "", fmt.Errorf("%s names no zone for %s (%s); write zone", u.server, name, mdns.RcodeToString[answer.Rcode])
}
