package middleware

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestDenyForms: each form is what its clients can read, with the same status.
func TestDenyForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, form, url, accept, contentType string
		kind                                 string
		want                                 []string
	}{
		{"problem, whatever is accepted", "problem", "/", "text/html", "", "application/problem+json", []string{`"reason":"not_allowed"`}},
		{"page, whatever is accepted", "html", "/", "application/json", "", "text/html; charset=utf-8", []string{"<html lang"}},
		{"auto", "auto", "/", "text/html", "", "text/html; charset=utf-8", nil},
		{"WMS 1.3.0", "ogc", "/?SERVICE=wms&VERSION=1.3.0", "text/html", "", "text/xml; charset=utf-8", []string{`<ServiceExceptionReport version="1.3.0" xmlns="http://www.opengis.net/ogc">`, `code="not_allowed"`}},
		{"WMS 1.1.1", "ogc", "/?service=WMS&version=1.1.1", "", "", "application/vnd.ogc.se_xml; charset=utf-8", []string{`<ServiceExceptionReport version="1.1.1">`}},
		{"WFS 2.0", "ogc", "/?service=WFS&version=2.0.0", "", "", "application/xml; charset=utf-8", []string{`xmlns:ows="http://www.opengis.net/ows/1.1"`, `exceptionCode="not_allowed"`}},
		{"WFS 1.1", "ogc", "/?service=WFS&version=1.1.0", "", "", "application/xml; charset=utf-8", []string{`xmlns:ows="http://www.opengis.net/ows" version="1.0.0"`}},
		{"WFS 2.0, its report", "ogc", "/?service=WFS&version=2.0.0", "", "", "application/xml; charset=utf-8", []string{`version="2.0.0" xml:lang="bg"`}},
		{"WFS 1.0", "ogc", "/?service=WFS&version=1.0.0", "", "", "text/xml; charset=utf-8", []string{`<ServiceExceptionReport version="1.2.0" xmlns="http://www.opengis.net/ogc">`}},
		{"WMS 1.0", "ogc", "/?service=WMS&wmtver=1.0.0", "", "", "application/vnd.ogc.se_xml; charset=utf-8", []string{`<ServiceExceptionReport version="1.1.1">`}},
		{"CSW 2.0.2", "ogc", "/?service=CSW&version=2.0.2", "", "", "application/xml; charset=utf-8", []string{`xmlns:ows="http://www.opengis.net/ows" version="1.0.0" language="bg"`}},
		{"CSW 3.0", "ogc", "/?service=CSW&version=3.0.0", "", "", "application/xml; charset=utf-8", []string{`xmlns:ows="http://www.opengis.net/ows/2.0" version="3.0.0"`}},
		{"WMTS", "ogc", "/?service=WMTS&version=1.0.0", "", "", "application/xml; charset=utf-8", []string{`xmlns:ows="http://www.opengis.net/ows/1.1" version="1.0.0"`}},
		{"no service", "ogc", "/?service=%zz&service=" + strings.Repeat("<", 100), "", "", "application/xml; charset=utf-8", []string{"ows:ExceptionReport"}},
		{"SOAP 1.1", "soap", "/", "", "text/xml; charset=utf-8", "text/xml; charset=utf-8", []string{"http://schemas.xmlsoap.org/soap/envelope/", "<faultcode>env:Client</faultcode>", "urn:vazel:problem:not_allowed"}},
		{"SOAP 1.2", "soap", "/", "", `application/soap+xml; action="x"`, "application/soap+xml; charset=utf-8", []string{"http://www.w3.org/2003/05/soap-envelope", "env:Sender", `xml:lang="bg"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("POST", c.url, nil)
			if c.accept != "" {
				r.Header.Set("Accept", c.accept)
			}
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			r.Header.Set("Accept-Language", "bg")
			id := strings.Repeat("ab", 16)
			rec := &Record{ID: id, Errors: c.form, Client: netip.MustParseAddr("192.0.2.1")}
			w := httptest.NewRecorder()
			Deny(w, r.WithContext(WithRecord(r.Context(), rec)), http.StatusForbidden, Denial{By: "allow", Reason: "not_allowed"})
			body := w.Body.String()
			if w.Code != 403 || w.Header().Get("Content-Type") != c.kind {
				t.Errorf("got %d %s, want 403 %s", w.Code, w.Header().Get("Content-Type"), c.kind)
			}
			for _, want := range append(c.want, id) {
				if !strings.Contains(body, want) {
					t.Errorf("%q is not in\n%s", want, body)
				}
			}
			if strings.Contains(c.kind, "xml") {
				for d := xml.NewDecoder(strings.NewReader(body)); ; {
					if _, err := d.Token(); err == io.EOF {
						break
					} else if err != nil {
						t.Fatalf("%v in\n%s", err, body)
					}
				}
			}
		})
	}
}

func TestMaintenance(t *testing.T) {
	t.Parallel()
	p := &Maintenance{Active: true, RetryAfter: unit.Duration(90 * time.Second), Except: unit.List{"nra"}, English: "Back <soon>.", Bulgarian: "Скоро."}
	f, err := p.Build(testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(organization, accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", accept)
		rec := &Record{ID: "x", Organization: organization}
		w := httptest.NewRecorder()
		f(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") })).ServeHTTP(w, r.WithContext(WithRecord(r.Context(), rec)))
		return w
	}
	if w := ask("", "text/html"); w.Code != 503 || w.Header().Get("Retry-After") != "90" || !strings.Contains(w.Body.String(), "Back &lt;soon&gt;.") || !strings.Contains(w.Body.String(), "Скоро.") {
		t.Errorf("anonymous: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := ask("gccc", ""); w.Code != 503 || !strings.Contains(w.Body.String(), `"reason":"maintenance"`) {
		t.Errorf("another organization: %d %s", w.Code, w.Body)
	}
	if w := ask("nra", ""); w.Body.String() != "served" {
		t.Errorf("the excepted organization: %d %s", w.Code, w.Body)
	}
	if f, err := (&Maintenance{RetryAfter: 1}).Build(testEnv(t)); f != nil || err != nil {
		t.Errorf("inactive: %v, %v", f != nil, err)
	}
	for _, p := range []Maintenance{{Active: true, Except: unit.List{"nobody"}}, {English: "a\nb"}, {Bulgarian: strings.Repeat("я", 501)}} {
		if _, err := p.Build(testEnv(t)); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}
