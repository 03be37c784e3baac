package config

import (
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/config/unit"
)

// checkRange holds a whole number between bounds.
func (t *tree) checkRange(n *yaml.Node, key string, least, most int) {
	_, v := get(n, key)
	t.checkInteger(v, key, least, most)
}

// checkInteger holds a number between bounds; key is its name.
func (t *tree) checkInteger(v *yaml.Node, key string, least, most int) {
	if v == nil || v.Kind != yaml.ScalarNode || v.Tag == "!!null" || isQuoted(v) {
		return
	}
	i, err := strconv.Atoi(v.Value)
	if err != nil || len(v.Value) > 1 && v.Value[0] == '0' {
		return // noted by decode
	}
	if i < least || i > most {
		t.outside(v, key, strconv.Itoa(least), strconv.Itoa(most))
	}
}

// checkTime holds a duration between bounds. Zero is never one of them: it would
// be read as the default.
func (t *tree) checkTime(n *yaml.Node, key string, least, most time.Duration) {
	_, v := get(n, key)
	var d unit.Duration
	if v == nil || v.Kind != yaml.ScalarNode || d.UnmarshalText([]byte(v.Value)) != nil {
		return // noted by decode
	}
	if d.Std() < least || d.Std() > most {
		t.outside(v, key, unit.Duration(least).String(), unit.Duration(most).String())
	}
}

// checkSize holds a size between bounds, likewise.
func (t *tree) checkSize(n *yaml.Node, key string, least, most unit.Size) {
	_, v := get(n, key)
	var z unit.Size
	if v == nil || v.Kind != yaml.ScalarNode || z.UnmarshalText([]byte(v.Value)) != nil {
		return // noted by decode
	}
	if z < least || z > most {
		t.outside(v, key, least.String(), most.String())
	}
}

func (t *tree) outside(v *yaml.Node, key, least, most string) {
	hint := ""
	if v.Value == "0" || v.Value == "0s" || v.Value == "0B" {
		hint = "leave it out for the default"
	}
	t.bad(v, hint, "%s", fmt.Sprintf("%s must be between %s and %s", key, least, most))
}

// minBuffers holds the largest body that is inspected, with what the
// inspection makes of it.
const minBuffers = 32 << 20

// checkLimits checks the bounds on clients and connections.
func (t *tree) checkLimits(n *yaml.Node) {
	for _, key := range []string{"header_timeout", "body_timeout", "write_timeout", "idle_timeout", "drain_timeout"} {
		t.checkTime(n, key, time.Millisecond, 24*time.Hour)
	}
	t.checkSize(n, "max_header", 1<<10, 16<<20)
	t.checkSize(n, "max_uri", 64, 1<<20)
	t.checkSize(n, "spool_disk", 1<<20, 1<<44)
	t.checkRange(n, "max_headers", 1, 10_000)
	t.checkRange(n, "max_streams", 1, 10_000)
	t.checkRange(n, "max_in_flight", 1, 10_000_000)
	t.checkRange(n, "max_connections", 1, 10_000_000)
	t.checkRange(n, "max_connections_per_ip", 1, 10_000_000)
	l := t.config.Limits
	if _, at := get(n, "buffer_memory"); at != nil && l.BufferMemory < minBuffers {
		t.bad(at, "", "limits.buffer_memory is less than 32MiB, which the largest body takes that is inspected")
	}
	if l.MaxURI > l.MaxHeader {
		_, at := get(n, "max_uri")
		if at == nil {
			_, at = get(n, "max_header")
		}
		t.problem(orNode(at, n), "max_uri %s is more than max_header %s, of which the request target is a part", l.MaxURI, l.MaxHeader)
	}
	if l.MaxConnectionsPerIP > l.MaxConnections {
		if _, at := get(n, "max_connections_per_ip"); at != nil {
			t.problem(at, "max_connections_per_ip %d is more than max_connections %d, so one address could take all", l.MaxConnectionsPerIP, l.MaxConnections)
		}
	}
}
