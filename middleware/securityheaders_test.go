package middleware

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
)

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	const csp = "Content-Security-Policy"
	for _, c := range []struct {
		name           string
		p              SecurityHeaders
		upstream, want http.Header
	}{
		{"defaults", SecurityHeaders{}, http.Header{}, http.Header{
			"Strict-Transport-Security": {"max-age=31536000"}, "X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"SAMEORIGIN"},
			"Referrer-Policy": {"strict-origin-when-cross-origin"}, csp: {"frame-ancestors 'self'; base-uri 'self'"},
		}},
		{"a stricter upstream", SecurityHeaders{}, http.Header{
			"Strict-Transport-Security": {"max-age=63072000; includeSubDomains; preload"}, "X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"deny"},
			"Referrer-Policy": {"no-referrer"}, csp: {"default-src 'self'"},
		}, http.Header{
			"Strict-Transport-Security": {"max-age=63072000; includeSubDomains; preload"}, "X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"deny"},
			"Referrer-Policy": {"no-referrer"}, csp: {"default-src 'self'"},
		}},
		{"a laxer upstream", SecurityHeaders{Frame: "deny", Referrer: "same-origin", HSTSSubdomains: true}, http.Header{
			"Strict-Transport-Security": {"max-age=300"}, "X-Content-Type-Options": {"sniff"}, "X-Frame-Options": {"SAMEORIGIN"}, "Referrer-Policy": {"unsafe-url"},
		}, http.Header{
			"Strict-Transport-Security": {"max-age=31536000; includeSubDomains"}, "X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"DENY"},
			"Referrer-Policy": {"same-origin"}, csp: {"frame-ancestors 'none'; base-uri 'self'"},
		}},
		{"an upstream that says who may frame it", SecurityHeaders{}, http.Header{csp: {"frame-ancestors https://portal.example"}}, http.Header{
			"Strict-Transport-Security": {"max-age=31536000"}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"strict-origin-when-cross-origin"},
			csp: {"frame-ancestors https://portal.example"},
		}},
		{"an upstream that lets more frame it than the configuration says", SecurityHeaders{Frame: "deny"}, http.Header{csp: {"default-src *, frame-ancestors 'self'; frame-ancestors 'none'"}}, http.Header{
			"Strict-Transport-Security": {"max-age=31536000"}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"strict-origin-when-cross-origin"},
			csp: {"default-src *, frame-ancestors 'self'; frame-ancestors 'none'", "frame-ancestors 'none'"},
		}},
		{"an upstream that lets fewer frame it than the configuration says", SecurityHeaders{Frame: "sameorigin"}, http.Header{csp: {"frame-ancestors"}}, http.Header{
			"Strict-Transport-Security": {"max-age=31536000"}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"strict-origin-when-cross-origin"},
			csp: {"frame-ancestors"},
		}},
		{"stricter in part", SecurityHeaders{CSP: "off", ContentType: "off", Referrer: "off"}, http.Header{
			"Strict-Transport-Security": {"max-age=300; includeSubDomains;"}, "X-Frame-Options": {"SAMEORIGIN, deny"},
		}, http.Header{"Strict-Transport-Security": {"max-age=31536000; includeSubDomains"}, "X-Frame-Options": {"SAMEORIGIN, deny"}}},
		{"subdomains and preload", SecurityHeaders{CSP: "off", ContentType: "off", Frame: "off", Referrer: "off", HSTSSubdomains: true, HSTS: "1d"},
			http.Header{"Strict-Transport-Security": {"max-age=\"63072000\" ; PRELOAD"}}, http.Header{"Strict-Transport-Security": {"max-age=63072000; includeSubDomains; preload"}}},
		{"a lifetime that browsers don't understand", SecurityHeaders{CSP: "off", ContentType: "off", Frame: "off", Referrer: "off"},
			http.Header{"Strict-Transport-Security": {"max-age=63072000; max-age=63072001"}}, http.Header{"Strict-Transport-Security": {"max-age=31536000"}}},
		{"the first lifetime counts", SecurityHeaders{CSP: "off", ContentType: "off", Frame: "off", Referrer: "off"},
			http.Header{"Strict-Transport-Security": {"max-age=63072000", "max-age=0"}}, http.Header{"Strict-Transport-Security": {"max-age=63072000"}}},
		{"an empty policy", SecurityHeaders{ContentType: "off", HSTS: "off", Referrer: "off"}, http.Header{csp: {" "}}, http.Header{"X-Frame-Options": {"SAMEORIGIN"}, csp: {"frame-ancestors 'self'; base-uri 'self'"}}},
		{"a policy beside the upstream's", SecurityHeaders{CSP: "default-src 'self'", HSTS: "off", ContentType: "off", Frame: "off", Referrer: "off"},
			http.Header{csp: {"script-src 'none'"}}, http.Header{csp: {"script-src 'none'", "default-src 'self'"}}},
		{"off", SecurityHeaders{CSP: "off", HSTS: "off", ContentType: "off", Frame: "off", Referrer: "off"}, http.Header{"X-Frame-Options": {"ALLOWALL"}}, http.Header{"X-Frame-Options": {"ALLOWALL"}}},
		{"the last known referrer policy counts", SecurityHeaders{Referrer: "origin"}, http.Header{"Referrer-Policy": {"no-referrer, unsafe-url, unknown"}, "X-Frame-Options": {"DENY"}}, http.Header{
			"Strict-Transport-Security": {"max-age=31536000"}, "X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"DENY"},
			"Referrer-Policy": {"origin"}, csp: {"frame-ancestors 'self'; base-uri 'self'"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, err := c.p.Build(testEnv(t))
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range c.upstream {
					w.Header()[k] = v
				}
				w.WriteHeader(200)
			})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if got := w.Result().Header; !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

func TestSecurityHeadersRefused(t *testing.T) {
	t.Parallel()
	for _, p := range []SecurityHeaders{{HSTS: "365"}, {ContentType: "sniff"}, {Frame: "allow"}, {Referrer: "never"}, {CSP: "a\nb"}, {CSP: "a, b"}} {
		if _, err := p.Build(testEnv(t)); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}
