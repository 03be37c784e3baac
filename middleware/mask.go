package middleware

import "strings"

// Mask takes personal identifiers out of text that goes to a log: valid EGN
// (ЕГН) and LNCh (ЛНЧ) numbers, IBANs with a right checksum, and e-mail
// addresses. It reads the text as it stands, and as it is after one, two and
// three percent-decodings, since whoever reads a log may decode it. EGN and IBANs are
// found in groups as well (750101-0018), and EGN, LNCh and IBANs within Base64 (see
// maskspread.go). A number that only looks like one of these is masked now and then; a
// valid one always.
func Mask(s string) string {
	if !suspicious(s) {
		return s
	}
	deepest := 0
	for d := s; deepest < maskDepth && encoded(d); deepest++ {
		d, _ = decodedOnce(d)
	}
	for depth := deepest; depth >= 0; depth-- {
		s = maskDecoded(s, depth)
	}
	return s
}

// maskDepth is how often a text may be encoded.
const maskDepth = 3

// maskDecoded masks what stands in s after it was decoded depth times.
func maskDecoded(s string, depth int) string {
	d, at := s, []int(nil)
	if depth > 0 {
		d, at = decoded(s, depth)
	}
	var out []byte
	last := 0 // the beginning of what is not in out yet, in d
	origin := func(i int) int {
		if at == nil {
			return i
		}
		return at[i]
	}
	mask := func(from, to int, with string) {
		out = append(append(out, s[origin(last):origin(from)]...), with...)
		last = to
	}
	for i := 0; i < len(d); {
		switch c := d[i]; {
		case c == '@':
			i = maskEmail(d, i, last, mask)
		case alphanumeric(c):
			j := i + 1
			for j < len(d) && alphanumeric(d[j]) {
				j++
			}
			if validIBAN(d[i:j]) {
				mask(i, j, "[iban]")
				i = j
			} else if end := spreadIBAN(d, i); end > 0 {
				mask(i, end, "[iban]")
				i = end
			} else if from, end := base64Around(d, i, j, last); end > 0 {
				mask(from, end, "[id]")
				i = end
			} else {
				i = maskDigits(d, i, j, mask)
			}
		default:
			i++
		}
	}
	if last == 0 {
		return s
	}
	return string(append(out, s[origin(last):]...))
}

// encoded reports whether decoding s may change it.
func encoded(s string) bool {
	return strings.ContainsAny(s, `%\`) || strings.IndexByte(s, 0xef) >= 0
}

// decoded is s after it was decoded depth times, and where in s each of its bytes
// begins.
func decoded(s string, depth int) (string, []int) {
	d, at := decodedOnce(s)
	for range depth - 1 {
		next, from := decodedOnce(d)
		for i, k := range from {
			from[i] = at[k]
		}
		d, at = next, from
	}
	return d, at
}

// decodedOnce is s with digits of full width as those of ASCII, and each escape as
// what it stands for.
func decodedOnce(s string) (string, []int) {
	d := make([]byte, 0, len(s))
	at := make([]int, 0, len(s)+1)
	for i := 0; i < len(s); {
		c, n := decode(s[i:])
		d, at = append(d, c), append(at, i)
		i += n
		if k := len(d) - 3; k >= 0 && d[k] == 0xef && d[k+1] == 0xbc && d[k+2] >= 0x90 && d[k+2] <= 0x99 { // U+FF10 to U+FF19
			d[k] = d[k+2] - 0x90 + '0'
			d, at = d[:k+1], at[:k+1]
		}
	}
	return string(d), append(at, len(s))
}

// decode reads one byte: as it stands, percent-encoded, or as JSON escapes it.
func decode(s string) (c byte, size int) {
	switch {
	case escape(s):
		return unhex(s[1])<<4 | unhex(s[2]), 3
	case strings.HasPrefix(s, `\u00`) && len(s) >= 6 && hexDigit(s[4]) && hexDigit(s[5]):
		return unhex(s[4])<<4 | unhex(s[5]), 6
	}
	return s[0], 1
}

func unhex(c byte) byte {
	if digit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// suspicious reports whether s may hold anything to mask: ten digits, ten digits in
// Base64, or an at sign. Most paths hold none.
func suspicious(s string) bool {
	digits := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case digit(c):
			if digits++; digits == 10 {
				return true
			}
		case c == 'M' || c == 'N' || c == 'O':
			if digitsInBase64(s[i:]) {
				return true
			}
		case c == '@', c == 0xef, c == '\\', c == '%' && i+1 < len(s) && (s[i+1] == '2' || s[i+1] >= '4' && s[i+1] <= '7' || s[i+1]|0x20 == 'e'):
			return true
		}
	}
	return false
}

// maskEmail masks the address around the at sign s[at], and returns where to
// read on. What stands before start is masked already.
func maskEmail(s string, at, start int, mask func(from, to int, with string)) int {
	from, after := at, at+1
	for from > start {
		if c := s[from-1]; !alphanumeric(c) && c < 0x80 && c != '.' && c != '_' && c != '-' && c != '+' {
			break
		}
		from--
	}
	to, dot := after, 0
	for to < len(s) {
		c := s[to]
		if !alphanumeric(c) && c < 0x80 && c != '-' && c != '.' {
			break
		}
		if c == '.' {
			dot = to
		}
		to++
	}
	if dot == to-1 { // the end of a sentence
		to--
		for dot = to - 1; dot > after && s[dot] != '.'; dot-- {
		}
	}
	if from == at && at != start || dot <= after || to-dot < 3 {
		return after
	}
	mask(from, to, "[email]")
	return to
}

// escape reports whether s begins with a percent-encoded byte.
func escape(s string) bool { return len(s) >= 3 && s[0] == '%' && hexDigit(s[1]) && hexDigit(s[2]) }

func hexDigit(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// maskDigits masks, within s[i:end], runs of exactly ten digits that are valid
// identifiers, and those that go on in groups behind end. It returns where to read on.
func maskDigits(s string, i, end int, mask func(from, to int, with string)) int {
	for i < end {
		if !digit(s[i]) {
			i++
			continue
		}
		j := i + 1
		for j < end && digit(s[j]) {
			j++
		}
		if j-i == 10 && (validEGN(s[i:j]) || validLNCh(s[i:j])) {
			mask(i, j, "[id]")
		} else if j-i < 10 && j < len(s) && !alphanumeric(s[j]) {
			if to := spreadEGN(s, i); to > 0 {
				mask(i, to, "[id]")
				j = to
			}
		}
		i = j
	}
	return i
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func alphanumeric(c byte) bool {
	return digit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// validEGN checks date and checksum of a Bulgarian civil number: ten digits, of
// which the month is raised by 20 for births before 1900 and by 40 after 1999.
func validEGN(d string) bool {
	month := int(d[2]-'0')*10 + int(d[3]-'0')
	day := int(d[4]-'0')*10 + int(d[5]-'0')
	if m := month % 20; m < 1 || m > 12 || month > 52 || day < 1 || day > 31 {
		return false
	}
	return checksum(d, [9]int{2, 4, 8, 5, 10, 9, 7, 3, 6})%11%10 == int(d[9]-'0')
}

// validLNCh checks the checksum of a foreigner's personal number: ten digits.
func validLNCh(d string) bool {
	return checksum(d, [9]int{21, 19, 17, 13, 11, 9, 7, 3, 1})%10 == int(d[9]-'0')
}

func checksum(d string, weights [9]int) (sum int) {
	for i, w := range weights {
		sum += int(d[i]-'0') * w
	}
	return sum
}

// validIBAN checks form and checksum of an account number (ISO 13616).
func validIBAN(s string) bool {
	if len(s) < 15 || len(s) > 34 || digit(s[0]) || digit(s[1]) || !digit(s[2]) || !digit(s[3]) {
		return false
	}
	rest := 0
	for i := range len(s) {
		c := s[(i+4)%len(s)]
		switch {
		case digit(c):
			rest = (rest*10 + int(c-'0')) % 97
		default:
			rest = (rest*100 + int(c|0x20-'a') + 10) % 97
		}
	}
	return rest == 1
}
