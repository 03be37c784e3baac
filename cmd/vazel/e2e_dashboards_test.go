//go:build e2e

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/vazel-gateway/vazel/dashboards"
)

// watched is the demo's node with two more services, one of them failing, and
// everybody who calls.
type watched struct {
	t       *testing.T
	dir     string
	https   int
	admin   int
	program string
	clients map[string]*http.Client // by organization; "" proves none
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, dir: t.TempDir(), https: port(t), admin: port(t), program: bin, clients: map[string]*http.Client{}}
	p := start(t, w.dir, bin, "demo", "-dir", w.dir, "-https", fmt.Sprint(w.https), "-http", fmt.Sprint(port(t)), "-admin", fmt.Sprint(w.admin))
	until(t, "the demo", func() bool { return strings.Contains(p.log.String(), "Ctrl-C") })

	var n atomic.Int64
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		i := n.Add(1)
		select {
		case <-time.After(time.Duration(i%8) * 40 * time.Millisecond):
		case <-r.Context().Done():
		}
		if i%23 == 0 {
			rw.WriteHeader(http.StatusInternalServerError)
		}
		if r.URL.Path == "/all.zip" {
			rw.Header().Set("Content-Type", "application/zip")
			rw.Write(make([]byte, 2<<20))
			return
		}
		rw.Write(bytes.Repeat([]byte("x"), int(i%50)*400))
	}))
	t.Cleanup(slow.Close)
	w.write("conf.d/50-more.yaml", fmt.Sprintf(`services:
  addresses:
    owner: agkk
    hosts: [addresses.gis.egov.example]
    upstreams: [%q]
    use: open-data
    slo: inspire-download
    cache: {}
  archive:
    owner: meu
    hosts: [archive.data.egov.example]
    upstreams: ["http://127.0.0.1:%d"]
    waf: {mode: "off"}
`, slow.URL, port(t)))

	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(w.dir, "pki/server-ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("no authority: %v", err)
	}
	for _, name := range []string{"", "meu", "agkk", "nra", "sofia", "nra-expired", "stranger"} {
		conf := &tls.Config{RootCAs: roots}
		if name != "" {
			pair, err := tls.LoadX509KeyPair(filepath.Join(w.dir, "pki/clients", name+".pem"), filepath.Join(w.dir, "pki/clients", name+".key"))
			if err != nil {
				t.Fatal(err)
			}
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		w.clients[name] = w.client(conf, name == "sofia")
	}
	return w
}

// client reaches the node under any name, over HTTP/2 or HTTP/3.
func (w *watched) client(conf *tls.Config, h3 bool) *http.Client {
	address := fmt.Sprintf("127.0.0.1:%d", w.https)
	if h3 {
		tr := &http3.Transport{TLSClientConfig: conf, Dial: func(ctx context.Context, host string, c *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, address, c, qc)
		}}
		w.t.Cleanup(func() { tr.Close() })
		return &http.Client{Transport: tr, Timeout: 10 * time.Second}
	}
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// write changes a file of the configuration as an editor does; the node sees it.
func (w *watched) write(name, text string) {
	w.t.Helper()
	to := filepath.Join(w.dir, name)
	if err := os.WriteFile(to+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		w.t.Fatal(err)
	}
}

// ask sends one request; what it is answered is of no interest here.
func (w *watched) ask(who, method, at string, body string) {
	r, err := http.NewRequest(method, "https://"+at, strings.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return
	}
	resp, err := w.clients[who].Do(r)
	if err != nil {
		return // closed on purpose, some of them
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// round is what happens twice a second.
func (w *watched) round(i int) {
	attack := "?q=" + url.QueryEscape("1' UNION SELECT password FROM users--")
	var wg sync.WaitGroup
	for who, asks := range map[string][]string{
		"":      {"data.egov.example/api/3/action/package_search?q=budget", "data.egov.example/dataset/budget/download.csv", "gis.egov.example/wms?service=WMS&request=GetMap&layers=places&width=300&height=200", fmt.Sprintf("addresses.gis.egov.example/?n=%d", i), "addresses.gis.egov.example/streets"},
		"nra":   {"registries.egov.example/companies/200000001", "registries.egov.example/whoami", "registries.egov.example/bulk", "parcels.gis.egov.example/wms?service=WMS&request=GetCapabilities"},
		"sofia": {"registries.egov.example/companies/200000001", "parcels.gis.egov.example/wms?service=WMS&request=GetMap&layers=places&width=300&height=200"},
		"agkk":  {"registries.egov.example/companies/200000001"},
		"meu":   {"publish.data.egov.example/api/3/action/package_list"},
	} {
		wg.Go(func() {
			for _, at := range asks {
				w.ask(who, "GET", at, "")
			}
			switch {
			case who == "nra" && i%3 == 0:
				w.ask(who, "GET", "registries.egov.example/bulk", "")
				w.ask(who, "GET", "parcels.gis.egov.example/wms"+attack, "")
			case who == "meu" && i%4 == 0:
				w.ask(who, "GET", "registries.egov.example/", "") // not allowed
				w.ask(who, "POST", "publish.data.egov.example/upload", strings.Repeat("data", 500))
			case who == "" && i%3 == 0:
				w.ask(who, "GET", "data.egov.example/api/3/action/package_search"+attack, "")
				w.ask(who, "GET", "registries.egov.example/", "") // no certificate
				w.ask(who, "GET", "archive.data.egov.example/", "")
				w.ask(who, "GET", "addresses.gis.egov.example/all.zip", "")
				w.ask(who, "GET", "nobody.data.egov.example/", "")
				w.ask("nra-expired", "GET", "registries.egov.example/", "")
				w.ask("stranger", "GET", "registries.egov.example/", "")
			}
		})
	}
	if i%5 == 0 { // a client that does not trust the gateway's certificate
		if c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.https), &tls.Config{ServerName: "data.egov.example"}); err == nil {
			c.Close()
			w.t.Error("a certificate of an unknown authority was believed")
		}
	}
	wg.Wait()
	if i%2 == 0 {
		w.clients[""].CloseIdleConnections() // the next round shakes hands again
	}
}

// run lets traffic pass for a while. In between a configuration is refused, then
// inspection is made weaker, and a certificate is revoked.
func (w *watched) run(while time.Duration) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	rounds := int(while / (500 * time.Millisecond))
	for i := range rounds {
		w.round(i)
		switch i {
		case rounds / 4:
			w.write("conf.d/60-mistake.yaml", "services: {broken: {hosts: [broken.data.egov.example]}}\n")
		case rounds / 3:
			if err := os.Remove(filepath.Join(w.dir, "conf.d/60-mistake.yaml")); err != nil {
				w.t.Fatal(err)
			}
		case rounds / 2:
			b, err := os.ReadFile(filepath.Join(w.dir, "conf.d/30-spatial-data.yaml"))
			if err != nil {
				w.t.Fatal(err)
			}
			w.write("conf.d/30-spatial-data.yaml", strings.Replace(string(b), "    use: open-data\n", "    use: open-data\n    waf: {mode: detect}\n", 1))
		case rounds * 3 / 4:
			if out, err := exec.Command(w.program, "certs", "dev", "-dir", filepath.Join(w.dir, "pki"), "-revoke", "clients/agkk").CombinedOutput(); err != nil {
				w.t.Fatalf("%v: %s", err, out)
			}
		}
		<-tick.C
	}
}

// page is what the test reads of a dashboard.
type page struct {
	Panels []struct {
		Title, Type, Description string
		Targets                  []struct {
			Expr       string
			Instant    bool
			Datasource struct{ Type string }
		}
	}
	Annotations struct{ List []struct{ Name, Expr string } }
	Templating  struct {
		List []struct {
			Name  string
			Query json.RawMessage
		}
	}
}

var (
	grafanaVariable = regexp.MustCompile(`\$(route|organization|policy|upstream)\b`)
	labelValues     = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
)

// resolved is a query as Grafana sends it for the last minute, all selected.
func resolved(q string) string {
	q = strings.NewReplacer("$job", "vazel", "$instance", ".+", "$__rate_interval", "5s", "$__range", "60s", "$__interval", "5s").Replace(q)
	return grafanaVariable.ReplaceAllString(q, ".*")
}

// TestE2EDashboards runs every query of every dashboard in a real Prometheus that
// watches a node with all kinds of traffic. Each has to find something, but those
// of panels that say why they may be empty.
func TestE2EDashboards(t *testing.T) {
	t.Parallel()
	need(t, "prometheus", "prometheus")
	w := newWatched(t)
	p := newPrometheus(t, w.admin)
	w.run(25 * time.Second)

	now := time.Now()
	span := url.Values{"start": {fmt.Sprint(now.Add(-time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix())}}
	queries := 0
	ask := func(t *testing.T, what, expr string, instant, empty bool) {
		queries++
		path, form := "query", url.Values{"query": {resolved(expr)}}
		if !instant {
			path, form["start"], form["end"], form["step"] = "query_range", span["start"], span["end"], []string{"1"}
		}
		n, err := p.samples(path, form)
		if err != nil {
			t.Errorf("%s: %v: %s", what, err, form.Get("query"))
		} else if n == 0 && !empty {
			t.Errorf("%s: no data: %s", what, form.Get("query"))
		}
	}
	files, err := fs.Glob(dashboards.Files, "grafana/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
			b, err := dashboards.Files.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var d page
			if err := json.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
			for _, v := range d.Templating.List {
				var q struct{ Query string }
				if json.Unmarshal(v.Query, &q) != nil || q.Query == "" {
					continue // of data sources, and for typing in
				}
				queries++
				m := labelValues.FindStringSubmatch(q.Query)
				if m == nil {
					t.Errorf("variable %s: %s", v.Name, q.Query)
					continue
				}
				var values []string
				if err := p.get("label/"+m[2]+"/values", url.Values{"match[]": {resolved(m[1])}}, &values); err != nil || len(values) == 0 {
					t.Errorf("variable %s has the values %v (%v)", v.Name, values, err)
				}
			}
			for _, a := range d.Annotations.List {
				ask(t, "annotation "+a.Name, a.Expr, false, false)
			}
			for _, panel := range d.Panels {
				for _, q := range panel.Targets {
					if q.Datasource.Type == "prometheus" {
						empty := strings.Contains(panel.Description, " Empty: ") && !strings.Contains(panel.Description, "has slo.") // two services have
						ask(t, panel.Title, q.Expr, q.Instant, empty)
					}
				}
			}
		})
	}
	if queries < 200 {
		t.Errorf("asked %d queries", queries)
	}
	t.Run("questions", func(t *testing.T) { p.questions(t) })
	p.healthy(t)
}

// questions asks the overview what an operator wants to know first: the mix has an
// answer to each.
func (p *monitor) questions(t *testing.T) {
	b, err := dashboards.Files.ReadFile("grafana/vazel-overview.json")
	if err != nil {
		t.Fatal(err)
	}
	var d page
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	// rows are the answers to a query of a panel: the values by the labels that are asked for.
	rows := func(title string, query int, labels ...string) map[string]float64 {
		for _, panel := range d.Panels {
			if !strings.HasPrefix(panel.Title, title) {
				continue
			}
			api := &prometheusAPI{p.url, p.client}
			samples, err := api.query(t.Context(), resolved(panel.Targets[query].Expr), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]float64{}
			for _, s := range samples {
				var words []string
				for _, l := range labels {
					words = append(words, s.labels[l])
				}
				all[strings.Join(words, " ")] = s.value
			}
			return all
		}
		t.Fatalf("the overview has no panel %q", title)
		return nil
	}
	who := rows("Who is refused", 0, "organization", "reason", "route")
	for _, want := range []string{"nra limited registries/bulk", "nra expired ", "_unknown no_client_cert ", "meu unauthorized registries", "meu blocked open-data-publishing"} {
		if who[want] < 1 {
			t.Errorf("who is refused, and why: no %q in %v", want, who)
		}
	}
	ends := rows("Ends next", 0, "kind", "name")
	if len(ends) != 5 || ends["client nra"] <= 0 {
		t.Errorf("whose certificate ends next: %v", ends)
	}
	took, fault := rows("Services:", 2, "service"), rows("Services:", 4, "service")
	if len(took) < 7 || took["addresses"] < 0.2 {
		t.Errorf("which service is slow: %v", took)
	}
	if fault["addresses"] < 0.5 || fault["addresses"] > 1.1 {
		t.Errorf("whose fault it is: %v", fault)
	}
	if partners := rows("Partners", 0); partners[""] < 1 {
		t.Errorf("whether inspection blocks real users: %v", partners)
	}
	if lost := rows("Lost logs", 0); len(lost) != 1 || lost[""] != 0 {
		t.Errorf("whether logs are complete: %v", lost)
	}
}
