package middleware

// Mask takes personal identifiers out of text that goes to a log: valid EGN
// (ЕГН) and LNCh (ЛНЧ) numbers, IBANs with a right checksum, and e-mail
// addresses. It understands percent-encoding, since it reads paths. A number that
// only looks like one of these is masked now and then; a valid one always, if it
// stands in one piece.
func Mask(s string) string {
	if !suspicious(s) {
		return s
	}
	var out []byte
	last := 0 // s[:last] is in out
	mask := func(from, to int, with string) {
		out = append(append(out, s[last:from]...), with...)
		last = to
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '@':
			i = maskEmail(s, i, i+1, last, mask)
		case escape(s[i:]):
			if s[i+1] == '4' && s[i+2] == '0' {
				i = maskEmail(s, i, i+3, last, mask)
				continue
			}
			i += 3
		case alphanumeric(c):
			j := i + 1
			for j < len(s) && alphanumeric(s[j]) {
				j++
			}
			if validIBAN(s[i:j]) {
				mask(i, j, "[iban]")
			} else {
				maskDigits(s, i, j, mask)
			}
			i = j
		default:
			i++
		}
	}
	if last == 0 {
		return s
	}
	return string(append(out, s[last:]...))
}

// suspicious reports whether s may hold anything to mask: ten digits, or an at
// sign. Most paths hold neither.
func suspicious(s string) bool {
	digits := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case digit(c):
			if digits++; digits == 10 {
				return true
			}
		case c == '@', c == '%' && i+2 < len(s) && s[i+1] == '4' && s[i+2] == '0':
			return true
		}
	}
	return false
}

// maskEmail masks the address around an at sign that takes s[at:after], and
// returns where to read on. What stands before start is masked already.
func maskEmail(s string, at, after, start int, mask func(from, to int, with string)) int {
	from := at
	for from > start {
		if c := s[from-1]; alphanumeric(c) || c >= 0x80 || c == '.' || c == '_' || c == '-' || c == '+' {
			// The two digits of an escape belong to it: %2Fivan@ begins at i.
			if from-3 >= start && escape(s[from-3:]) {
				if !highEscape(s[from-3:]) {
					break
				}
				from -= 3
				continue
			}
			from--
			continue
		}
		break
	}
	to, dot := after, 0
	for to < len(s) {
		if c := s[to]; alphanumeric(c) || c >= 0x80 || c == '-' {
			to++
		} else if c == '.' {
			dot = to
			to++
		} else if highEscape(s[to:]) {
			to += 3
		} else {
			break
		}
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

// highEscape reports whether s begins with a percent-encoded byte outside ASCII.
func highEscape(s string) bool { return escape(s) && s[1] >= '8' }

// escape reports whether s begins with a percent-encoded byte.
func escape(s string) bool { return len(s) >= 3 && s[0] == '%' && hexDigit(s[1]) && hexDigit(s[2]) }

func hexDigit(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// maskDigits masks, within s[i:end], runs of exactly ten digits that are valid
// identifiers.
func maskDigits(s string, i, end int, mask func(from, to int, with string)) {
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
		}
		i = j
	}
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
