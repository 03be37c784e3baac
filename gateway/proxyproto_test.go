package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

func v2(command, family byte, body []byte) string {
	b := append([]byte{}, proxyV2...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(append(b, body...))
}

func TestReadProxyHeader(t *testing.T) {
	ip4 := []byte{192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb}
	ip6 := append(append(bytes.Repeat([]byte{0x20}, 16), bytes.Repeat([]byte{1}, 16)...), 0, 80, 1, 187)
	tests := []struct{ in, want, rest string }{
		{"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\nhello", "192.0.2.1:12345", "hello"},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "[2001:db8::1]:1", ""},
		{"PROXY UNKNOWN\r\n\x16", "invalid AddrPort", "\x16"},
		{"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "invalid AddrPort", ""},
		{v2(1, 0x11, ip4) + "x", "192.0.2.1:12345", "x"},
		{v2(1, 0x11, append(ip4, 3, 0, 1, 0)) + "x", "192.0.2.1:12345", "x"},
		{v2(1, 0x21, ip6), "[2020:2020:2020:2020:2020:2020:2020:2020]:80", ""},
		{v2(0, 0x11, ip4) + "y", "invalid AddrPort", "y"},
		{"\x16\x03\x01", "invalid AddrPort", "\x16\x03\x01"},
		{"POST / HTTP/1.1\r\n", "invalid AddrPort", "POST / HTTP/1.1\r\n"},
	}
	for _, tt := range tests {
		br := bufio.NewReader(strings.NewReader(tt.in))
		got, err := readProxyHeader(br)
		rest, _ := io.ReadAll(br)
		if err != nil || got.String() != tt.want || string(rest) != tt.rest {
			t.Errorf("readProxyHeader(%q) = %v, %v, rest %q, want %s, rest %q", tt.in, got, err, rest, tt.want, tt.rest)
		}
	}
	for _, in := range []string{
		"PROXY TCP4 192.0.2.1 10.0.0.1 12345\r\n", "PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n", "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
		"PROXY TCP4 192.0.2.1 10.0.0.1 012 2\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
		"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", "PROXY " + strings.Repeat("x", 200) + "\r\n", "PROXY TCP4 192.0.2.1",
		v2(2, 0x11, ip4), v2(1, 0x12, ip4), v2(1, 0x11, ip4[:8]), v2(1, 0x11, ip4)[:20], string(proxyV2) + "\x11\x11\x00\x00",
		string(proxyV2) + "\x21\x11\xff\xff", "",
	} {
		if got, err := readProxyHeader(bufio.NewReader(strings.NewReader(in))); err == nil {
			t.Errorf("readProxyHeader(%q) = %v, want an error", in, got)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\nhello"))
	f.Add([]byte(v2(1, 0x11, []byte{192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb})))
	f.Add([]byte("\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(in), 512)
		src, err := readProxyHeader(br)
		rest, _ := io.ReadAll(br)
		if !bytes.HasSuffix(in, rest) {
			t.Fatalf("rest %q is not the end of %q", rest, in)
		}
		if err == nil && src.IsValid() && len(rest) == len(in) {
			t.Fatalf("%q: an address without a header", in)
		}
	})
}
