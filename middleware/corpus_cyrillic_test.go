package middleware

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// sentenceRequests are one text in each of the forms in which it comes.
func sentenceRequests(text string) []*http.Request {
	j, _ := json.Marshal(map[string]any{"message": text, "id": 7})
	ascii := strings.ReplaceAll(escapeJSON(text), `\/`, "/")
	return []*http.Request{
		get("/search?q=" + url.QueryEscape(strings.Join(strings.Fields(text), " "))), // a field of one line
		post("application/x-www-form-urlencoded; charset=UTF-8", url.Values{"message": {text}, "send": {"1"}}.Encode()),
		post("application/json", string(j)),
		post("application/json", `{"message":"`+ascii+`","id":7}`),
	}
}

// escapeJSON escapes all but ASCII, as PHP's and Python's encoders do.
func escapeJSON(s string) string {
	var b strings.Builder
	quoted, _ := json.Marshal(s)
	for _, r := range string(quoted[1 : len(quoted)-1]) {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16Of(r) {
			b.WriteString(`\u`)
			const digits = "0123456789abcdef"
			b.WriteString(string([]byte{digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15]}))
		}
	}
	return b.String()
}

func utf16Of(r rune) []uint16 {
	if r < 0x10000 {
		return []uint16{uint16(r)}
	}
	r -= 0x10000
	return []uint16{uint16(0xd800 + r>>10), uint16(0xdc00 + r&0x3ff)}
}

// TestBulgarianText: of natural Bulgarian text at most 4 % is blocked at paranoia
// 2, where the engine's own way of reading %uXXXX has it block a third.
func TestBulgarianText(t *testing.T) {
	t.Parallel()
	share := func(setting string) float64 {
		i := newInspected(t, &WAF{Mode: "block", Paranoia: 2, Cyrillic: setting})
		p := newProse(11)
		blocked, all := 0, 0
		rules := map[int]int{}
		try := func(text string) {
			for _, r := range sentenceRequests(text) {
				all++
				if status, _ := i.send(r); status != 299 {
					blocked++
					for _, id := range i.rec.InspectionRules {
						if rules[id]++; rules[id] == 1 && setting != "off" {
							t.Logf("%d: %q %+v", id, text, i.rec.InspectionMatches)
						}
					}
				}
			}
		}
		for _, s := range bgWhole {
			try(s)
		}
		more := 360
		if underRace {
			more = 20
		}
		for n := range more {
			try(p.bulgarian(1 + n%3))
		}
		out := 100 * float64(blocked) / float64(all)
		t.Logf("cyrillic %q: %d of %d blocked, %.1f %%, by %v", setting, blocked, all, out, rules)
		return out
	}
	if got := share(""); got > 4 && !underRace { // which tries too few
		t.Errorf("%.1f %% of Bulgarian text is blocked", got)
	}
	if got := share("off"); got < 20 {
		t.Errorf("with cyrillic: off, %.1f %% is blocked; is the switch needed any longer?", got)
	}
}
