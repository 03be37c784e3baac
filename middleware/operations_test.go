package middleware

import (
	"net/http"
	"strings"
	"testing"
)

// TestOperations: only what is listed passes, however it is asked for, and whatever
// else the request says beside it.
func TestOperations(t *testing.T) {
	t.Parallel()
	f, err := buildOperations([]string{"WMS:GetMap", "wms:GetCapabilities", "WFS:GetFeature", "SOAP:GetPersonRequest", "Ping"}, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	form := "application/x-www-form-urlencoded"
	feature := `<?xml version="1.0"?><wfs:GetFeature service="WFS" xmlns:wfs="http://www.opengis.net/wfs"/>`
	transaction := strings.ReplaceAll(feature, "GetFeature", "Transaction")
	soap := func(op, action string) *http.Request {
		r := post("text/xml", `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><x/></s:Header><s:Body><r:`+op+` xmlns:r="urn:r"/></s:Body></s:Envelope>`)
		if action != "-" {
			r.Header.Set("SOAPAction", action)
		}
		return r
	}
	at := func(r *http.Request, query string) *http.Request { r.URL.RawQuery = query; return r }
	coded := post("text/xml", gzipped(feature))
	coded.Header.Set("Content-Encoding", "gzip")
	for _, tt := range []struct {
		name string
		r    *http.Request
		ok   bool
	}{
		{"listed", get("/wms?SERVICE=WMS&REQUEST=getmap"), true},
		{"without a service", get("/wms?request=GetMap"), true},
		{"of another service", get("/wms?service=WFS&request=GetMap"), false},
		{"not listed", get("/wms?service=WMS&request=GetFeatureInfo"), false},
		{"none", get("/wms?service=WMS"), false},
		{"two", get("/wms?service=WMS&request=GetMap&request=GetFeatureInfo"), false},
		{"two, escaped", get("/wms?service=WMS&request=GetMap&%52equest=Get%46eatureInfo"), false},
		{"two services", get("/wms?service=WMS&service=WFS&request=GetMap"), false},
		{"a document", post("text/xml", feature), true},
		{"a document that is not listed", post("text/xml", transaction), false},
		{"a document that says it is something else", post("text/plain", transaction), false},
		{"a document of another service", post("text/xml", strings.Replace(feature, `"WFS"`, `"WPS"`, 1)), false},
		{"a document beside a query", at(post("text/xml", transaction), "service=WFS&request=GetFeature"), false},
		{"a query beside a document", at(post("text/xml", feature), "service=WFS&request=Transaction"), false},
		{"a form", post(form, "service=WFS&request=GetFeature"), true},
		{"a form that is not listed", post(form, "service=WFS&request=Transaction"), false},
		{"a form beside a query", at(post(form, "request=Transaction"), "service=WFS&request=GetFeature"), false},
		{"a form that hides it", at(post(form, "a="+strings.Repeat("x", 70<<10)+"&request=Transaction"), "service=WFS&request=GetFeature"), false},
		{"JSON beside a query", at(post("application/json", "{}"), "service=WFS&request=GetFeature"), false},
		{"multipart beside a query", at(post(fileForm, fileBody("x", "x")), "service=WFS&request=GetFeature"), false},
		{"compressed", coded, false},
		{"SOAP", soap("GetPersonRequest", "-"), true},
		{"SOAP with an action", soap("GetPersonRequest", `"http://egov.bg/IRegistry/GetPerson"`), true},
		{"SOAP with an empty action", soap("GetPersonRequest", `""`), true},
		{"SOAP with another action", soap("GetPersonRequest", `"urn:DeletePerson"`), false},
		{"SOAP that is not listed", soap("DeletePerson", `"urn:GetPerson"`), false},
		{"a name alone, in SOAP", soap("Ping", "urn:Ping"), true},
		{"a name alone, in a query", get("/?request=Ping"), true},
		{"what SOAP may hold, without SOAP", post("text/xml", `<GetPersonRequest/>`), false},
	} {
		w, reason := through(t, f, tt.r)
		if tt.ok != (w.Code == 299) || !tt.ok && (w.Code != 403 || reason != "operation_not_allowed") {
			t.Errorf("%s: %d %s", tt.name, w.Code, reason)
		}
	}
}

// TestOperationForms: the refusal speaks the route's protocol.
func TestOperationForms(t *testing.T) {
	t.Parallel()
	f, err := buildOperations([]string{"WMS:GetMap"}, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	for form, want := range map[string]string{"ogc": `<ServiceException code="operation_not_allowed">`, "soap": "<faultcode>env:Client</faultcode>"} {
		g := func(h http.Handler) http.Handler {
			h = f(h)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				RecordOf(r.Context()).Errors = form
				h.ServeHTTP(w, r)
			})
		}
		if w, _ := through(t, g, get("/?service=WMS&request=GetFeatureInfo")); w.Code != 403 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", form, w.Code, w.Body)
		}
	}
}
