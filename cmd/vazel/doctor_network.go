package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/gateway/store"
)

func networkChecks(t trust) []check {
	var l []check
	for _, key := range slices.Sorted(maps.Keys(t.config.Trust)) {
		if crl := t.config.Trust[key].CRL; crl != nil {
			l = append(l, check{"revocation list", func(ctx context.Context) []finding { return checkList(ctx, t, key) }})
		}
	}
	if a := t.config.TLS.ACME; a != nil {
		l = append(l, check{"acme", func(ctx context.Context) []finding { return checkDirectory(ctx, *a) }})
	}
	if st := t.config.Store; st != nil {
		l = append(l, check{"store", func(ctx context.Context) []finding { return checkStore(ctx, st) }})
	}
	for _, s := range t.config.Services {
		for _, u := range s.Upstreams {
			l = append(l, check{"upstream", func(ctx context.Context) []finding { return checkUpstream(ctx, s.Name, u, s.Policy.UpstreamTLS) }})
		}
	}
	return l
}

// checkStore finds out whether the server that nodes share can be used.
func checkStore(ctx context.Context, set *store.Settings) []finding {
	subject := strings.Join(set.Redis.Addresses, ", ")
	if err := store.Check(ctx, set); err != nil {
		return []finding{{Subject: subject, Status: statusFail, Message: err.Error(), Mend: "start the server, or mend store.redis; until then limits go by store.on_store_failure"}}
	}
	return []finding{{Subject: subject, Status: statusOK, Message: "it answers, and can be written"}}
}

// checkList gets an organization's list from its source and holds it against the
// policy for one that is stale.
func checkList(ctx context.Context, t trust, key string) []finding {
	if t.set == nil { // the configuration could not be built, which is a finding of its own
		return nil
	}
	var found []finding
	now := time.Now()
	kept := t.set.Status(key, now).Revocation
	for i, st := range t.set.Probe(ctx, key, now) {
		if st.Err != nil {
			k := kept[i]
			f := finding{Subject: key, Status: statusWarn, Message: fmt.Sprintf("%s: %v", st.Source, st.Err), Mend: "open the way to it, or ask the authority; " + modeWords(k)}
			if k.State == "fresh" {
				f.Message += fmt.Sprintf("; the copy in the state folder is good until %s", k.NextUpdate.Format(time.RFC3339))
			} else if k.Mode != "observe" {
				f.Status = statusFail
			}
			found = append(found, f)
			continue
		}
		text := fmt.Sprintf("%s: %d entries, of %s, next by %s", st.Source, st.Entries, st.ThisUpdate.Format(time.RFC3339), st.NextUpdate.Format(time.RFC3339))
		switch {
		case st.State != "fresh" && st.Mode == "observe":
			found = append(found, finding{Subject: key, Status: statusWarn, Message: "stale: " + text, Mend: "ask the authority; " + modeWords(st.ListStatus)})
		case st.State != "fresh":
			found = append(found, finding{Subject: key, Status: statusFail, Message: "stale: " + text, Mend: "ask the authority; " + modeWords(st.ListStatus)})
		case st.NextUpdate.Sub(now) < st.NextUpdate.Sub(st.ThisUpdate)/10:
			found = append(found, finding{Subject: key, Status: statusWarn, Message: "soon stale: " + text, Mend: "ask the authority whether it still issues lists"})
		default:
			found = append(found, finding{Subject: key, Status: statusOK, Message: text})
		}
	}
	for _, c := range t.config.Trust[key].CRL {
		if c.URL != "" {
			found = append(found, compareClock(ctx, c.URL, nil)...)
		}
	}
	return found
}

func modeWords(l certs.ListStatus) string {
	switch l.Mode {
	case "observe":
		return "the organization is let in without a fresh list (revocation mode observe)"
	case "grace":
		return "the organization is refused when the grace of its stale list is over"
	}
	return "the organization is refused while there is no fresh list"
}

// httpClient is one for a few requests.
func httpClient(roots *x509.CertPool) *http.Client {
	return &http.Client{Timeout: checkTime, Transport: &http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
}

// compareClock holds the clock against the Date of a web server. Nothing is said
// of one that can't be asked.
func compareClock(ctx context.Context, address string, roots *x509.CertPool) []finding {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return nil
	}
	resp, err := httpClient(roots).Do(req)
	if err != nil {
		return nil
	}
	resp.Body.Close()
	return clockFinding(req.URL.Host, resp.Header.Get("Date"), time.Now())
}

func clockFinding(host, date string, now time.Time) []finding {
	there, err := http.ParseTime(date)
	if err != nil {
		return nil
	}
	off := now.Sub(there).Round(time.Second)
	f := finding{Check: "clock", Subject: "against " + host, Status: statusOK, Message: fmt.Sprintf("%s apart", off.Abs())}
	switch {
	case off.Abs() > 5*time.Minute:
		f.Status = statusFail
	case off.Abs() > 30*time.Second:
		f.Status = statusWarn
	default:
		return []finding{f}
	}
	f.Message = fmt.Sprintf("this machine is %s ahead of it", off)
	if off < 0 {
		f.Message = fmt.Sprintf("this machine is %s behind it", -off)
	}
	f.Mend = "run chrony or systemd-timesyncd; validity of certificates is a matter of the clock"
	return []finding{f}
}

// checkDirectory asks an ACME directory what it offers (RFC 8555, 7.1.1).
func checkDirectory(ctx context.Context, a certs.ACME) []finding {
	f := finding{Subject: a.Directory, Status: statusFail, Mend: "open the way to it (https); certificates that are there are served until they end"}
	var roots *x509.CertPool
	if a.CA != "" {
		b, err := os.ReadFile(a.CA)
		roots = x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(b) {
			f.Message, f.Mend = fmt.Sprintf("tls.acme.ca: %s holds no certificate that can be read", a.CA), ""
			return []finding{f}
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Directory, nil)
	if err != nil {
		f.Message = err.Error()
		return []finding{f}
	}
	resp, err := httpClient(roots).Do(req)
	if err != nil {
		f.Message = err.Error()
		return []finding{f}
	}
	defer resp.Body.Close()
	var directory struct {
		NewOrder string `json:"newOrder"`
		Meta     struct {
			ExternalAccountRequired bool              `json:"externalAccountRequired"`
			Profiles                map[string]string `json:"profiles"`
		} `json:"meta"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&directory); err != nil || resp.StatusCode != http.StatusOK || directory.NewOrder == "" {
		f.Message, f.Mend = "answered "+resp.Status+", but not as an ACME directory does", "check tls.acme.directory"
		return []finding{f}
	}
	found := []finding{{Subject: a.Directory, Status: statusOK, Message: "is an ACME directory and answers"}}
	if directory.Meta.ExternalAccountRequired && a.EAB.KeyID == "" {
		found = append(found, finding{Subject: a.Directory, Status: statusFail, Message: "it demands an external account binding", Mend: "set tls.acme.eab"})
	}
	if _, ok := directory.Meta.Profiles[a.Profile]; a.Profile != "" && !ok {
		found = append(found, finding{Subject: a.Directory, Status: statusFail, Message: fmt.Sprintf("it has no profile %q", a.Profile), Mend: "it has: " + strings.Join(slices.Sorted(maps.Keys(directory.Meta.Profiles)), ", ")})
	}
	return append(found, clockFinding(req.URL.Host, resp.Header.Get("Date"), time.Now())...)
}

// checkUpstream resolves an upstream's name and connects to each of its servers.
func checkUpstream(ctx context.Context, service, raw string, u *proxy.UpstreamTLS) []finding {
	subject := service + " " + raw
	bad := func(format string, a ...any) finding {
		return finding{Subject: subject, Status: statusFail, Message: fmt.Sprintf(format, a...), Mend: "requests to it will be answered 502"}
	}
	where, err := url.Parse(raw)
	if err != nil {
		return []finding{bad("%v", err)}
	}
	scheme, srv := strings.CutPrefix(where.Scheme, "srv+")
	type server struct{ host, port string }
	var servers []server
	if srv {
		_, records, err := net.DefaultResolver.LookupSRV(ctx, "", "", where.Hostname())
		if err != nil {
			return []finding{bad("%v", err)}
		}
		for _, r := range records {
			servers = append(servers, server{strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))})
		}
	} else {
		port := where.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[scheme]
		}
		servers = append(servers, server{where.Hostname(), port})
	}
	var found []finding
	reached := 0
	for _, s := range servers[:min(len(servers), 8)] {
		addresses, err := net.DefaultResolver.LookupHost(ctx, s.host)
		if err != nil {
			found = append(found, bad("%v", err))
			continue
		}
		for _, a := range addresses[:min(len(addresses), 8)] {
			name := s.host
			if u != nil && u.ServerName != "" {
				name = u.ServerName
			}
			if err := reach(ctx, net.JoinHostPort(a, s.port), scheme == "https", name, u); err != nil {
				found = append(found, bad("%v", err))
				continue
			}
			reached++
		}
	}
	if reached > 0 {
		for i := range found { // the others serve
			found[i].Status, found[i].Mend = statusWarn, "requests go to the servers that can be reached"
		}
		what := "accept connections"
		if scheme == "https" {
			what = "accept connections and prove who they are"
		}
		found = append([]finding{{Subject: subject, Status: statusOK, Message: fmt.Sprintf("%d servers %s", reached, what)}}, found...)
	}
	return found
}

// reach connects to a server, and for https makes sure of it as the gateway does.
func reach(ctx context.Context, address string, https bool, name string, u *proxy.UpstreamTLS) error {
	c, err := (&net.Dialer{Timeout: checkTime * 4 / 5}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if !https {
		return nil
	}
	conf := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if u != nil && u.CA != "" {
		conf.RootCAs = x509.NewCertPool()
		for _, ca := range readCertificates(u.CA) {
			conf.RootCAs.AddCert(ca)
		}
	}
	if u != nil && u.Cert != "" {
		pair, _, err := certs.LoadKeyPair(u.KeyPair)
		if err != nil {
			return err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if err := tls.Client(c, conf).HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%s: TLS: %w", address, err)
	}
	return nil
}
