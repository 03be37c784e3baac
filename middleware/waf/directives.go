package waf

import (
	"fmt"
	"strings"
)

// Version is that of the Core Rule Set, pinned in go.mod.
const Version = "4.25.0"

// directives is the base configuration and the Core Rule Set on it. It is our
// own: the one that is shipped beside the rules lets requests with many
// arguments pass uninspected. The engine only finds; the policy decides. Bodies
// are read by this package, so the engine never holds one.
func directives(s Settings) string {
	var b strings.Builder
	b.WriteString(setup(s))
	// The operator's rules stand where scores have been set to zero and no rule
	// has been asked, what changes rules behind all of them.
	rules, changes := splitCustom(s.Custom)
	for _, file := range ruleFiles() {
		if strings.Contains(file, "REQUEST-911") {
			b.WriteString(rules)
		}
		fmt.Fprintf(&b, "Include %s\n", file)
	}
	b.WriteString(changes)
	return b.String()
}

// setup stands before all rules.
func setup(s Settings) string {
	return fmt.Sprintf(`
SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecRequestBodyLimit 1048576
SecRequestBodyLimitAction ProcessPartial
SecResponseBodyAccess Off
SecArgumentsLimit %d
SecAuditEngine Off
SecDefaultAction "phase:1,log,noauditlog,pass"
SecDefaultAction "phase:2,log,noauditlog,pass"
SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=%d,setvar:tx.detection_paranoia_level=%d"
SecAction "id:900110,phase:1,pass,t:none,nolog,setvar:tx.inbound_anomaly_score_threshold=%d,setvar:tx.outbound_anomaly_score_threshold=1000"
SecAction "id:900200,phase:1,pass,t:none,nolog,setvar:'tx.allowed_methods=GET HEAD POST OPTIONS PUT PATCH DELETE'"
SecAction "id:900220,phase:1,pass,t:none,nolog,setvar:'tx.allowed_request_content_type=%s'"
SecAction "id:900990,phase:1,pass,t:none,nolog,setvar:tx.crs_setup_version=4250"
`, maxJSONValues, s.Paranoia, s.Paranoia, s.Threshold, "|"+strings.Join(contentTypes, "| |")+"|")
}

// contentTypes are those that no rule scores: the Core Rule Set's own, and those
// of data and documents. Whatever a body says that it is, it is inspected.
var contentTypes = []string{
	"application/x-www-form-urlencoded", "multipart/form-data", "text/xml", "application/xml", "application/soap+xml", "application/json",
	"application/geo+json", "application/ld+json", "application/merge-patch+json", "application/json-patch+json", "application/vnd.api+json", "application/problem+json", "application/gml+xml", "application/xacml+xml",
	"application/vnd.ogc.wms_xml", "application/vnd.ogc.sld+xml", "application/vnd.ogc.se_xml", "application/samlassertion+xml", "text/csv", "application/pdf", "application/zip",
	"application/x-zip-compressed", "application/geopackage+sqlite3", "image/png", "image/jpeg", "image/tiff", "application/vnd.asic-e+zip", "application/pkcs7-mime", "application/pkcs7-signature", "application/timestamp-query", "application/ocsp-request",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet",
}

// splitCustom tells rules from directives that change rules.
func splitCustom(text string) (rules, changes string) {
	for _, d := range splitDirectives(text) {
		name := strings.ToLower(d.text)
		if strings.HasPrefix(name, "secruleremove") || strings.HasPrefix(name, "secruleupdate") {
			changes += d.text + "\n"
		} else {
			rules += d.text + "\n"
		}
	}
	return rules, changes
}
