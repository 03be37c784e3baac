package unit

import (
	"encoding"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// scalar is what every type of this package does.
type scalar interface {
	encoding.TextUnmarshaler
	fmt.Stringer
	Pattern() string
}

var scalars = map[string]func() scalar{
	"duration":  func() scalar { return new(Duration) },
	"size":      func() scalar { return new(Size) },
	"rate":      func() scalar { return new(Rate) },
	"bandwidth": func() scalar { return new(Bandwidth) },
	"percent":   func() scalar { return new(Percent) },
	"date":      func() scalar { return new(Date) },
	"secret":    func() scalar { return new(Secret) },
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, text string
		want       string // as it prints; an error if it begins with "error: "
	}{
		{"duration", "30s", "30s"},
		{"duration", "0", "0"},
		{"duration", "0s", "0"},
		{"duration", "90s", "1m30s"},
		{"duration", "1h30m", "1h30m"},
		{"duration", "1.5d", "1d12h"},
		{"duration", "0.25s", "250ms"},
		{"duration", "250ms", "250ms"},
		{"duration", "7us", "7us"},
		{"duration", "1.5us", "2us"},
		{"duration", "", "error: is missing"},
		{"duration", "30", "error: no unit; write 30s"},
		{"duration", "30 s", "error: not a duration"},
		{"duration", "30S", "error: not a duration"},
		{"duration", "-30s", "error: not a duration"},
		{"duration", "+30s", "error: not a duration"},
		{"duration", "030s", "error: not a duration"},
		{"duration", ".5s", "error: not a duration"},
		{"duration", "5.s", "error: not a duration"},
		{"duration", "1e3s", "error: not a duration"},
		{"duration", "Inf", "error: not a duration"},
		{"duration", "NaNs", "error: not a duration"},
		{"duration", "30m1h", "error: not a duration"},
		{"duration", "1h1h", "error: not a duration"},
		{"duration", "1w", "error: not a duration"},
		{"duration", "0.5us", "error: shorter than 1us"},
		{"duration", "99999999d", "error: too long"},
		{"duration", "99999999999999999999d", "error: not a duration"},
		{"size", "10MiB", "10MiB"},
		{"size", "1.5KiB", "1536B"},
		{"size", "1000KB", "1000000B"},
		{"size", "0", "0"},
		{"size", "10", "error: no unit; write 10MiB"},
		{"size", "10M", "error: not a size"},
		{"size", "10mib", "error: not a size"},
		{"size", "-1B", "error: not a size"},
		{"size", "010B", "error: not a size"},
		{"size", "0.5B", "error: less than a byte"},
		{"size", "9999999TiB", "error: too large"},
		{"size", "", "error: not a size"},
		{"rate", "50/s", "50/s"},
		{"rate", "5000/d", "5000/d"},
		{"rate", "50", "error: no unit; write 50/s"},
		{"rate", "0/s", "error: out of range"},
		{"rate", "1000000001/s", "error: out of range"},
		{"rate", "+5/s", "error: not a rate"},
		{"rate", "05/s", "error: not a rate"},
		{"rate", "1.5/s", "error: not a rate"},
		{"rate", "1e3/s", "error: not a rate"},
		{"rate", "5/ s", "error: not a rate"},
		{"rate", "5/w", "error: not a rate"},
		{"rate", "5/s/m", "error: not a rate"},
		{"bandwidth", "500B/s", "500B/s"},
		{"bandwidth", "1.5KiB/s", "1536B/s"},
		{"bandwidth", "0/s", "error: out of range"},
		{"bandwidth", "64KiB", "error: not a bandwidth"},
		{"bandwidth", "64/s", "error: no unit; write 64MiB"},
		{"bandwidth", "64KiB/m", "error: not a bandwidth"},
		{"bandwidth", "-1B/s", "error: not a size"},
		{"percent", "20%", "20%"},
		{"percent", "7%", "7%"},
		{"percent", "0.1%", "0.1%"},
		{"percent", "100%", "100%"},
		{"percent", "20", "error: no unit; write 20%"},
		{"percent", "101%", "error: not a share"},
		{"percent", "-1%", "error: not a share"},
		{"percent", "NaN%", "error: not a share"},
		{"percent", "1e1%", "error: not a share"},
		{"date", "2027-06-30", "2027-06-30"},
		{"date", "2027-02-30", "error: not a date"},
		{"date", "30.06.2027", "error: not a date"},
		{"secret", "${env:KEY}", "${env:KEY}"},
		{"secret", "${file:/etc/key}", "${file:/etc/key}"},
		{"secret", "hunter2", "error: must be a reference"},
		{"secret", "${vault:KEY}", "error: must be a reference"},
		{"secret", "x${env:KEY}", "error: must be a reference"},
	} {
		v := scalars[c.kind]()
		err := v.UnmarshalText([]byte(c.text))
		if want, bad := strings.CutPrefix(c.want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %q: got error %v, want %q", c.kind, c.text, err, want)
			}
		} else if err != nil || v.String() != c.want {
			t.Errorf("%s %q: got %q, %v, want %q", c.kind, c.text, v.String(), err, c.want)
		}
	}
}

// TestSecretError holds that a password written where a reference belongs is
// not repeated in the error.
func TestSecretError(t *testing.T) {
	t.Parallel()
	var s Secret
	if err := s.UnmarshalText([]byte("hunter2")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	s = Secret{Ref: "${env:KEY}"}
	s.Resolve("hunter2")
	if got := fmt.Sprintf("%v %s %+v %#v", s, s, s, s); strings.Contains(got, "hunter2") {
		t.Errorf("printed %s", got)
	}
}

func TestDateEnd(t *testing.T) {
	t.Parallel()
	var d Date
	if err := d.UnmarshalText([]byte("2027-12-31")); err != nil {
		t.Fatal(err)
	}
	if got, want := d.End(), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.20.0.0/24": "10.20.0.0/24", "192.0.2.1": "192.0.2.1/32", "2001:db8::/32": "2001:db8::/32", "::ffff:192.0.2.1": "192.0.2.1/32",
		"10.20.0.1/24": "", "10.20.0.0/33": "", "fe80::1%eth0": "", "": "", "example.org": "",
	} {
		var p Prefix
		err := p.UnmarshalText([]byte(text))
		if (err != nil) != (want == "") || err == nil && p.String() != want {
			t.Errorf("%q: got %v, %v, want %q", text, p, err, want)
		}
	}
}

// FuzzScalars holds that what is read prints in a spelling that reads the same,
// and that the JSON Schema's pattern takes whatever the program does.
func FuzzScalars(f *testing.F) {
	for _, s := range []string{"30s", "1h30m", "0", "1.5d", "10MiB", "50/s", "20%", "7.25%", "2027-06-30", "${env:A}", "Inf", "1e9s"} {
		f.Add(s)
	}
	patterns := map[string]*regexp.Regexp{}
	for kind, mk := range scalars {
		patterns[kind] = regexp.MustCompile(mk().Pattern())
	}
	f.Fuzz(func(t *testing.T, s string) {
		for kind, mk := range scalars {
			v := mk()
			if v.UnmarshalText([]byte(s)) != nil {
				continue
			}
			if !patterns[kind].MatchString(s) {
				t.Errorf("%s %q does not match its pattern", kind, s)
			}
			again := mk()
			if err := again.UnmarshalText([]byte(v.String())); err != nil || again.String() != v.String() {
				t.Errorf("%s %q prints %q, which reads as %q, %v", kind, s, v.String(), again.String(), err)
			}
		}
	})
}
