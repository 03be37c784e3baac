package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector reports on the live set when it is asked, so that no series
// outlives what it is about.
type collector struct {
	m *Manager

	notAfter, notBefore, info, listNext, listSuccess, listEntries *prometheus.Desc
}

func newCollector(m *Manager) *collector {
	cert := []string{"kind", "name"}
	ca := []string{"ca"}
	return &collector{
		m:           m,
		notAfter:    prometheus.NewDesc("vazel_certificate_not_after_timestamp_seconds", "End of the certificate's validity. Kind client: of the certificates that proved an organization within 35 days and were not replaced, the one that ends first.", cert, nil),
		notBefore:   prometheus.NewDesc("vazel_certificate_not_before_timestamp_seconds", "Begin of the certificate's validity.", cert, nil),
		info:        prometheus.NewDesc("vazel_certificate_info", "The certificate that is in use under a configured name.", []string{"kind", "name", "issuer", "serial", "sha256"}, nil),
		listNext:    prometheus.NewDesc("vazel_revocation_list_next_update_timestamp_seconds", "nextUpdate of the revocation list.", ca, nil),
		listSuccess: prometheus.NewDesc("vazel_revocation_list_last_success_timestamp_seconds", "When the revocation list was got last.", ca, nil),
		listEntries: prometheus.NewDesc("vazel_revocation_list_entries", "Certificates on the revocation list.", ca, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.notAfter, c.notBefore, c.info, c.listNext, c.listSuccess, c.listEntries} {
		ch <- d
	}
	c.m.lists.fetches.Describe(ch)
	c.m.lists.unknown.Describe(ch)
	for _, v := range []prometheus.Collector{c.m.acme.renewals, c.m.acme.renewed, c.m.acme.unavailable} {
		v.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.m.lists.fetches.Collect(ch)
	c.m.lists.unknown.Collect(ch)
	for _, v := range []prometheus.Collector{c.m.acme.renewals, c.m.acme.renewed, c.m.acme.unavailable} {
		v.Collect(ch)
	}
	s := c.m.active.Load()
	if s == nil {
		return
	}
	seen := map[[2]string]bool{}
	one := func(kind, name string, x *x509.Certificate) {
		if x == nil || seen[[2]string{kind, name}] {
			return
		}
		seen[[2]string{kind, name}] = true
		ch <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(x.NotAfter.Unix()), kind, name)
		ch <- prometheus.MustNewConstMetric(c.notBefore, prometheus.GaugeValue, float64(x.NotBefore.Unix()), kind, name)
		sum := sha256.Sum256(x.Raw)
		ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, kind, name, strings.ToValidUTF8(x.Issuer.CommonName, "?"), x.SerialNumber.Text(16), hex.EncodeToString(sum[:]))
	}
	for _, f := range s.certificates {
		one("server", f.name, f.pair.Leaf)
	}
	for _, host := range s.acmeHosts {
		if cert := c.m.acme.held(host); cert != nil {
			one("server", host, cert)
		}
	}
	now := time.Now()
	for _, o := range s.organizations {
		if x, ok := soonest(c.m.Seen(o.key, now)); ok {
			ch <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(x.NotAfter.Unix()), "client", o.key)
			ch <- prometheus.MustNewConstMetric(c.notBefore, prometheus.GaugeValue, float64(x.NotBefore.Unix()), "client", o.key)
			ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, "client", o.key, x.IssuerCN, x.Serial, x.SHA256)
		}
		for i, ca := range o.cas {
			name := o.key
			if i > 0 {
				name += "/" + strconv.Itoa(i+1)
			}
			one("ca", name, ca)
		}
		if o.list == nil {
			continue
		}
		if l := o.list.state.Load(); l != nil {
			ch <- prometheus.MustNewConstMetric(c.listNext, prometheus.GaugeValue, float64(l.next.Unix()), o.key)
			ch <- prometheus.MustNewConstMetric(c.listSuccess, prometheus.GaugeValue, float64(l.fetched.Unix()), o.key)
			ch <- prometheus.MustNewConstMetric(c.listEntries, prometheus.GaugeValue, float64(len(l.revoked)), o.key)
		}
	}
}
