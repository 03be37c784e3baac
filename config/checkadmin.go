package config

import (
	"encoding/hex"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/certs"
)

// checkOperators checks who may use the admin listener, and how they prove it.
func (t *tree) checkOperators(n *yaml.Node, a *Admin) {
	_, tls := get(n, "tls")
	_, operators := get(n, "operators")
	if a.TLS == nil {
		if operators != nil {
			t.problem(operators, "admin.operators prove themselves by certificates; set admin.tls")
		}
		return
	}
	if strings.HasPrefix(a.Listen, "unix:") {
		t.problem(tls, "admin.tls: a socket is guarded by its folder's rights; use tls with an address")
	}
	t.checkKeyPair(tls, &a.TLS.KeyPair, false)
	if _, ca := get(tls, "ca"); ca == nil {
		t.problem(tls, "admin.tls needs ca, the authorities that issue operators' certificates")
	} else if t.file1(ca, &a.TLS.CA) != nil {
		if _, err := certs.LoadCAs(a.TLS.CA); err != nil {
			t.problem(ca, "admin.tls.ca: %v", err)
		}
	}
	if len(a.Operators) == 0 {
		t.problem(tls, "admin.tls needs operators, by name")
		return
	}
	for _, o := range wordsOf(operators) {
		print, isPrint := strings.CutPrefix(o.Value, "sha256:")
		if b, err := hex.DecodeString(print); isPrint && (err != nil || len(b) != 32 || strings.ToLower(print) != print) {
			t.bad(o, "", "admin.operators: %q is not sha256: and the 64 hexadecimal digits of a certificate's fingerprint in lower case", o.Value)
		}
		if strings.TrimSpace(o.Value) != o.Value || o.Value == "" || strings.ContainsAny(o.Value, "*?") {
			t.bad(o, "", "admin.operators: %q is not an e-mail address, a fingerprint or a common name; each operator is named", o.Value)
		}
	}
}
