package config

//go:generate go run docsgen.go

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/addresses"
)

// docOf is the comment of a key.
func docOf(f field) string {
	name := f.owner.String() // package.Type
	return fieldDocs[name+"."+f.field]
}

// enums lists the words that a key may hold. What is not listed is free.
var enums = map[string][]string{
	"http1": {"strict", "standard"},
	"mtls":  {"off", "optional", "required"}, "balance": {"round_robin", "least_connections"},
	"priority": {"high", "normal", "low"}, "errors": {"auto", "problem", "html", "ogc", "soap"}, "frame": {"sameorigin", "deny", "off"}, "content_type": {"nosniff", "off"},
	"upstream_protocol": {"h1", "h2", "h2c"}, "audit": {"full", "refusals", "off"}, "redirect": {"https"}, "on_store_failure": {"local", "open", "closed"}, "withdrawal": {"finish", "cut"}, "on_stale": {addresses.Keep, addresses.Closed}, "on_missing": {addresses.Closed, addresses.Open},
}

// fieldEnums lists those of keys that mean different things in different places.
var fieldEnums = map[string][]string{
	"config.Log.Format": {"json"}, "middleware.RequestLog.Format": {middleware.FormatJSON, middleware.FormatECS, middleware.FormatOCSF, middleware.FormatCEF}, "middleware.RequestLog.Addresses": {middleware.AddressesTruncated, middleware.AddressesFull},
	"middleware.WAF.Mode": {"block", "detect", "off"}, "middleware.WAF.Screen": {"auto", "off"}, "middleware.WAF.Cyrillic": {"auto", "off"}, "middleware.WAF.App": {"ckan", "geonetwork", "mapserver", "regix", Off}, "middleware.WAF.Responses": {"off", "detect", "block"}, "middleware.Leaks.EGN": middleware.LeakActions(), "middleware.Leaks.IBAN": middleware.LeakActions(), "middleware.Leaks.Card": middleware.LeakActions(), "middleware.Leaks.StackTrace": middleware.LeakActions(), "middleware.Scan.OnScannerFailure": middleware.ScanFailureWords(), "middleware.WAF.BodyOverLimit": middleware.OverLimitWords(), "middleware.Cache.Mode": {"public", "off"}, "certs.Revocation.Mode": {"require", "grace", "observe"}, "certs.QC.Type": {"esign", "eseal", "web"},
	"middleware.SLO.Profile": middleware.SLOProfiles(), "middleware.Quota.Per": middleware.QuotaPers(), "middleware.Bandwidth.Per": middleware.BandwidthPers(), "middleware.RateLimit.Mode": middleware.LimitModes(), "middleware.Quota.Mode": middleware.LimitModes(), "middleware.Concurrency.Mode": middleware.LimitModes(), "middleware.Bandwidth.Mode": middleware.LimitModes(),
	"certs.Organization.EKU": {"client", "any"}, "certs.TLS.Profile": certs.Profiles(),
}

// itemEnums lists the words that the items of a list may hold.
var itemEnums = map[string][]string{"protocols": {"h1", "h2", "h3"}, "compress": {"zstd", "br", "gzip"}, "types": append(middleware.FileTypes(), Off), "accept": {"doctype", "schema_location", "xinclude"}, "challenges": {"http-01", "tls-alpn-01", "dns-01"}}

// Schema is the JSON Schema (2020-12) of a configuration file, made from the
// same types that files are read into.
func Schema() ([]byte, error) {
	defs := map[string]any{}
	root := schemaOf(reflect.TypeFor[File](), "", defs)
	out := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     "https://vazel.example/schema/vazel.schema.json",
		"title":   "Vazel configuration, version 1",
		"$defs":   defs,
	}
	for k, v := range root {
		out[k] = v
	}
	b, err := json.MarshalIndent(out, "", "  ")
	return append(b, '\n'), err
}

// schemaOf is the schema of a type under a key.
func schemaOf(t reflect.Type, key string, defs map[string]any) map[string]any {
	switch {
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), key, defs)
	case t == listType:
		item := map[string]any{"type": []string{"string", "integer"}, "minLength": 1}
		if e := itemEnums[key]; e != nil {
			item = map[string]any{"enum": e}
		}
		return map[string]any{"oneOf": []any{item, map[string]any{"type": "array", "items": item}}}
	case reflect.PointerTo(t).Implements(textType):
		s := map[string]any{"type": "string"}
		if p, ok := reflect.Zero(t).Interface().(interface{ Pattern() string }); ok {
			s["pattern"] = p.Pattern()
			if strings.HasPrefix(p.Pattern(), "^(0|") {
				s["type"] = []string{"string", "integer"}
				delete(s, "pattern")
				s["oneOf"] = []any{map[string]any{"type": "string", "pattern": p.Pattern()}, map[string]any{"const": 0}}
			}
		}
		return s
	case t == reflect.TypeFor[certs.MTLS]():
		return map[string]any{"enum": enums["mtls"]}
	}
	switch t.Kind() {
	case reflect.Struct:
		name := t.String()
		ref := map[string]any{"$ref": "#/$defs/" + name}
		if key == "" { // the file itself
			return structSchema(t, defs)
		}
		if _, done := defs[name]; !done {
			defs[name] = nil // against recursion
			defs[name] = structSchema(t, defs)
		}
		if f := shortForm(t); f != nil {
			short := schemaOf(f.typ, f.name, defs)
			if e := fieldEnums[f.owner.String()+"."+f.field]; e != nil {
				short = map[string]any{"enum": e}
			}
			return map[string]any{"oneOf": []any{short, ref}}
		}
		return ref
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), key, defs)}
	case reflect.Slice:
		item := schemaOf(t.Elem(), key, defs)
		if e := itemEnums[key]; e != nil {
			item = map[string]any{"enum": e}
		}
		list := map[string]any{"type": "array", "items": item}
		if t.Implements(oneOrMany) {
			return map[string]any{"oneOf": []any{item, list}}
		}
		return list
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	}
	if e := enums[key]; e != nil {
		return map[string]any{"enum": e}
	}
	return map[string]any{"type": []string{"string", "number"}, "minLength": 1}
}

// structOf is the type that a pointer points to.
func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func structSchema(t reflect.Type, defs map[string]any) map[string]any {
	props := map[string]any{}
	for _, f := range fieldsOf(t) {
		s := schemaOf(f.typ, f.name, defs)
		if e := fieldEnums[f.owner.String()+"."+f.field]; e != nil {
			s = map[string]any{"enum": e}
		}
		if f.field == "Per" && (f.owner == reflect.TypeFor[middleware.RateLimit]() || f.owner == reflect.TypeFor[middleware.Concurrency]()) {
			s = map[string]any{"anyOf": []any{map[string]any{"enum": middleware.Pers()}, map[string]any{"type": "string", "pattern": middleware.PerPattern}}}
		}
		if maySwitch(f) && shortForm(structOf(f.typ)) == nil {
			s = map[string]any{"anyOf": []any{map[string]any{"const": Off}, s}}
		}
		if d := docOf(f); d != "" {
			s["description"] = d
		}
		props[f.name] = s
	}
	return map[string]any{"type": "object", "properties": props, "additionalProperties": false}
}
