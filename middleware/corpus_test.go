package middleware

import (
	"fmt"
	"net/http"
	"testing"
)

// legitimate are requests shaped like those of the services that the gateway is
// for, made anew from a seed: of each kind as many as it says.
var legitimate = []struct {
	name, app string
	n         int
	make      func(prose) *http.Request
}{
	{"CKAN", "ckan", 600, prose.ckan},
	{"GeoNetwork", "geonetwork", 400, prose.geonetwork},
	{"WMS, WFS, WMTS", "mapserver", 600, prose.mapserver},
	{"registers by SOAP", "regix", 400, prose.regix},
	{"forms", "", 500, prose.laravel},
	{"free text", "", 400, prose.freeText},
	{"uploads", "", 300, prose.upload},
	{"logins", "", 200, prose.login},
	{"other programs", "", 150, prose.api},
}

// blockedShare sends the corpus, and returns how many of how many were blocked
// by kind, naming each reason once.
func blockedShare(t *testing.T, seed uint64, paranoia int) (blocked, all int, byKind map[string]int) {
	t.Helper()
	byKind = map[string]int{}
	seen := map[string]int{}
	for _, kind := range legitimate {
		i := newInspected(t, &WAF{Mode: "block", Paranoia: paranoia, App: kind.app})
		p := newProse(seed)
		for n := range kind.n {
			r := kind.make(p)
			if underRace && n%20 != 0 {
				continue
			}
			all++
			status, reason := i.sendAs(r)
			if status == 299 {
				continue
			}
			blocked++
			byKind[kind.name]++
			why := reason
			for _, m := range i.rec.InspectionMatches {
				why += fmt.Sprintf(" %d %s %q;", m.Rule, m.Where, m.Part)
			}
			key := fmt.Sprint(kind.name, reason, i.rec.InspectionRules)
			if seen[key]++; seen[key] == 1 {
				detail := ""
				if i.rec.Denial != nil {
					detail = i.rec.Denial.Detail
				}
				t.Logf("paranoia %d, %s: %s %s: %s %s", paranoia, kind.name, r.Method, r.URL, why, detail)
			}
		}
	}
	return blocked, all, byKind
}

// sendAs sends a request with the header fields that it has.
func (i *inspected) sendAs(r *http.Request) (int, string) {
	agent, accept := r.Header.Get("User-Agent"), r.Header.Get("Accept")
	return i.sendWith(r, agent, accept)
}

// TestLegitimate: of what citizens, officials and programs send, next to nothing
// is blocked at paranoia 1, and what an application's profile covers passes at 2.
func TestLegitimate(t *testing.T) {
	t.Parallel()
	for paranoia := 1; paranoia <= 2; paranoia++ {
		t.Run(fmt.Sprint(paranoia), func(t *testing.T) {
			t.Parallel()
			blocked, all, byKind := blockedShare(t, 42, paranoia)
			t.Logf("paranoia %d: %d of %d blocked: %v", paranoia, blocked, all, byKind)
			if all < 2000 && !underRace {
				t.Errorf("only %d requests", all)
			}
			if paranoia == 1 && blocked*1000 > all {
				t.Errorf("%d of %d are blocked, more than 0.1 %%", blocked, all)
			}
			for _, kind := range legitimate {
				if n := byKind[kind.name]; paranoia == 2 && kind.app != "" && n > 0 {
					t.Errorf("%d of %d requests of %s are blocked at paranoia 2", n, kind.n, kind.name)
				}
			}
		})
	}
}
