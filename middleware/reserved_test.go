package middleware

import "testing"

func TestReserved(t *testing.T) {
	for _, name := range []string{
		"X-Organization", "x-organization", "X_Organization", "X.Organization-Id", "xorganization", "X-Organization_Id",
		"Client-Cert", "client_cert", "CLIENT.CERT", "Client-Cert-Chain", "X-Forwarded-For", "X_Forwarded_Proto", "x-forwarded-anything",
		"Forwarded", "X-Real-IP", "X-Request-Id", "Traceparent", "TraceState", "Proxy", "SSL-Client-Verify", "X-SSL-Client-S-DN",
		"X-HTTP-Method-Override", "X-Original-URL", "CF-Connecting-IP", "Fastly_Client_IP", "_X-Organization", "-Client-Cert", "X--Organization", "X-Forwarded-Client-Cert", "X-Vazel-Anything",
	} {
		if !Reserved(name) {
			t.Errorf("Reserved(%q) = false, want true", name)
		}
	}
	for _, name := range []string{"Host", "Content-Type", "Cookie", "X-Requested-With", "Accept", "Referer", "X-Custom", "Content-Length", "Transfer-Encoding", "Range", "Te", "Trailer", "", "X-Api-Key", "Cache-Control", "SOAPAction"} {
		if Reserved(name) {
			t.Errorf("Reserved(%q) = true, want false", name)
		}
	}
}

func BenchmarkReserved(b *testing.B) {
	b.ReportAllocs()
	names := []string{"User-Agent", "Accept", "X-Debug", "Cookie", "Referer", "Accept-Encoding", "Content-Type"}
	for b.Loop() {
		for _, n := range names {
			Reserved(n)
		}
	}
}
