package certs

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"unicode"
)

// identifierForms are the forms of an organizationIdentifier (ETSI EN 319 412-1,
// 5.1.4, and TS 119 495 for payment services), by how they begin.
var identifierForms = []struct {
	prefix string
	rule   *regexp.Regexp
	form   string
}{
	{"NTR", regexp.MustCompile(`^NTR[A-Z]{2}(\+[A-Z0-9]{1,3})?-.+$`), "NTR, the country and the number in its trade register, such as NTRBG-100000001"},
	{"VAT", regexp.MustCompile(`^VAT[A-Z]{2}-[^ ]+$`), "VAT, the country and the number for value added tax, such as VATBG-100000001"},
	{"LEI", regexp.MustCompile(`^LEIXG-[A-Z0-9]{18}[0-9]{2}$`), "LEIXG- and the 20 letters and digits of ISO 17442, such as LEIXG-529900T8BM49AURSDO55"},
	{"PSD", regexp.MustCompile(`^PSD[A-Z]{2}-[A-Z]{2,8}-[^ ]+$`), "PSD, the country, its authority for payment services and the number there, such as PSDBG-BNB-100000001"},
	{"GOV", regexp.MustCompile(`^GOV[A-Z]{2}(\+[A-Z0-9]{1,3})?-[^ ]+$`), "GOV, the country and the number of the public body, such as GOVBG-100000001"},
	{"INT", regexp.MustCompile(`^INT[A-Z]{2}-[^ ]+$`), "INTXG- and the number of the international organization, such as INTXG-100000001"},
	{"EUI", regexp.MustCompile(`^EUI[A-Z]{2}-[^ ]+$`), "EUI, the country and the European unique identifier, such as EUIBG-1"},
}

var (
	// At most two letters, the country, follow the type; INTERNAL-1 is nothing of it.
	beginsLikeForm = regexp.MustCompile(`^(?i:([A-Z]{3})[A-Z]{0,2})([^A-Za-z]|$)`)
	nationalScheme = regexp.MustCompile(`^[A-Za-z]{2}:`)
	nationalForm   = regexp.MustCompile(`^[A-Z]{2}:[A-Z]{2}-[^ ]+$`)
)

// CheckIdentifier says what is wrong with an identifier that is to be compared
// with the organizationIdentifier of certificates. advice is what looks wrong
// but need not be: authorities of one's own may write what they like.
func CheckIdentifier(id string) (advice string, err error) {
	if id == "" || len(id) > maxAttribute {
		return "", fmt.Errorf("id %q: an identifier has 1 to %d bytes", id, maxAttribute)
	}
	latin, others := false, rune(0)
	for _, r := range id {
		switch {
		case unicode.IsControl(r), !unicode.IsPrint(r) && r != ' ':
			return "", fmt.Errorf("id %q holds the character %U, which can't be seen", id, r)
		case r < 0x80:
			latin = latin || unicode.IsLetter(r)
		case others == 0:
			others = r
		}
	}
	if strings.TrimSpace(id) != id {
		return "", fmt.Errorf("id %q begins or ends with a space", id)
	}
	if latin && unicode.IsLetter(others) {
		return "", fmt.Errorf("id %q mixes Latin letters with %q (%U), which may only look like one", id, others, others)
	}
	begun := beginsLikeForm.FindStringSubmatch(id)
	for _, f := range identifierForms {
		if begun == nil || strings.ToUpper(begun[1]) != f.prefix {
			continue
		}
		if !f.rule.MatchString(id) {
			return "", fmt.Errorf("id %q: an identifier of this form is %s (ETSI EN 319 412-1)", id, f.form)
		}
		if f.prefix == "LEI" && !leiSum(id[len("LEIXG-"):]) {
			return fmt.Sprintf("id %q: the check digits of the LEI are wrong (ISO 17442)", id), nil
		}
		return "", nil
	}
	if nationalScheme.MatchString(id) {
		if !nationalForm.MatchString(id) {
			return "", fmt.Errorf("id %q: an identifier of a national scheme is two letters and a colon, the country and the number, such as XX:BG-100000001 (ETSI EN 319 412-1)", id)
		}
		return "", nil
	}
	return fmt.Sprintf("id %q does not look like an organizationIdentifier of ETSI EN 319 412-1, such as NTRBG-100000001", id), nil
}

// leiSum checks the check digits of a legal entity identifier (ISO 7064, 97-10).
func leiSum(lei string) bool {
	var digits strings.Builder
	for _, r := range lei {
		if r >= 'A' {
			fmt.Fprint(&digits, r-'A'+10)
		} else {
			digits.WriteRune(r)
		}
	}
	n, ok := new(big.Int).SetString(digits.String(), 10)
	return ok && n.Mod(n, big.NewInt(97)).Int64() == 1
}
