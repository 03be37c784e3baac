package waf

import (
	"strings"
	"testing"
)

// TestCutOff: wherever the beginning of a document ends, it is neither malformed
// nor another document, and what stands in it is read.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ kind, doc, from string }{ // a beginning in which nothing begins is refused
		{"application/json", "\t{\"име\": [\"\\ud83d\\ude00 \\u0435\", -1.5e+3, true, false, null, {}, []], \"s\": {\"d\": 0}}\n", ""},
		{"text/xml", "<?xml version=\"1.0\"?><!-- note --><a b=\"в\"><c>текст &amp; &#x41;</c><![CDATA[ж]]></a>\n", "\"в\">"},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"ф.bin\"\r\nContent-Type: text/plain\r\n\r\n\r\n-\r\n--b--\r\n", "\r\n\r\n"},
		{"application/x-www-form-urlencoded", "a=%d0%b0&b=c", ""},
	} {
		for n := max(1, strings.Index(tt.doc, tt.from)+len(tt.from)); n <= len(tt.doc); n++ {
			if _, err := readBody(tt.kind, []byte(tt.doc[:n]), Accept{}, true); err != nil {
				t.Errorf("%s cut off after %q: %v", tt.kind, tt.doc[:n], err)
			}
		}
		if _, err := readBody(tt.kind, []byte(tt.doc), Accept{}, false); err != nil {
			t.Errorf("%s, whole: %v", tt.kind, err)
		}
	}
	b, err := readBody("application/json", []byte(`{"a":"seen so far`), Accept{}, true)
	if err != nil || len(b.args) != 1 || b.args[0] != (pair{"json.a", "seen so far"}) {
		t.Errorf("%v, %v", b.args, err)
	}
}
