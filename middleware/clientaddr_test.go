package middleware

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestClientAddr(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, c := range []struct {
		name   string
		peer   string
		fields []string
		want   string
	}{
		{"no field", "10.0.0.1", nil, "10.0.0.1"},
		{"one hop", "10.0.0.1", []string{"203.0.113.5"}, "203.0.113.5"},
		{"the client's own words stand further left", "10.0.0.1", []string{"1.1.1.1, 203.0.113.5"}, "203.0.113.5"},
		{"through two proxies", "10.0.0.1", []string{"1.1.1.1, 203.0.113.5, 10.0.0.2"}, "203.0.113.5"},
		{"several fields", "10.0.0.1", []string{"1.1.1.1", "203.0.113.5", "10.0.0.2"}, "203.0.113.5"},
		{"trusted proxies only", "10.0.0.1", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"with port", "10.0.0.1", []string{"203.0.113.5:1234"}, "203.0.113.5"},
		{"IPv6", "10.0.0.1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"IPv6 in brackets", "10.0.0.1", []string{"[2001:db8::5]"}, "2001:db8::5"},
		{"IPv6 with port", "10.0.0.1", []string{"[2001:db8::5]:443, 2001:db8:1::2"}, "2001:db8::5"},
		{"mapped IPv4", "::ffff:10.0.0.1", []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
		{"malformed at the end", "10.0.0.1", []string{"203.0.113.5, unknown"}, "10.0.0.1"},
		{"malformed after a good one", "10.0.0.1", []string{"203.0.113.5, what, 10.0.0.2"}, "10.0.0.2"},
		{"empty element", "10.0.0.1", []string{"203.0.113.5,"}, "10.0.0.1"},
		{"empty field", "10.0.0.1", []string{""}, "10.0.0.1"},
		{"half a bracket", "10.0.0.1", []string{"[2001:db8::5"}, "10.0.0.1"},
		{"IPv4 in brackets", "10.0.0.1", []string{"[203.0.113.5]"}, "10.0.0.1"},
		{"zone", "10.0.0.1", []string{"fe80::1%eth0"}, "10.0.0.1"},
		{"unspecified", "10.0.0.1", []string{"0.0.0.0"}, "10.0.0.1"},
		{"a long lie does not hide the client", "10.0.0.1", []string{strings.Repeat("1.1.1.1, ", 5000) + "203.0.113.5"}, "203.0.113.5"},
		{"no endless chain", "10.0.0.1", []string{strings.Repeat("10.0.0.2, ", 5000) + "10.0.0.2"}, "10.0.0.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			peer := netip.AddrPortFrom(netip.MustParseAddr(c.peer), 1000)
			if got := clientAddr(&Conn{Peer: peer, Trusted: true}, c.fields, trusted); got.String() != c.want {
				t.Errorf("behind a trusted proxy: %v, want %v", got, c.want)
			}
			if got := clientAddr(&Conn{Peer: peer}, c.fields, trusted); got != peer.Addr().Unmap() {
				t.Errorf("from anybody: %v, want %v", got, peer.Addr())
			}
		})
	}
}

func FuzzClientAddr(f *testing.F) {
	for _, s := range []string{"203.0.113.5", "1.1.1.1, 10.0.0.2", "[::1]:80", "unknown", ",,,", "fe80::1%25eth0"} {
		f.Add(s)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	conn := &Conn{Peer: netip.MustParseAddrPort("10.0.0.1:1"), Trusted: true}
	client := netip.MustParseAddr("203.0.113.9")
	f.Fuzz(func(t *testing.T, s string) {
		if got := clientAddr(conn, []string{s}, trusted); !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Errorf("clientAddr(%q) = %v", s, got)
		}
		// Whatever the client writes, the trusted proxy's word stands.
		if got := clientAddr(conn, []string{s + ", 203.0.113.9"}, trusted); got != client {
			t.Errorf("clientAddr(%q + proxy's word) = %v, want %v", s, got, client)
		}
		if got := clientAddr(conn, []string{s, "203.0.113.9"}, trusted); got != client {
			t.Errorf("clientAddr(%q, proxy's word) = %v, want %v", s, got, client)
		}
	})
}

func TestTraceContext(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, state := range []string{"vendor=7523169263", "vendor=" + strings.Repeat("a", 600)} {
		rec := &Record{}
		if newIDs(rec, http.Header{"Traceparent": {good}, "Tracestate": {state}}, true); rec.TraceState != "" || rec.ParentID == "" {
			t.Errorf("state %.20q: %q, parent %q", state, rec.TraceState, rec.ParentID)
		}
	}
	for _, c := range []struct {
		name    string
		fields  []string
		trusted bool
		taken   bool
	}{
		{"from a trusted peer", []string{good}, true, true},
		{"from anybody", []string{good}, false, false},
		{"two of them", []string{good, good}, true, false},
		{"all zeros", []string{"00-00000000000000000000000000000000-b7ad6b7169203331-01"}, true, false},
		{"no parent", []string{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}, true, false},
		{"capitals", []string{strings.ToUpper(good)}, true, false},
		{"other version", []string{"01" + good[2:]}, true, false},
		{"too long", []string{good + "-x"}, true, false},
		{"too short", []string{good[:54]}, true, false},
		{"an EGN in it", []string{"00-0af7651916cd43ddf7523169263f3198-b7ad6b7169203331-01"}, true, false},
		{"an EGN in the span", []string{"00-0af7651916cd43dd8448eb211c80319c-ab7523169263cdef-01"}, true, false},
		{"none", nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rec := &Record{}
			newIDs(rec, http.Header{"Traceparent": c.fields, "Tracestate": {"a=b"}}, c.trusted)
			if taken := rec.TraceID == good[3:35]; taken != c.taken || taken != (rec.TraceState == "a=b") {
				t.Errorf("trace = %q, state = %q, want taken = %v", rec.TraceID, rec.TraceState, c.taken)
			}
			if len(rec.TraceID) != 32 || len(rec.SpanID) != 16 || rec.SpanID == good[36:52] || rec.TraceFlags != 1 {
				t.Errorf("trace = %q, span = %q, flags = %d", rec.TraceID, rec.SpanID, rec.TraceFlags)
			}
			if linked := rec.LinkTraceID == good[3:35] && rec.LinkSpanID == good[36:52]; linked != (c.name == "from anybody") || !linked && rec.LinkTraceID+rec.LinkSpanID != "" {
				t.Errorf("linked to %q, %q", rec.LinkTraceID, rec.LinkSpanID)
			}
		})
	}
}
