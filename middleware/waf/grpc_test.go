package waf

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// pb is a field of bytes.
func pb(number uint64, content string) string {
	b := binary.AppendUvarint(nil, number<<3|wireBytes)
	return string(binary.AppendUvarint(b, uint64(len(content)))) + content
}

// TestMessages: the texts of a message are found wherever they stand.
func TestMessages(t *testing.T) {
	t.Parallel()
	deep := "x"
	for range 40 {
		deep = pb(1, deep+"\x01")
	}
	for _, tt := range []struct {
		name, message string
		want          []pair
		reason        string
	}{
		{"nothing", "", nil, ""},
		{"a text", pb(1, "София 1"), []pair{{"grpc.1", "София 1"}}, ""},
		{"numbers", "\x08\x96\x01\x11\x00\x00\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00\x00", nil, ""},
		{"a message of numbers", pb(3, "\x08\x01\x10\x00"), nil, ""},
		{"a text in a message", pb(2, pb(3, "Иван")+"\x08\x00"), []pair{{"grpc.2.3", "Иван"}}, ""},
		{"texts and numbers", "\x08\x01" + pb(4, "a") + pb(4, "b"), []pair{{"grpc.4", "a"}, {"grpc.4", "b"}}, ""},
		{"bytes", pb(1, "\xff\xfe\x00\x01"), nil, ""},
		{"a text with a NUL", pb(1, "a\x00;b"), []pair{{"grpc.1", "a\x00;b"}}, ""},
		{"what is all text", `{"a":1}`, []pair{{"grpc", `{"a":1}`}}, ReasonGRPC},
		{"a group", "\x0b\x0c", nil, ReasonGRPC},
		{"a length too large", "\x0a\x05abc", nil, ReasonGRPC},
		{"field 0", "\x00\x01", nil, ReasonGRPC},
		{"too deep", deep, nil, ReasonDepth},
	} {
		got, err := messageArguments([]byte(tt.message))
		reason := ""
		if r := asRefusal(err); r != nil {
			reason = r.Reason
		}
		if reason != tt.reason || reason == "" && !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q %s, want %q %s", tt.name, got, reason, tt.want, tt.reason)
		}
	}
}

// TestBrokenMessages: no message makes the reader fail, or find what is not there.
func TestBrokenMessages(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	whole := []byte(pb(1, pb(2, "Иван")+"\x08\x96\x01") + pb(3, strings.Repeat(pb(1, "x"), 20)) + "\x11\x00\x00\x00\x00\x00\x00\x00\x00")
	for range 20_000 {
		b := slices.Clone(whole[random.IntN(len(whole)):])
		for range random.IntN(4) {
			b[random.IntN(len(b))] = byte(random.Uint32())
		}
		got, _ := messageArguments(b)
		for _, a := range got {
			if !strings.Contains(string(b), a.value) {
				t.Fatalf("%q is not in %q", a.value, b)
			}
		}
	}
}
