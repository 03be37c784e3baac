package middleware

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
)

// BenchmarkChain is everything that this package adds to a request, with and
// without the access log, in front of a handler that does nothing.
func BenchmarkChain(b *testing.B) {
	chain := Chain{
		Allow: unit.List{"nra"}, Methods: unit.List{"GET"}, RateLimit: RateLimits{{Rate: parsed[unit.Rate](b, "1000000000/s"), Per: "organization"}},
		MaxBody: parsed[unit.Size](b, "10MiB"), Concurrency: Concurrencies{{Max: 1000}}, Headers: &Headers{Response: HeaderChange{Set: map[string]string{"X-Frame-Options": "DENY"}}},
	}
	for _, c := range []struct {
		name  string
		chain Chain
		log   bool
	}{{"observed", Chain{}, false}, {"observed and logged", Chain{}, true}, {"policies", chain, false}, {"policies and log", chain, true}} {
		b.Run(c.name, func(b *testing.B) {
			env := testEnv(b)
			o := NewObserver(ObserverOptions{Metrics: env.Metrics, Log: env.Log})
			defer o.Close()
			if c.log {
				logs, err := o.OpenLogs(RequestLog{Output: filepath.Join(b.TempDir(), "access.log")})
				if err != nil {
					b.Fatal(err)
				}
				o.Use(logs, nil)
			}
			var end http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
			wrap, err := c.chain.Build(env)
			if err != nil {
				b.Fatal(err)
			}
			if wrap != nil {
				end = wrap(end)
			}
			h := o.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := RecordOf(r.Context())
				rec.Host, rec.Path, rec.Service, rec.Route, rec.Organization = "parcels.example", "/v1/parcels", "parcels", "parcels", "nra"
				rec.Identity = certs.Identity{Organization: "nra"}
				end.ServeHTTP(w, r)
			}))
			r := httptest.NewRequest("GET", "/v1/parcels", nil)
			r = r.WithContext(WithConn(r.Context(), &Conn{Listener: ":443", Protocol: "h2", Peer: netip.MustParseAddrPort("203.0.113.7:4000")}))
			w := &discarded{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}
