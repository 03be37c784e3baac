package scan

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

func lines(s, separator string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + separator)
		s = s[76:]
	}
	return b.String() + s
}

// TestEmbedded: files are found in every way in which documents hold them, and
// nothing else is taken for one.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	var file []byte
	for i := range 700 {
		file = append(file, byte(i*i>>3))
	}
	std, web := base64.StdEncoding.EncodeToString(file), base64.RawURLEncoding.EncodeToString(file)
	escaped := strings.ReplaceAll(std, "/", `\/`)
	every := ""
	for i := range len(std) {
		every += fmt.Sprintf(`\u%04x`, std[i])
	}
	for name, tt := range map[string]struct {
		text string
		want int
	}{
		"JSON":                     {`{"file":"` + std + `","n":1}`, 1},
		"two":                      {`["` + std + `","` + web + `"]`, 2},
		"data URL":                 {`{"file":"data:image/png;base64,` + std + `"}`, 1},
		"JSON with escapes":        {`{"file":"` + escaped + `"}`, 1},
		"JSON, all of it escaped":  {`{"file":"` + every + `"}`, 1},
		"JSON in lines":            {`{"file":"` + lines(std, `\r\n`) + `"}`, 1},
		"XML":                      {`<a><b>` + std + `</b></a>`, 1},
		"XML in lines":             {"<a><b>\n" + lines(std, "\r\n      ") + "\n</b></a>", 1},
		"XML with references":      {"<a>" + strings.ReplaceAll(lines(std, "&#13;\n"), "A", "&#x41;") + "</a>", 1},
		"attribute":                {`<a b="` + std + `"/>`, 1},
		"form":                     {"a=1&file=" + url.QueryEscape(std) + "&b=2", 1},
		"form, first letter too":   {fmt.Sprintf("file=%%%02x%s", std[0], std[1:]), 1},
		"at the end":               {std, 1},
		"prose":                    {strings.Repeat("The registry keeps documents of every municipality, in Bulgarian and English. ", 50), 0},
		"words in lines":           {strings.Repeat("registry\n", 200), 0},
		"hashes":                   {strings.Repeat(`{"sha512":"`+strings.Repeat("0123456789abcdef", 8)+`"}`, 20), 0},
		"numbers":                  {strings.Repeat("1234567890,", 100), 0},
		"short":                    {`{"id":"` + std[:60] + `"}`, 0},
		"Cyrillic":                 {strings.Repeat("Заявление за удостоверение ", 100), 0},
		"a backslash at the end":   {std[:100] + `\`, 1},
		"a percent sign at an end": {"%", 0},
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(tt.text), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.text))} {
			n := 0
			err := Embedded(r, func(f io.Reader) error {
				n++
				got, err := io.ReadAll(f)
				if want := file; err != nil || !bytes.Equal(got, want[:min(len(got), len(want))]) || len(got) < 70 || tt.want > 0 && name != "a backslash at the end" && len(got) != len(want) {
					t.Errorf("%s, %s: %d bytes, %v", name, how, len(got), err)
				}
				return nil
			})
			if err != nil || n != tt.want {
				t.Errorf("%s, %s: found %d, want %d (%v)", name, how, n, tt.want, err)
			}
		}
	}
	found := errors.New("found")
	if err := Embedded(strings.NewReader(`["`+std+`"]`), func(io.Reader) error { return found }); err != found {
		t.Error(err)
	}
	if err := Embedded(strings.NewReader(strings.Repeat(`"`+std[:100]+`",`, maxEmbedded+1)), func(io.Reader) error { return nil }); err != ErrManyEmbedded {
		t.Error(err)
	}
	broken := errors.New("broken")
	if err := Embedded(io.MultiReader(strings.NewReader(`"`+std[:300]), iotest.ErrReader(broken)), func(f io.Reader) error {
		_, err := io.Copy(io.Discard, f)
		return err
	}); err != broken {
		t.Error(err)
	}
}

// FuzzEmbedded: no text makes it fail, or go on without end.
func FuzzEmbedded(f *testing.F) {
	for _, s := range []string{"", `\`, "%4", "&#", "&#x;", "&#;0", `\u00`, strings.Repeat("QUJD", 100), strings.Repeat("A", 79) + "\n B", strings.Repeat(`\u0041`, 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		err := Embedded(strings.NewReader(s), func(r io.Reader) error {
			k, err := io.Copy(io.Discard, r)
			n += int(k)
			return err
		})
		if err != nil && err != ErrManyEmbedded || n > len(s) {
			t.Errorf("%d bytes of %d, %v", n, len(s), err)
		}
	})
}

func BenchmarkEmbedded(b *testing.B) {
	text := []byte(strings.Repeat(`{"name":"Иван Петров","id":123456,"note":"An ordinary sentence about a parcel."},`, 10_000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := Embedded(bytes.NewReader(text), func(io.Reader) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
