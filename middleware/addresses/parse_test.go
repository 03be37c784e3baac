package addresses

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, list string
		column     int
		in, out    string // addresses
		entries    int
	}{
		{"plain", "192.0.2.7\n198.51.100.0/24\n2001:db8::/32\n", 0, "192.0.2.7 198.51.100.255 2001:db8:ffff::1", "192.0.2.8 198.51.101.0 2001:db9::", 3},
		{"comments and blanks", "\ufeff# list\r\n\r\n  192.0.2.0/30 ; SBL1\r\n;\n192.0.2.9\t# why\n", 0, "192.0.2.3 192.0.2.9", "192.0.2.4", 2},
		{"no line end", "192.0.2.7", 0, "192.0.2.7", "192.0.2.6", 1},
		{"range", "192.0.2.10-192.0.2.20\n2001:db8::1 - 2001:db8::ff", 0, "192.0.2.10 192.0.2.20 2001:db8::10", "192.0.2.9 192.0.2.21 2001:db8::100", 2},
		{"IPv4 in IPv6 form", "::ffff:192.0.2.7\n::ffff:198.51.100.0/120\n", 0, "192.0.2.7 198.51.100.9 ::ffff:192.0.2.7", "192.0.2.8", 2},
		{"twice", "192.0.2.7\n192.0.2.0/24\n192.0.2.7\n", 0, "192.0.2.1", "192.0.3.0", 3},
		{"table", "network,country\n192.0.2.0/24,BG\n\"2001:db8::/32\", \"RO, too\"\n", 1, "192.0.2.1 2001:db8::1", "192.0.3.0", 2},
		{"table, second column", "# made by hand; today\nid;network;why\n1; 192.0.2.0/24 ;scan\n2;198.51.100.7;\n", 2, "192.0.2.1 198.51.100.7", "198.51.100.8", 2},
		{"table without heading", "192.0.2.7\t12\n192.0.2.9\t13\n", 1, "192.0.2.7 192.0.2.9", "192.0.2.8", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := Source{Column: c.column}.parse([]byte(c.list))
			if err != nil {
				t.Fatal(err)
			}
			if table.entries != c.entries {
				t.Errorf("got %d entries, want %d", table.entries, c.entries)
			}
			for _, a := range strings.Fields(c.in) {
				if !table.contains(netip.MustParseAddr(a)) {
					t.Errorf("%s is not in the list", a)
				}
			}
			for _, a := range strings.Fields(c.out) {
				if table.contains(netip.MustParseAddr(a)) {
					t.Errorf("%s is in the list", a)
				}
			}
		})
	}
}

func TestParseBad(t *testing.T) {
	for _, c := range []struct {
		list   string
		column int
		line   int
		want   string
	}{
		{"192.0.2.1\n192.0.2", 0, 2, `"192.0.2" is not an address`},
		{"192.0.2.1 192.0.2.2", 0, 1, "is not an address"},
		{"192.0.2.1/24", 0, 1, "write 192.0.2.0/24"},
		{"192.0.2.0/33", 0, 1, "is not an address"},
		{"192.0.2.0/255.255.255.0", 0, 1, "is not an address"},
		{"010.0.0.1", 0, 1, "is not an address"},
		{"0.0.0.0/0", 0, 1, "every address"},
		{"::/0", 0, 1, "every address"},
		{"fe80::1%eth0", 0, 1, "is not an address"},
		{"192.0.2.9-192.0.2.1", 0, 1, "ends before it begins"},
		{"192.0.2.9-2001:db8::", 0, 1, "is not a range"},
		{strings.Repeat("1", 2000), 0, 1, "longer than"},
		{"<html>\n<body>404</body>", 0, 1, `"<html>" is not an address`},
		{"\n\n\x00\xff", 0, 3, "is not an address"},
		{"network,x\n192.0.2.0/24,y\nnone,z", 1, 3, `"none" is not an address`},
		{"192.0.2.1,x\n192.0.2.2", 2, 2, "no column 2"},
		{"a,b\n192.0.2.1,\"open", 1, 2, "quote"},
		{"id,network\n1", 2, 2, "no column 2"},
	} {
		_, err := Source{Column: c.column}.parse([]byte(c.list))
		var bad *BadList
		if !errors.As(err, &bad) {
			t.Errorf("%q: got %v, want a bad line", c.list, err)
			continue
		}
		if bad.Lines[0].Line != c.line || !strings.Contains(bad.Lines[0].Message, c.want) {
			t.Errorf("%q: got %v, want line %d and %s", c.list, err, c.line, c.want)
		}
	}
}

func TestParseBounds(t *testing.T) {
	list := []byte(strings.Repeat("192.0.2.1\n", 11))
	if _, err := (Source{MaxEntries: 10}).parse(list); !errors.Is(err, errTooMany) {
		t.Errorf("got %v, want %v", err, errTooMany)
	}
	if _, err := (Source{MaxEntries: 11}).parse(list); err != nil {
		t.Error(err)
	}
	var bad *BadList
	if _, err := (Source{}).parse([]byte(strings.Repeat("x\n", 1000))); !errors.As(err, &bad) || bad.Total != 1000 || len(bad.Lines) != maxBad {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: whatever a list holds, it is read or refused, and what is read holds
// what its lines say.
func FuzzParse(f *testing.F) {
	f.Add([]byte("192.0.2.1\n10.0.0.0/8 # x\n2001:db8::/32\n1.1.1.1-1.1.1.9"), 0)
	f.Add([]byte("a,b\n1,192.0.2.0/24\n"), 2)
	f.Fuzz(func(t *testing.T, b []byte, column int) {
		table, err := Source{Column: max(0, min(column, 1000)), MaxEntries: 1000}.parse(b)
		if err != nil || column > 0 {
			return
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if a, err := netip.ParseAddr(strings.TrimSpace(line)); err == nil && !table.contains(a) {
				t.Errorf("%v is not in the list that names it", a)
			}
		}
	})
}
