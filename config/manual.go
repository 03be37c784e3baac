package config

import (
	"fmt"
	"reflect"
	"strings"

	_ "embed"
)

//go:embed manual.md
var manualText string

// Manual is the reference manual in Markdown: what manual.md says, and a table
// of the keys of each type.
func Manual() string {
	var b strings.Builder
	b.WriteString(manualText)
	seen := map[reflect.Type]bool{}
	section(&b, "The file", reflect.TypeFor[File](), seen)
	return b.String()
}

// titles name the types in the manual.
var titles = map[string]string{
	"config.Listen": "A listener", "certs.TLS": "`tls`", "certs.KeyPair": "A certificate and its key", "certs.ACME": "`tls.acme`", "certs.ACMEDNS": "`tls.acme.dns`", "certs.RFC2136": "`tls.acme.dns.rfc2136`", "config.Limits": "`limits`", "addresses.Source": "A set of `address_sets`", "config.Admin": "`admin`", "config.AdminTLS": "`admin.tls`",
	"config.Log": "`audit_log`", "middleware.RequestLog": "`access_log` and `security_log`", "tracing.Settings": "`tracing`", "certs.ClientTLS": "`tls` of a receiver", "config.Delegation": "A delegation", "config.Policy": "Settings of every level", "config.Organization": "An organization",
	"config.ServiceEntry": "A service", "config.RouteEntry": "A route", "certs.SubjectMatch": "`subject`", "certs.EAB": "`tls.acme.eab`", "certs.QC": "`qc`", "certs.CRL": "`crl`", "certs.OCSP": "`ocsp`", "certs.Revocation": "`revocation`", "middleware.RateLimit": "`rate_limit`", "middleware.Quota": "`quota`", "middleware.SLO": "`slo`", "middleware.Cost": "`costs`", "middleware.CostMatch": "`match` of a cost", "middleware.Bandwidth": "`bandwidth`", "middleware.Concurrency": "`concurrency`",
	"middleware.CORS": "`cors`", "middleware.WAF": "`waf`", "middleware.Scan": "`scan`", "middleware.Leaks": "`leaks`", "middleware.Files": "`files`", "middleware.Exclusion": "`exclude` of `waf`", "middleware.Headers": "`headers`", "middleware.HeaderChange": "A change of headers", "proxy.Retries": "`retries`",
	"proxy.Health": "`health`", "proxy.Ejection": "`ejection`", "proxy.UpstreamTLS": "`upstream_tls`", "config.Match": "`match`", "config.Redirect": "`redirect` of a route", "config.Rewrite": "`rewrite`",
}

func section(b *strings.Builder, title string, t reflect.Type, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	fmt.Fprintf(b, "\n## %s\n\n| key | value | meaning |\n|---|---|---|\n", title)
	var inner []reflect.Type
	policy := reflect.TypeFor[Policy]()
	shared := false
	for _, f := range fieldsOf(t) {
		if t != policy && policyKeys[f.name] && (t == reflect.TypeFor[ServiceEntry]() || t == reflect.TypeFor[RouteEntry]()) {
			shared = true
			continue
		}
		kind := kindName(f.typ)
		if maySwitch(f) {
			kind += ", or `off`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.name, kind, strings.ReplaceAll(docOf(f), "|", "\\|"))
		if s := structIn(f.typ); s != nil {
			inner = append(inner, s)
		}
	}
	if shared {
		b.WriteString("\nAnd the settings of every level.\n")
		inner = append(inner, policy)
	}
	for _, s := range inner {
		name := titles[s.String()]
		if name == "" {
			name = s.Name()
		}
		section(b, name, s, seen)
	}
}

// structIn is the struct that a type holds, alone or as elements.
func structIn(t reflect.Type) reflect.Type {
	for {
		if reflect.PointerTo(t).Implements(textType) || t == listType {
			return nil
		}
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			return t
		default:
			return nil
		}
	}
}

func kindName(t reflect.Type) string {
	names := map[string]string{
		"unit.Duration": "duration", "unit.Size": "size", "unit.Rate": "rate", "unit.Bandwidth": "bandwidth", "unit.Percent": "share", "unit.Date": "date", "unit.Prefix": "network", "unit.Secret": "secret", "unit.List": "word or list",
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n := names[t.String()]; n != "" {
		return n
	}
	switch t.Kind() {
	case reflect.Struct:
		return "mapping"
	case reflect.Map:
		return "mapping of names to " + kindName(t.Elem())
	case reflect.Slice:
		if t.Implements(oneOrMany) {
			kind := kindName(t.Elem())
			if f := shortForm(t.Elem()); f != nil {
				kind = kindName(f.typ) + ", " + kind
			}
			return kind + ", or a list of them"
		}
		return "list of " + kindName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "number"
	}
	return "text"
}
