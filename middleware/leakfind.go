package middleware

import "bytes"

// leakKind is a kind of thing that should not leave in a response.
type leakKind int

const (
	leakEGN leakKind = iota
	leakIBAN
	leakCard
	leakTrace
	leakKinds
)

// leakNames are the kinds by the words of the configuration and of metrics.
var leakNames = [leakKinds]string{"egn", "iban", "card", "stack_trace"}

const (
	leakToken = 64  // bytes that a number with its spaces may have
	leakNear  = 96  // bytes before a number in which a word makes it an EGN
	leakPast  = 160 // bytes that are kept of what was sent, for these and for markers
)

// leakFinder finds personal numbers and stack traces in a stream of text. It holds
// back no more than a number that may go on; all else leaves as it comes.
type leakFinder struct {
	kinds [leakKinds]leakAction // "" for those that are not looked for
	json  bool
	found func(leakKind)

	b     []byte // what was sent lately, and what is not sent yet
	sent  int    // of b
	next  int    // of b, from where numbers are looked for
	trace int    // of b, from where stack traces are looked for

	quoted, escaped bool // JSON: inside of a string
	state           int  // of b, up to where these hold

	word       bool // a word for EGN stood somewhere
	ten, valid int  // numbers of ten digits since then, and EGNs among them
	tracing    bool // a stack trace goes on
	blocked    bool // what was found must not leave
}

// feed takes a piece of the response and returns what may leave. end says that
// nothing follows. What it returns holds until the next call.
func (f *leakFinder) feed(p []byte, end bool) []byte {
	f.forget()
	f.b = append(f.b, p...)
	if f.kinds[leakEGN] != "" && !f.word && len(p) > 0 { // at the head of a column, say
		f.word = hasEGNWord(f.b[max(0, f.sent-leakNear):])
	}
	f.traces(end)
	f.numbers(end)
	if f.blocked {
		return nil
	}
	to := f.next
	if a := f.kinds[leakTrace]; a != "" && a != leakCount {
		to = max(f.sent, min(to, f.trace))
	}
	out := f.b[f.sent:to]
	f.sent = to
	return out
}

// forget drops what was sent long ago.
func (f *leakFinder) forget() {
	if n := f.sent - leakPast; n > 4*leakPast {
		f.b = append(f.b[:0], f.b[n:]...)
		f.sent, f.next, f.trace, f.state = f.sent-n, f.next-n, max(0, f.trace-n), max(0, f.state-n)
	}
}

// act does what the configuration says about what was found, in place and with as
// many bytes, so that lengths and ranges stay right.
func (f *leakFinder) act(kind leakKind, from, to int) {
	f.found(kind)
	switch f.kinds[kind] {
	case leakBlock:
		f.blocked = true
	case leakMask:
		fill := byte('*')
		if f.json && !f.inString(from) {
			fill = '9' // a number stays one
		}
		for i := from; i < to; i++ {
			if alphanumeric(f.b[i]) {
				f.b[i] = fill
			}
		}
	}
}

// inString reports whether a place in a JSON document is in a string.
func (f *leakFinder) inString(at int) bool {
	for ; f.state < at; f.state++ {
		switch c := f.b[f.state]; {
		case f.escaped:
			f.escaped = false
		case c == '\\':
			f.escaped = f.quoted
		case c == '"':
			f.quoted = !f.quoted
		}
	}
	return f.quoted
}

// numbers looks at each run of letters and digits.
func (f *leakFinder) numbers(end bool) {
	i := f.next
	for i < len(f.b) {
		if !alphanumeric(f.b[i]) {
			i++
			continue
		}
		j := i
		for j < len(f.b) && alphanumeric(f.b[j]) {
			j++
		}
		if i > 0 && alphanumeric(f.b[i-1]) { // the rest of a run that was none
			i = j
			continue
		}
		if j == len(f.b) && !end {
			if !mayBecome(f.b[i:j]) {
				i = j
			}
			break
		}
		k, more := f.token(i, j, end)
		if more {
			break
		}
		i = k
	}
	if f.json {
		f.inString(i)
	}
	f.next = i
}

// token judges a run from i to j, with the groups that follow it where numbers are
// written in groups. It returns where to go on, or that more has to come.
func (f *leakFinder) token(i, j int, end bool) (next int, more bool) {
	b := f.b
	digits := allDigits(b[i:j])
	iban := j-i == 4 && upper(b[i]) && upper(b[i+1]) && digit(b[i+2]) && digit(b[i+3])
	groups := j - i
	last := j
	if digits && j-i == 4 || iban {
		// Groups of four (or six and five, for some cards), each after one space or hyphen.
		separator := byte(0)
		for last-i < leakToken {
			if last == len(b) {
				if end {
					break
				}
				return i, true
			}
			if c := b[last]; c != ' ' && c != '-' || separator != 0 && c != separator {
				break
			}
			k := last + 1
			for k < len(b) && alphanumeric(b[k]) && k-last <= 7 {
				k++
			}
			if k == len(b) && !end {
				return i, true
			}
			if k == last+1 || k-last-1 > 6 || digits && !allDigits(b[last+1:k]) {
				break
			}
			separator = b[last]
			groups += k - last - 1
			last = k
		}
	}
	if last > j {
		switch {
		case digits && f.kinds[leakCard] != "" && groups >= 13 && validCard(ungrouped(b[i:last])) && f.alone(i, last):
			f.act(leakCard, i, last)
			return last, false
		case iban && f.kinds[leakIBAN] != "":
			for n := range trimGroups(b[i:last]) { // a word may follow the number
				if knownIBAN(ungrouped(b[i : i+n])) {
					f.act(leakIBAN, i, i+n)
					return i + n, false
				}
			}
		}
	}
	switch s := string(b[i:j]); {
	case digits && len(s) == 10 && f.kinds[leakEGN] != "" && f.alone(i, j):
		f.egn(s, i, j)
	case digits && f.kinds[leakCard] != "" && validCard(s) && f.alone(i, j):
		f.act(leakCard, i, j)
	case !digits && f.kinds[leakIBAN] != "" && knownIBAN(s):
		f.act(leakIBAN, i, j)
	}
	return j, false
}

// ungrouped is a number without what stands between its groups.
func ungrouped(b []byte) string {
	out := make([]byte, 0, leakToken)
	for _, c := range b {
		if alphanumeric(c) {
			out = append(out, c)
		}
	}
	return string(out)
}

// trimGroups yields the lengths of s without its last groups.
func trimGroups(s []byte) func(func(int) bool) {
	return func(yield func(int) bool) {
		for n := len(s); n > 0; n = bytes.LastIndexAny(s[:n], " -") {
			if !yield(n) {
				return
			}
		}
	}
}

// alone reports whether a number is not a part of a decimal fraction, or of a
// longer number with hyphens, as coordinates and UUIDs are.
func (f *leakFinder) alone(i, j int) bool {
	b := f.b
	joins := func(c byte) bool { return c == '.' || c == '-' }
	if i > 1 && joins(b[i-1]) && digit(b[i-2]) {
		return false
	}
	return !(j+1 < len(b) && joins(b[j]) && digit(b[j+1]))
}

// egn judges a number of ten digits. 1.1 % of those that mean something else have
// the right checksum, so a word has to be near; or one stood before, as at the head
// of a column, and most such numbers since are valid.
func (f *leakFinder) egn(s string, i, j int) {
	near := hasEGNWord(f.b[max(0, i-leakNear):i])
	f.word = f.word || near
	if !f.word {
		return
	}
	f.ten++
	if !validEGN(s) {
		return
	}
	f.valid++
	if near || 2*f.valid > f.ten {
		f.act(leakEGN, i, j)
	}
}

// egnWords stand before personal numbers, also as JSON writes them in ASCII.
var egnWords = func() (out [][]byte) {
	for _, w := range []string{
		"егн", "ЕГН", "Егн", "единен граждански номер", "Единен граждански номер", "ЕДИНЕН ГРАЖДАНСКИ НОМЕР",
		`\u0435\u0433\u043d`, `\u0415\u0413\u041d`, `\u0415\u0413\u041D`, `\u0435\u0433\u043D`, `\u0415\u0433\u043d`,
		"civil number", "Civil number", "Civil Number", "civil_number", "civilNumber", "CivilNumber",
		"personal number", "Personal number", "Personal Number", "personal_number", "personalNumber", "PersonalNumber", "personalIdentifier", "PersonalIdentifier",
	} {
		out = append(out, []byte(w))
	}
	return out
}()

var latinEGN = [][]byte{[]byte("egn"), []byte("EGN"), []byte("Egn")}

func hasEGNWord(near []byte) bool {
	for _, w := range egnWords {
		if bytes.Contains(near, w) {
			return true
		}
	}
	for _, w := range latinEGN { // also as a part of personEgn or egn_number
		for at := 0; ; at++ {
			k := bytes.Index(near[at:], w)
			if k < 0 {
				break
			}
			if at += k; egnAt(near, at) {
				return true
			}
		}
	}
	return false
}

// egnAt reports whether the letters egn at a place are a word, or a part of a name
// in camel case.
func egnAt(b []byte, at int) bool {
	before, after := byte(' '), byte(' ')
	if at > 0 {
		before = b[at-1]
	}
	if at+3 < len(b) {
		after = b[at+3]
	}
	lower := func(c byte) bool { return c >= 'a' && c <= 'z' }
	return !lower(after) && (!alphanumeric(before) || !lower(b[at]) && lower(before) || digit(before))
}

// mayBecome reports whether a run that goes on may be the beginning of a number
// that is looked for.
func mayBecome(b []byte) bool {
	if allDigits(b) {
		return len(b) <= 19
	}
	for i, c := range b[:min(4, len(b))] {
		if i < 2 && !upper(c) || i >= 2 && !digit(c) {
			return false
		}
	}
	return len(b) <= 34
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if !digit(c) {
			return false
		}
	}
	return true
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

// validCard checks issuer, length and checksum (ISO/IEC 7812-1) of a card number.
func validCard(s string) bool {
	if len(s) < 13 || len(s) > 19 || !allDigits([]byte(s)) || !cardIssuer(s) {
		return false
	}
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// cardIssuer reports whether a number begins as cards of its length do.
func cardIssuer(s string) bool {
	four := int(s[0]-'0')*1000 + int(s[1]-'0')*100 + int(s[2]-'0')*10 + int(s[3]-'0')
	two := four / 100
	switch len(s) {
	case 15:
		return two == 34 || two == 37
	case 14:
		return two == 36 || two == 38 || two == 30
	case 13, 19:
		return s[0] == '4'
	case 16:
		return s[0] == '4' || two >= 51 && two <= 55 || four >= 2221 && four <= 2720 || four == 6011 || two == 65 || four >= 3528 && four <= 3589 || two == 67 || two == 50
	}
	return false
}

// ibanLengths are those of the countries whose accounts are met here (ISO 13616).
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FO": 18, "FR": 27,
	"GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "KZ": 20, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24,
	"ME": 22, "MK": 19, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "RS": 22, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26, "UA": 29, "VA": 22, "XK": 20,
}

func knownIBAN(s string) bool {
	return len(s) >= 15 && ibanLengths[s[:2]] == len(s) && validIBAN(s)
}
