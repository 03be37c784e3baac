package waf

import (
	"fmt"
	"testing"
)

// TestRepeatedNames: of several values of one name, each is looked at by every
// rule, whatever the order in which the engine goes through them.
func TestRepeatedNames(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 2, NoScreen: true})
	const attack = "<script>alert(1)</script>"
	filler := func(r *Request) *Request { // more names, so that lists have more than one order
		for i := range 6 {
			r.Header[fmt.Sprintf("X-%d", i)] = []string{"1"}
		}
		return r
	}
	cookies := func(list string) *Request {
		r := filler(testRequest("/", "", ""))
		r.Header["Cookie"] = []string{list + "; c=3; d=4; e=5"}
		return r
	}
	headers := func(values ...string) *Request {
		r := filler(testRequest("/", "", ""))
		r.Header["Referer"] = values
		return r
	}
	tests := map[string][2]*Request{
		"cookies":  {cookies("a=" + attack), cookies("a=" + attack + "; a=1")},
		"fields":   {headers("http://h/?" + attack), headers("http://h/?"+attack, "http://h/")},
		"nameless": {filler(testRequest("/?="+attack+"&b=1&c=2&d=3", "", "")), filler(testRequest("/?="+attack+"&=1&b=1&c=2&d=3", "", ""))},
		"form":     {testRequest("/?b=1&c=2", "application/x-www-form-urlencoded", "="+attack+"&d=3"), testRequest("/?b=1&c=2", "application/x-www-form-urlencoded", "="+attack+"&=1&d=3")},
		"XML":      {testRequest("/", "text/xml", `<a b="`+"&lt;script>alert(1)&lt;/script>"+`"/>`), testRequest("/", "text/xml", `<a b="`+"&lt;script>alert(1)&lt;/script>"+`" c="1" d="2"/>`)},
	}
	for name, pair := range tests {
		t.Run(name, func(t *testing.T) {
			want, err := rs.run(pair[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 40 {
				got, err := rs.run(pair[1], nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Rules) < len(want.Rules) {
					t.Fatalf("%v with one value, %v with two", want.Rules, got.Rules)
				}
			}
		})
	}
}
