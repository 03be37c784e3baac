// Package scan asks virus scanners about content: clamd by its own protocol, and
// others by ICAP (RFC 3507). It owns the protocols, and nothing of what is scanned
// or what becomes of it.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Scanner looks for malware.
type Scanner interface {
	// Scan sends content to the scanner and returns the name of what it found, or "".
	Scan(ctx context.Context, content io.Reader) (malware string, err error)
}

// ErrTooLarge is content that is larger than the scanner takes. It was not scanned.
var ErrTooLarge = errors.New("larger than the scanner takes")

// maxName bounds the name of a finding, and maxReply what a scanner may answer.
const (
	maxName  = 200
	maxReply = 4 << 10
)

// dial connects to unix:/path or host:port, and bounds all that follows by ctx.
// end has to be called.
func dial(ctx context.Context, address string) (c net.Conn, end func(), err error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	var d net.Dialer
	if c, err = d.DialContext(ctx, network, address); err != nil {
		return nil, nil, err
	}
	if t, ok := ctx.Deadline(); ok {
		c.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) // the client left
	return c, func() { stop(); c.Close() }, nil
}

// CheckAddress says what is wrong with the address of a scanner.
func CheckAddress(s string) error {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || len(path) > 100 {
			return fmt.Errorf("%q: the path of a socket is absolute and has at most 100 bytes", s)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ ") {
		return fmt.Errorf("%q is neither unix:/path nor host:port", s)
	}
	return nil
}

// cleanName is the name of a finding as it may stand in a log.
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s[:min(len(s), maxName)])
	if s == "" {
		return "unnamed"
	}
	return s
}
