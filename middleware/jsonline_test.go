package middleware

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Whatever a client writes, a line stays one line that every reader of JSON
// takes for the same.
func FuzzJSONLine(f *testing.F) {
	for c := range 256 {
		f.Add(string([]byte{'a', byte(c), 'b'}))
	}
	for _, s := range []string{"", "дата", "\xd0", "a\xe2\x82", "\xed\xa0\x80", "\ufffd", "\u2028", "\U0001f600", "\",\"x\":\"", "\r\n{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var l jsonLine
		l.begin()
		l.text("text", s)
		l.end()
		if strings.ContainsFunc(string(l[:len(l)-1]), func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q holds a control character", l)
		}
		var got struct{ Text string }
		if err := json.Unmarshal(l, &got); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		// Decoding what encoding/json wrote tells what of s can be kept.
		b, err := json.Marshal(map[string]string{"text": s})
		if err != nil {
			t.Fatal(err)
		}
		var want struct{ Text string }
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got %q, want %q", got.Text, want.Text)
		}
	})
}

func TestJSONLine(t *testing.T) {
	t.Parallel()
	var l jsonLine
	for range 2 { // it is used again
		l.begin()
		l.time("time", time.Date(2026, 3, 1, 14, 5, 6, 7000, time.FixedZone("", 2*60*60)))
		l.int("int", -5)
		l.bool("bool", true)
		l.ints("none", nil)
		l.ints("ints", []int{942100, 7})
		l.text("text", "a\tb")
		l.end()
	}
	want := `{"time":"2026-03-01T12:05:06.000007Z","int":-5,"bool":true,"none":[],"ints":[942100,7],"text":"a\u0009b"}` + "\n"
	if string(l) != want {
		t.Errorf("got  %s\nwant %s", l, want)
	}
}
