package waf

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// Rules see text through transformations that undo %uXXXX and \uXXXX, and the
// engine's keep only the low byte of the character, as old servers do. That
// turns Cyrillic м, н and о into <, = and >, and a sentence into what looks like
// code. The ones of this file leave the letters of Cyrillic, and the signs that are written
// with them, what they are, in UTF-8, and everything else to the engine's own.

// cyrillic reports whether a character is of the blocks Cyrillic or Cyrillic
// Supplement.
func cyrillic(r rune) bool { return r >= 0x400 && r <= 0x52f }

// kept reports whether an escape stands for its character: a letter, or one of
// the quotation marks and signs that Cyrillic text is written with, which are in
// its code pages of bytes too, so that nothing turns them into ASCII's.
func kept(r rune) bool {
	switch r {
	case '„', '“', '”', '–', '—', '…', '№', '•', '€':
		return true
	}
	return cyrillic(r)
}

// decoders are the transformations that are put in the place of the engine's,
// and the byte that begins an escape in each of them.
var decoders = map[string]byte{"urldecodeuni": '%', "jsdecode": '\\'}

// engineDecoders are the engine's own, found before they are put aside.
var engineDecoders = sync.OnceValues(func() (map[string]plugintypes.Transformation, error) {
	found := map[string]plugintypes.Transformation{}
	for name := range decoders {
		f, err := engineTransformation(name)
		if err != nil {
			return nil, err
		}
		found[name] = f
	}
	return found, nil
})

// registerDecoders has the rules that are compiled next read Cyrillic as letters,
// or as the engine does. The caller holds compiling.
func registerDecoders(letters bool) error {
	own, err := engineDecoders()
	if err != nil {
		return err
	}
	for name, escape := range decoders {
		f := own[name]
		if letters {
			f = keepCyrillic(f, escape)
		}
		plugins.RegisterTransformation(name, f)
	}
	return nil
}

// keepCyrillic is decode, but for escapes of Cyrillic letters. The parts between
// those are decoded each for itself, which makes no difference: no escape of
// either kind goes on over the byte that begins another one.
func keepCyrillic(decode plugintypes.Transformation, escape byte) plugintypes.Transformation {
	return func(s string) (string, bool, error) {
		at := nextCyrillic(s, 0, escape)
		if at < 0 {
			return decode(s)
		}
		out := make([]byte, 0, len(s))
		from := 0
		for at >= 0 {
			if at > from {
				part, _, err := decode(s[from:at])
				if err != nil {
					return s, false, err
				}
				out = append(out, part...)
			}
			out = utf8.AppendRune(out, escaped(s[at:]))
			from = at + 6
			at = nextCyrillic(s, from, escape)
		}
		part, _, err := decode(s[from:])
		return string(append(out, part...)), true, err
	}
}

// nextCyrillic is where the next escape of a Cyrillic letter begins, from i on.
func nextCyrillic(s string, i int, escape byte) int {
	for i < len(s) {
		n := strings.IndexByte(s[i:], escape)
		if n < 0 {
			return -1
		}
		i += n
		if kept(escaped(s[i:])) {
			return i
		}
		if i++; escape == '\\' {
			i++ // what follows a backslash is no beginning
		}
	}
	return -1
}

// escaped is the character of an escape such as %u0436 or \u0436, or 0.
func escaped(s string) (r rune) {
	if len(s) < 6 || s[1] != 'u' && (s[1] != 'U' || s[0] != '%') {
		return 0
	}
	for i := 2; i < 6; i++ {
		if !isHex(s[i]) {
			return 0
		}
		r = r<<4 | rune(unhex(s[i]))
	}
	return r
}
