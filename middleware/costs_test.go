package middleware

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestCosts: what an operation costs does not depend on how it is asked for.
func TestCosts(t *testing.T) {
	t.Parallel()
	c, err := newCosts([]Cost{
		{Operations: unit.List{"GetMap"}, Cost: 2},
		{Operations: unit.List{"GetFeature", "GetFeatureWithLock"}, Service: "WFS", Cost: 20},
		{Methods: unit.List{"PUT"}, Cost: 5},
		{Match: &CostMatch{Headers: map[string]string{"x-bulk": "*"}, Query: map[string]string{"format": "SHAPE-ZIP"}}, Cost: 50},
	})
	if err != nil {
		t.Fatal(err)
	}
	utf16le := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	soap := `<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header><a><Body/></a></s:Header><s:Body><wfs:GetFeature service="WFS"/></s:Body></s:Envelope>`
	for _, step := range []struct {
		method, query, kind, body string
		want                      int64
	}{
		{"GET", "", "", "", 1},
		{"GET", "service=WFS&request=GetCapabilities", "", "", 1},
		{"GET", "SERVICE=WFS&REQUEST=GetFeature", "", "", 20},
		{"GET", "Service=wfs&Request=GETFEATURE", "", "", 20},
		{"GET", "service=WFS&request=%47etFeature", "", "", 20},
		{"GET", "request=GetFeature", "", "", 20},
		{"GET", "service=WMS&request=GetFeature", "", "", 1},
		{"GET", "service=WMS&service=WFS&request=GetCapabilities&request=GetFeature", "", "", 20},
		{"GET", "service=WMS&request=GetMap", "", "", 2},
		{"GET", "request=GetMap&request=GetFeature", "", "", 20},
		{"PUT", "", "text/plain", "x", 5},
		{"POST", "", "application/xml", `<GetFeature service="WFS" version="2.0.0"/>`, 20},
		{"POST", "", "text/plain", "\ufeff  \n<?xml version='1.0' encoding='windows-1251'?><!-- \xe3 --><!DOCTYPE x><wfs:GetFeature xmlns:wfs='http://www.opengis.net/wfs'>", 20},
		{"POST", "", "", `<ns0:getfeaturewithlock service="wfs"/>`, 20},
		{"POST", "", "text/xml", `<GetCapabilities service="WFS"/>`, 1},
		{"POST", "service=WMS&request=GetCapabilities", "text/xml", `<GetFeature service="WFS"/>`, 20},
		{"POST", "", "text/xml", `<GetFeature service="XYZ"/>`, 1},
		{"POST", "", "application/soap+xml", soap, 20},
		{"POST", "", "application/x-www-form-urlencoded", "SERVICE=WFS&Request=getfeature", 20},
		{"POST", "service=WFS", "application/x-www-form-urlencoded; charset=utf-8", "request=GetMap", 2},
		{"POST", "", "application/json", `{"request":"GetFeature"}`, 1},
		// What can't be read costs what the dearest operation does.
		{"POST", "", "text/xml", utf16le(`<GetFeature service="WFS"/>`), 20},
		{"POST", "", "text/xml", "<!--" + strings.Repeat("x", maxOperation) + "--><GetCapabilities/>", 20},
		{"POST", "", "text/xml", strings.Repeat(" ", 2*maxBlank) + "<GetCapabilities/>", 20},
		{"POST", "", "text/xml", `<?xml version="1.0" encoding="utf-7"?><GetCapabilities/>`, 20},
		{"POST", "", "application/x-www-form-urlencoded", "a=" + strings.Repeat("x", maxOperation) + "&request=GetCapabilities", 20},
		{"POST", "", "multipart/form-data; boundary=b", "--b\r\n", 20},
		{"POST", "", "text/xml", "<", 20},
		{"POST", "", "text/xml", "", 1},
	} {
		r := httptest.NewRequest(step.method, "/ows?"+step.query, struct{ io.Reader }{strings.NewReader(step.body)})
		if step.kind != "" {
			r.Header.Set("Content-Type", step.kind)
		}
		got, err := c.of(r)
		if err != nil || got != step.want {
			t.Errorf("%s ?%s %s %.60q: %d, %v, want %d", step.method, step.query, step.kind, step.body, got, err, step.want)
		}
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != step.body {
			t.Errorf("the body that is passed on is not the one that came: %v, %d bytes, want %d", err, len(b), len(step.body))
		}
	}
	r := httptest.NewRequest("POST", "/?format=shape-zip", strings.NewReader("x"))
	r.Header.Set("X-Bulk", "1")
	r.Header.Set("Content-Encoding", "gzip")
	if got, _ := c.of(r); got != 50 {
		t.Errorf("a match: %d, want 50", got)
	}
	r = httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("<!-- "), failingReader{}))
	if _, err := c.of(r); err == nil {
		t.Error("a body that broke off: no error")
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, fmt.Errorf("broken off") }

// FuzzOperation: no body makes a GetFeature cheap that a reader of its root would
// see, none is lost, and none ends the process.
func FuzzOperation(f *testing.F) {
	for _, s := range []string{"<GetFeature/>", "\xef\xbb\xbf<?xml version=\"1.0\"?><a:GetFeature>", "<Envelope><Header/><Body><GetFeature/></Body></Envelope>", "request=GetFeature", "\xff\xfe<\x00"} {
		f.Add([]byte(s), "text/xml")
	}
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		r := httptest.NewRequest("POST", "/", struct{ io.Reader }{bytes.NewReader(body)})
		r.Header["Content-Type"] = []string{kind}
		op, err := readOperation(r)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(body, []byte("<GetFeature/>")) && op.name != "GetFeature" {
			t.Errorf("got %+v", op)
		}
		if b, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(b, body) {
			t.Errorf("the body changed: %v", err)
		}
	})
}

// TestLimitKeys: what clients send is counted by a hash, and only what can be
// read in one way.
func TestLimitKeys(t *testing.T) {
	t.Parallel()
	pointer, err := parsePointer("/client/id")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"client":{"id":"a"}}`:                                  "sa",
		`{"x":[1,{"client":2}],"client":{"id":"\u0061","n":{}}}`: "sa",
		`{"client":{"id":7}}`:                                    "n7",
		`{"client":{"id":"7"}}`:                                  "s7",
		`{"client":{"id":7.0}}`:                                  "",
		`{"client":{"id":-0}}`:                                   "",
		`{"client":{"id":null}}`:                                 "",
		`{"client":{"id":""}}`:                                   "",
		`{"client":{"id":"a","id":"b"}}`:                         "",
		`{"client":{"id":"a"},"client":{"id":"b"}}`:              "",
		`{"client":{"id":"a"}}{"client":{"id":"b"}}`:             "",
		`{"client":{"id":"a"}`:                                   "",
		`{"client":"a"}`:                                         "",
		`["client"]`:                                             "",
		``:                                                       "",
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		peeked, ok := peekJSON(httptest.NewRecorder(), r)
		if !ok || peeked.find(pointer) != want {
			t.Errorf("%s: %q, want %q", body, peeked.find(pointer), want)
		}
		if b, _ := io.ReadAll(r.Body); string(b) != body {
			t.Errorf("%s: the body that is passed on is %s", body, b)
		}
	}
	var one, other hasher
	other.key[0] = 1
	first, again := one.hash("a"), one.hash("a")
	if first == other.hash("a") || first == one.hash("b") || first != again {
		t.Error("the hash does not depend on its key and the value, and on nothing else")
	}
	for _, bad := range []string{"header:", "header:X Y", "header:X-Forwarded-For", "header:Client-Cert", "json:", "json:a", "json:/a~2b", "json:/" + strings.Repeat("a/", 9) + "a"} {
		if ok, err := CheckPer(bad); !ok || err == nil {
			t.Errorf("CheckPer(%q) = %v, %v, want an error", bad, ok, err)
		}
	}
}

// TestPeekLarge: a large body is not kept, and is not changed either.
func TestPeekLarge(t *testing.T) {
	t.Parallel()
	body := `{"client":{"id":"a"},"x":"` + strings.Repeat("x", maxJSON) + `"}`
	r := httptest.NewRequest("POST", "/", struct{ io.Reader }{strings.NewReader(body)})
	r.Header = http.Header{"Content-Type": {"application/json"}}
	peeked, ok := peekJSON(httptest.NewRecorder(), r)
	if b, err := io.ReadAll(r.Body); !ok || err != nil || string(b) != body || peeked.find([]string{"client", "id"}) != "" {
		t.Errorf("%v, %v, %d bytes, want %d, and no key", ok, err, len(b), len(body))
	}
}
