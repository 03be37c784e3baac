package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector reports on the live set when it is asked, so that no series
// outlives what it is about.
type collector struct {
	m *Manager

	notAfter, notBefore, info, fileValid, staple, listNext, listSuccess, listEntries, listFresh, mode, answers *prometheus.Desc
}

func newCollector(m *Manager) *collector {
	cert := []string{"kind", "name"}
	ca := []string{"ca"}
	return &collector{
		m:           m,
		notAfter:    prometheus.NewDesc("vazel_certificate_not_after_timestamp_seconds", "End of the certificate's validity. Kind client: of the certificates that proved an organization within 35 days and were not replaced, the one that ends first.", cert, nil),
		notBefore:   prometheus.NewDesc("vazel_certificate_not_before_timestamp_seconds", "Begin of the certificate's validity.", cert, nil),
		info:        prometheus.NewDesc("vazel_certificate_info", "The certificate that is in use under a configured name.", []string{"kind", "name", "issuer", "serial", "sha256"}, nil),
		fileValid:   prometheus.NewDesc("vazel_certificate_file_valid", "Whether the certificate of tls.certificates is served as its files are; 0: they can't be used, and the former one is served.", []string{"name"}, nil),
		staple:      prometheus.NewDesc("vazel_ocsp_staple_next_update_timestamp_seconds", "nextUpdate of the OCSP answer that was got last for a server certificate whose issuer names a responder; 0: none yet. In the past: no longer shown.", []string{"name"}, nil),
		listNext:    prometheus.NewDesc("vazel_revocation_list_next_update_timestamp_seconds", "nextUpdate of the revocation list.", ca, nil),
		listSuccess: prometheus.NewDesc("vazel_revocation_list_last_success_timestamp_seconds", "When the revocation list was got last.", ca, nil),
		listEntries: prometheus.NewDesc("vazel_revocation_list_entries", "Certificates on the revocation list.", ca, nil),
		listFresh:   prometheus.NewDesc("vazel_revocation_list_fresh", "1 while there is a revocation list that is not stale; 0 while it is stale, or none has been got yet.", ca, nil),
		mode:        prometheus.NewDesc("vazel_revocation_mode_info", "What happens to certificates whose revocation status is not known: require, grace or observe.", []string{"ca", "mode"}, nil),
		answers:     prometheus.NewDesc("vazel_ocsp_certificates", "Certificates that OCSP is asked about, by what is known of them (good, revoked, unknown).", []string{"ca", "status"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.notAfter, c.notBefore, c.info, c.fileValid, c.staple, c.listNext, c.listSuccess, c.listEntries, c.listFresh, c.mode, c.answers} {
		ch <- d
	}
	for _, v := range []prometheus.Collector{c.m.lists.fetches, c.m.lists.unknown, c.m.responders.requests, c.m.acme.renewals, c.m.acme.renewed, c.m.acme.unavailable} {
		v.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, v := range []prometheus.Collector{c.m.lists.fetches, c.m.lists.unknown, c.m.responders.requests, c.m.acme.renewals, c.m.acme.renewed, c.m.acme.unavailable} {
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
	server := func(name string, x *stapled) {
		if x == nil || seen[[2]string{"server", name}] {
			return
		}
		one("server", name, x.pair.Leaf)
		if x.responder != "" {
			ch <- prometheus.MustNewConstMetric(c.staple, prometheus.GaugeValue, float64(x.next.Load()), name)
		}
	}
	for _, f := range s.certificates {
		if !seen[[2]string{"server", f.name}] {
			valid := 1.0
			if f.bad != nil {
				valid = 0
			}
			ch <- prometheus.MustNewConstMetric(c.fileValid, prometheus.GaugeValue, valid, f.name)
		}
		server(f.name, f.stapled)
	}
	for _, host := range s.acmeHosts {
		server(host, c.m.acme.heldFor(host))
	}
	for _, o := range s.others {
		one(o.kind, o.name, o.cert)
	}
	now := time.Now()
	for _, o := range s.organizations {
		if x, ok := soonest(c.m.Seen(o.key, now)); ok {
			ch <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(x.NotAfter.Unix()), "client", o.key)
			ch <- prometheus.MustNewConstMetric(c.notBefore, prometheus.GaugeValue, float64(x.NotBefore.Unix()), "client", o.key)
			ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, "client", o.key, x.IssuerCN, x.Serial, x.SHA256)
		}
		for i, ca := range o.cas {
			one("ca", numbered(o.key, i), ca)
		}
		c.revocation(ch, o)
	}
}

// revocation reports how the lists and answers of an organization stand.
func (c *collector) revocation(ch chan<- prometheus.Metric, o *organization) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if len(o.lists) > 0 || o.responder != nil {
		gauge(c.mode, 1, o.key, o.revocation.mode)
	}
	for i, l := range o.lists {
		name, fresh := numbered(o.key, i), 0.0
		if s := l.state.Load(); s != nil {
			gauge(c.listNext, float64(s.next.Unix()), name)
			gauge(c.listSuccess, float64(s.fetched.Unix()), name)
			gauge(c.listEntries, float64(s.revoked.len()), name)
			if l.stale(s, time.Now()) == "" {
				fresh = 1
			}
		}
		gauge(c.listFresh, fresh, name)
	}
	if o.responder != nil {
		good, revoked, unknown := o.responder.count()
		gauge(c.answers, float64(good), o.key, "good")
		gauge(c.answers, float64(revoked), o.key, "revoked")
		gauge(c.answers, float64(unknown), o.key, "unknown")
	}
}
