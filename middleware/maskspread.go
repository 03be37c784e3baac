package middleware

import "encoding/base64"

// mostBetween is how many separators stand between two groups at most: " - ".
const mostBetween = 3

// between is the length of the separator that s begins with, or 0. Slashes and
// commas are none: they part what does not belong together.
func between(s string) int {
	switch c := s[0]; c {
	case ' ', '-', '_', '+', '.':
		return 1
	case 0xc2: // no-break space
		if len(s) > 1 && s[1] == 0xa0 {
			return 2
		}
	case 0xe2: // spaces and dashes of typography: U+2000 to U+2015, U+202F
		if len(s) > 2 && s[1] == 0x80 && (s[2] >= 0x80 && s[2] <= 0x95 || s[2] == 0xaf) {
			return 3
		}
	}
	return 0
}

// nextGroup is where the next group begins after one that ended at i, or -1, and whether
// a dot stands between.
func nextGroup(s string, i int) (next int, dot bool) {
	for range mostBetween {
		if i == len(s) {
			return -1, false
		}
		n := between(s[i:])
		if n == 0 {
			break
		}
		dot = dot || s[i] == '.'
		i += n
	}
	if i == len(s) || !alphanumeric(s[i]) {
		return -1, false
	}
	return i, dot
}

// spreadEGN is the end of an EGN that begins at s[i] and is written in groups, or 0.
// Its date makes it likely enough to be one; numbers of foreigners have none, and one
// of ten numbers in groups would pass for one.
func spreadEGN(s string, i int) int {
	var d [10]byte
	var sizes [10]int
	n, groups, dots := 0, 0, false
	for {
		begin := n
		for ; i < len(s) && digit(s[i]); i++ {
			if n == len(d) {
				return 0
			}
			d[n] = s[i]
			n++
		}
		if n == begin {
			return 0
		}
		sizes[groups] = n - begin
		groups++
		if n == len(d) {
			break
		}
		next, dot := nextGroup(s, i)
		if next < 0 || next == i {
			return 0
		}
		i, dots = next, dots || dot
	}
	switch {
	case groups == 1,
		dots && sizes[groups-1] != 4,                                   // an IPv4 address
		groups == 4 && sizes[0] == 4 && sizes[1] == 2 && sizes[2] == 2, // a date and an hour
		!validEGN(string(d[:])):
		return 0
	}
	return i
}

// spreadIBAN is the end of an IBAN that begins at s[i] and is written in groups, or 0.
func spreadIBAN(s string, i int) (end int) {
	if len(s) < i+4 || digit(s[i]) || digit(s[i+1]) || !digit(s[i+2]) || !digit(s[i+3]) {
		return 0
	}
	var d [34]byte
	n := 0
	for {
		begin := i
		for ; i < len(s) && alphanumeric(s[i]); i++ {
			if n == len(d) {
				return end
			}
			d[n] = s[i]
			n++
		}
		if begin == i {
			return end
		}
		if validIBAN(string(d[:n])) {
			end = i
		}
		if i, _ = nextGroup(s, i); i < 0 {
			return end
		}
	}
}

// digitsInBase64 reports whether s begins with six digits in Base64, as they are where
// ten stand in a row, whatever is before them.
func digitsInBase64(s string) bool {
	return len(s) >= 8 && threeDigits(s[:4]) && threeDigits(s[4:8])
}

// threeDigits reports whether four characters of Base64 are three digits: 0011xxxx
// thrice.
func threeDigits(s string) bool {
	a, b, c, d := s[0], s[1], s[2], s[3]
	return a >= 'M' && a <= 'O' && (b == 'D' || b == 'T' || b == 'j' || b == 'z') &&
		(c >= 'A' && c <= 'Y' && (c-'A')%4 == 0 || c == 'c' || c == 'g' || c == 'k') && (d >= 'w' && d <= 'z' || d >= '0' && d <= '5')
}

// How much Base64 around six digits is decoded: room for an IBAN. What a client sends
// may be full of digits, and each costs no more than this.
const (
	base64Before = 48
	base64After  = 64
)

// base64Around is the Base64 around s[i:j], not before last, if there is anything to
// mask in it. The end is 0 if not.
func base64Around(s string, i, j, last int) (from, end int) {
	for k := i; k+8 <= j; k++ {
		if c := s[k]; c < 'M' || c > 'O' || !digitsInBase64(s[k:j]) {
			continue
		}
		from, end = base64Bounds(s, k, max(last, k-base64Before), min(len(s), k+base64After))
		aligned := from + (k-from)%4
		// A dash before it may be part of it, or not.
		word := max(aligned, i+(k-i)%4)
		if !hidesNumber(s[aligned:end]) && (word == aligned || !hidesNumber(s[word:end])) {
			continue
		}
		from, end = base64Bounds(s, k, last, len(s))
		for end < len(s) && s[end] == '=' {
			end++
		}
		return from, end
	}
	return 0, 0
}

// base64Bounds is how far Base64 goes on both sides of s[k], within from and end.
func base64Bounds(s string, k, from, end int) (int, int) {
	b := k
	for b > from && inBase64(s[b-1]) {
		b--
	}
	e := k
	for e < end && inBase64(s[e]) {
		e++
	}
	return b, e
}

// inBase64 knows both alphabets, but for the slash, which parts a path.
func inBase64(c byte) bool { return alphanumeric(c) || c == '-' || c == '_' || c == '+' }

// hidesNumber decodes s and looks into it.
func hidesNumber(s string) bool {
	b := []byte(s)
	for i, c := range b {
		switch c {
		case '-':
			b[i] = '+'
		case '_':
			b[i] = '/'
		}
	}
	if len(b)%4 == 1 {
		b = b[:len(b)-1]
	}
	text := make([]byte, base64.RawStdEncoding.DecodedLen(len(b)))
	n, err := base64.RawStdEncoding.Decode(text, b)
	return err == nil && maskDecoded(string(text[:n]), 0) != string(text[:n])
}
