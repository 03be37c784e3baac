package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/quic-go/quic-go"

	"github.com/vazel-gateway/vazel/certs"
)

// organization is what operators are told of one organization.
func (n *node) organization(key string) OrganizationStatus {
	n.t.Helper()
	all, err := n.gateway.Organizations()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, o := range all.Organizations {
		if o.Key == key {
			return o
		}
	}
	n.t.Fatalf("no organization %q", key)
	return OrganizationStatus{}
}

func TestOrganizations(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	nra, sofia := n.client(n.orgCA, "NTRBG-100000003"), n.client(n.orgCA, "NTRBG-100000004")
	stranger := n.client(n.otherCA, "NTRBG-100000003")
	for _, p := range protocols {
		c := n.dial(p, "inner.example", nra)
		for range 3 { // on one connection
			if r, b := n.do(c, "GET", "https://inner.example/", nil); r.StatusCode != 200 {
				t.Fatalf("%s: got %d %s", p, r.StatusCode, b)
			}
		}
		n.do(n.dial(p, "inner.example", sofia), "GET", "https://inner.example/", nil)
		n.do(n.dial(p, "inner.example", stranger), "GET", "https://inner.example/", nil)
		n.do(n.dial(p, "inner.example", nil), "GET", "https://inner.example/", nil)
	}
	o := n.organization("nra")
	if len(o.Certificates) != 1 || o.Certificates[0].SHA256 == "" || o.Certificates[0].NotAfter != nra.Leaf.NotAfter.UTC() {
		t.Errorf("got certificates %+v, want nra's one", o.Certificates)
	}
	if got := o.Usage.KeyExchange["X25519MLKEM768"]; got != 3 || *o.PostQuantum != 1 {
		t.Errorf("got key exchange %v, want one for each of three connections", o.Usage.KeyExchange)
	}
	if got := o.Usage.Requests["ok"]; got != 9 {
		t.Errorf("got requests %v, want 9", o.Usage.Requests)
	}
	if got := o.Usage.Refusals["wrong_organization"]; got != 3 { // they only claim to be nra
		t.Errorf("got refusals %v, want those of whoever claims to be it", o.Usage.Refusals)
	}
	if time.Since(o.LastSeen) > time.Minute {
		t.Errorf("last seen %s", o.LastSeen)
	}
	if len(o.MayCall) != 2 || o.MayCall[0].Service != "inner" {
		t.Errorf("may call %+v, want both routes of inner", o.MayCall)
	}
	s := n.organization("sofia")
	if s.Usage.Refusals["not_allowed"] != 3 || len(s.Certificates) != 1 || len(s.MayCall) != 1 {
		t.Errorf("sofia: got %+v", s)
	}
	if m := n.organization("meu"); len(m.Certificates) != 0 || m.PostQuantum != nil || !m.LastSeen.IsZero() {
		t.Errorf("meu never came: got %+v", m)
	}
	if n.metric(`vazel_certificate_not_after_timestamp_seconds{kind="client",name="nra"}`) == "" || n.metric(`vazel_certificate_not_after_timestamp_seconds{kind="client",name="meu"}`) != "" {
		t.Error("the calendar shows who came, and only them")
	}
	if got := n.metric(`vazel_organization_last_request_timestamp_seconds{organization="sofia"}`); got != "" {
		t.Errorf("sofia had no successful request, got %s", got)
	}
	all, err := n.gateway.Organizations()
	if err != nil || all.Unknown["no_client_cert"] != 3 {
		t.Errorf("got refusals of unknown callers %v, %v", all.Unknown, err)
	}
	problems, err := testutil.GatherAndLint(n.reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestPartnerCalendar: what was seen stays known after a restart, and a renewed
// certificate takes the place of the former one.
func TestPartnerCalendar(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	now := time.Now()
	call := func(days int) {
		t.Helper()
		cert := n.clientOf(n.orgCA, certs.ClientSpec{CN: "system", OrganizationID: "NTRBG-100000003", NotAfter: now.AddDate(0, 0, days)})
		if r, b := n.do(n.dial("h2", "inner.example", cert), "GET", "https://inner.example/", nil); r.StatusCode != 200 {
			t.Fatalf("got %d %s", r.StatusCode, b)
		}
	}
	left := func() int {
		for _, c := range n.organization("nra").Certificates {
			if !c.Replaced {
				return int(c.NotAfter.Sub(now).Round(24*time.Hour) / (24 * time.Hour))
			}
		}
		return 0
	}
	call(5)
	if got := left(); got != 5 {
		t.Errorf("got %d days, want 5", got)
	}
	call(90)
	if got := left(); got != 90 {
		t.Errorf("after the renewal: got %d days, want 90", got)
	}
	n.stop()
	again, err := New(Options{Log: n.gateway.log, Registerer: prometheus.NewRegistry(), StateDir: n.dir + "/state"})
	if err != nil {
		t.Fatal(err)
	}
	if l := again.certs.Seen("nra", now); len(l) != 2 {
		t.Errorf("after a restart: got %+v, want both certificates", l)
	}
}

func TestQUICHandshakesThatFail(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dial := func(conf *tls.Config) error {
		c, err := quic.DialAddr(ctx, n.https, conf, nil)
		if err == nil {
			c.CloseWithError(0, "")
		}
		return err
	}
	if err := dial(&tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{"nothing"}}); err == nil {
		t.Fatal("got a connection without a common protocol")
	}
	if err := dial(&tls.Config{ServerName: "open.example", NextProtos: []string{"h3"}}); err == nil { // trusts nobody
		t.Fatal("got a connection although the client does not trust the gateway")
	}
	n.eventually(`vazel_tls_handshake_errors_total{listener="`+n.https+`",reason="no_shared_cipher"}`, "1")
	n.eventually(`vazel_tls_handshake_errors_total{listener="`+n.https+`",reason="client_alert"}`, "1")

	// A version that nobody speaks (RFC 9000, 15).
	c, err := net.Dial("udp", n.https)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packet := make([]byte, 1200)
	copy(packet, []byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0})
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
	n.eventually(`vazel_quic_events_total{event="version_negotiation",listener="`+n.https+`"}`, "1")

	n.do(n.dial("h3", "open.example", nil), "GET", "https://open.example/", nil)
	n.eventually(`vazel_tls_handshake_duration_seconds_count{listener="`+n.https+`"}`, "1")
}

// eventually waits until a series has a value.
func (n *node) eventually(series, want string) {
	n.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n.metric(series) != want {
		select {
		case <-tick.C:
		case <-deadline:
			n.t.Fatalf("%s: got %q, want %q", series, n.metric(series), want)
		}
	}
}
