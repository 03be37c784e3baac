package unit

import "strconv"

// maxDigits bounds a number: more of them are a slip, and beyond what a float64
// holds exactly.
const maxDigits = 16

// number reads a decimal number at the start of s: digits, and a fraction
// after a point. It returns the number and what follows it. Signs, exponents,
// leading zeros and the names of infinities, which strconv would read, are none.
func number(s string) (f float64, rest string, ok bool) {
	whole := digits(s)
	n := whole
	if whole == 0 || whole > 1 && s[0] == '0' {
		return 0, s, false
	}
	if n < len(s) && s[n] == '.' {
		fraction := digits(s[n+1:])
		if fraction == 0 {
			return 0, s, false
		}
		n += 1 + fraction
	}
	if n > maxDigits+1 {
		return 0, s, false
	}
	f, err := strconv.ParseFloat(s[:n], 64)
	return f, s[n:], err == nil
}

// digits is how many digits s begins with.
func digits(s string) (n int) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
