package middleware

import (
	"strings"
	"testing"
	"time"
)

func TestMask(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "/v1/parcels/68134", "/v1/parcels/68134"},
		{"EGN", "/citizens/7523169263/address", "/citizens/[id]/address"},
		{"EGN born after 1999", "/citizens/0041010002", "/citizens/[id]"},
		{"EGN after an escape of two digits", "/find/name%207523169263", "/find/name%20[id]"},
		{"EGN within letters", "/egn7523169263.json", "/egn[id].json"},
		{"EGN with a wrong checksum", "/citizens/7523169264", "/citizens/7523169264"},
		{"EGN with no such month", "/citizens/7513169263", "/citizens/7513169263"},
		{"part of a longer number", "/n/17523169263", "/n/17523169263"},
		{"EGN with its digits encoded", "/c/%37%35%32%33%31%36%39%32%36%33/x", "/c/[id]/x"},
		{"EGN with one digit encoded", "/c/7523169%32" + "63", "/c/[id]"},
		{"EGN with its digits encoded twice", "/c/%2537%2535%2532%2533%2531%2536%2539%2532%2536%2533", "/c/[id]"},
		{"EGN with a digit encoded three times", "/c/%252537523169263", "/c/[id]"},
		{"EGN after a percent sign that is encoded", "/c/100%257523169263", "/c/100%25[id]"},
		{"EGN of which an escape is put together", "/c/7%35%%332%33169263", "/c/[id]"},
		{"EGN as JSON escapes it", `{"a":"\u0037523169263"}`, `{"a":"[id]"}`},
		{"EGN in digits of full width", "/c/７５２３１６９２６３", "/c/[id]"},
		{"EGN in digits of full width, encoded", "/c/%EF%BC%97523169263", "/c/[id]"},
		{"IBAN with a letter encoded", "/a/%42G80BNBG96611020345678", "/a/[iban]"},
		{"mail, at sign encoded twice", "/u/ivan%2540example.bg", "/u/[email]"},
		{"two EGN", "/7523169263-7523169263", "/[id]-[id]"},
		{"LNCh", "/foreigners/1000000001", "/foreigners/[id]"},
		{"IBAN", "/accounts/BG80BNBG96611020345678/balance", "/accounts/[iban]/balance"},
		{"IBAN in small letters", "/accounts/bg80bnbg96611020345678", "/accounts/[iban]"},
		{"IBAN of another country", "/accounts/DE89370400440532013000", "/accounts/[iban]"},
		{"IBAN with a wrong checksum", "/accounts/BG81BNBG96611020345678", "/accounts/BG81BNBG96611020345678"},
		{"mail", "/users/ivan.petrov+x@mail.example.bg/edit", "/users/[email]/edit"},
		{"mail, at sign encoded", "/users/ivan%40example.bg", "/users/[email]"},
		{"mail after an encoded slash", "/u%2Fivan@example.bg", "/u%2F[email]"},
		{"mail in Cyrillic", "/users/%D0%B8%D0%B2@%D0%BF%D0%BE%D1%89%D0%B0.%D0%B1%D0%B3/", "/users/[email]/"},
		{"mail at the end of a sentence", "write to a@example.bg.", "write to [email]."},
		{"two mails", "a@example.bg,b@example.com", "[email],[email]"},
		{"EGN as mailbox", "/u/7523169263@example.bg", "/u/[id][email]"},
		{"at sign alone", "/@scope/package", "/@scope/package"},
		{"no domain", "/user@host/x", "/user@host/x"},
		{"at sign at the end", "/user@", "/user@"},
		{"dots only", "/a@..", "/a@.."},
		{"EGN in two groups", "/citizens/752316-9263/x", "/citizens/[id]/x"},
		{"EGN with a space", "name 752316 9263", "name [id]"},
		{"EGN with an encoded space", "/c/752316%209263", "/c/[id]"},
		{"EGN with a plus", "/c/752316+9263", "/c/[id]"},
		{"EGN with a no-break space, encoded", "/c/752316%C2%A09263", "/c/[id]"},
		{"EGN with a dash of typography", "752316\u20139263", "[id]"},
		{"EGN in groups of two", "75 23 16 92 63", "[id]"},
		{"EGN by dots", "75.23.16.9263", "[id]"},
		{"EGN digit by digit", "/c/7-5-2-3-1-6-9-2-6-3", "/c/[id]"},
		{"EGN with a dash between spaces", "752316 - 9263", "[id]"},
		{"EGN after another number", "5 752316-9263", "5 [id]"},
		{"EGN in groups before another number", "752316-9263 12", "[id] 12"},
		{"EGN in groups within letters", "egn752316-9263.json", "egn[id].json"},
		{"groups with a wrong checksum", "/c/752316-9264", "/c/752316-9264"},
		{"groups of more digits", "/c/752316-92630", "/c/752316-92630"},
		{"two segments", "/752316/9263", "/752316/9263"},
		{"a date and an hour", "2026-11-25 15", "2026-11-25 15"},
		{"an address", "10.120.11.127", "10.120.11.127"},
		{"IBAN in groups of four", "to BG80 BNBG 9661 1020 3456 78.", "to [iban]."},
		{"IBAN in groups, encoded", "/a/BG80%20BNBG%209661%201020%203456%2078", "/a/[iban]"},
		{"IBAN in groups with a wrong checksum", "BG81 BNBG 9661 1020 3456 78", "BG81 BNBG 9661 1020 3456 78"},
		{"EGN in Base64", "/u/NzUyMzE2OTI2Mw==/x", "/u/[id]/x"},
		{"EGN in Base64 without padding", "/u/NzUyMzE2OTI2Mw", "/u/[id]"},
		{"EGN in Base64 of JSON", "/t/eyJlZ24iOiI3NTIzMTY5MjYzIn0/x", "/t/[id]/x"},
		{"EGN in Base64, a byte later", "/u/IDc1MjMxNjkyNjM=", "/u/[id]"},
		{"EGN in Base64, encoded", "/u/NzUyMzE2OTI2Mw%3D%3D", "/u/[id]"},
		{"EGN in Base64 after a word", "/user-NzUyMzE2OTI2Mw==", "/[id]"},
		{"EGN in groups in Base64", "/u/NzUyMzE2LTkyNjMgNzUyMzE2OTI2Mw==", "/u/[id]"},
		{"other digits in Base64", "/u/NzUyMzE2OTI2NA==", "/u/NzUyMzE2OTI2NA=="},
		{"escape cut short", "/1234567890%4", "/1234567890%4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := Mask(c.in); got != c.want {
				t.Errorf("Mask(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

// TestMaskIsCheap: what is full of what looks like the beginning of a number is read
// in a time that follows its length.
func TestMaskIsCheap(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"NzUyMzE2-", "NzUyMzE2", "NzUyMzE2TnpVeU16RTI-", "7-5-2-3-1-6-", "BG80 BNBG ", "%25", "%2525252525", "@a.", "７５"} {
		cost := func(n int) time.Duration {
			text, best := strings.Repeat(s, n/len(s)), time.Hour
			for range 5 {
				begin := time.Now()
				Mask(text)
				best = min(best, time.Since(begin))
			}
			return best
		}
		if short, long := cost(2<<10), cost(32<<10); long > 80*short && long > 20*time.Millisecond {
			t.Errorf("%q: 2 KiB take %v, 32 KiB %v", s, short, long)
		}
	}
}

func FuzzMask(f *testing.F) {
	for _, s := range []string{"/citizens/7523169263", "a%40b.bg", "%", "@@@...", "BG80BNBG96611020345678", "%D0@%D0.%D0%B1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Mask(s)
		if len(got) > 3*len(s)+8 {
			t.Errorf("Mask(%q) grew to %q", s, got)
		}
		// Whatever stands before it, a valid number in one piece is masked.
		for _, number := range []string{"/7523169263/", "/752316-9263/", "/NzUyMzE2OTI2Mw==/", "/BG80 BNBG 9661 1020 3456 78/"} {
			if got := Mask(s + number); strings.Contains(got, number) {
				t.Errorf("Mask left the number in %q", got)
			}
		}
	})
}

func BenchmarkMask(b *testing.B) {
	for name, s := range map[string]string{"plain": "/api/v1/parcels/by-region/sofia", "uuid": "/v1/files/6f1c2a3e-9b7d-4a55-8c01-123456789012", "EGN": "/citizens/7523169263/address"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Mask(s)
			}
		})
	}
}
