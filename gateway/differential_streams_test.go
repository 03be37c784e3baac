package gateway

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// streamFields are parts of requests over HTTP/2 and HTTP/3, right and nearly right.
var streamFields = [][2]string{
	{":method", "GET"}, {":method", "POST"}, {":scheme", "https"}, {":authority", "open.example"}, {":path", "/a"}, {":path", "/b?c"}, {":scheme", "http"}, {":authority", "OPEN.example.:443"},
	{":authority", "inner.example"}, {":authority", "u@open.example"}, {":authority", ""}, {":path", "a"}, {":path", "*"}, {":path", ""}, {":path", "//x/../y"}, {":path", "/%2e%2e/x"}, {":path", "/x HTTP/1.1\r\nX: y"},
	{":path", "https://open.example/x"}, {":path", "/x#y"}, {":method", "CONNECT"}, {":method", "G T"}, {":method", "GET /x HTTP/1.1\r\nHost: x\r\n\r\nGET"}, {":status", "200"}, {":protocol", "websocket"}, {"host", "open.example"},
	{"host", "inner.example"}, {"content-length", "3"}, {"content-length", "0"}, {"content-length", "+3"}, {"content-length", "03"}, {"content-length", "3, 3"}, {"transfer-encoding", "chunked"}, {"te", "trailers"}, {"te", "gzip"},
	{"connection", "close"}, {"upgrade", "h2c"}, {"keep-alive", "1"}, {"X-Upper", "v"}, {"x-a", "v\r\nx-b: w"}, {"x-a", "v\x00"}, {"x-a", " v"}, {"x a", "v"}, {"x-a:", "v"}, {"x_forwarded_for", "6.6.6.6"}, {"x-forwarded-for", "6.6.6.6"},
	{"x-request-id", "evil"}, {"x-organization", "nra"}, {"client-cert", ":YQ==:"}, {"expect", "100-continue"}, {"trailer", "x-t, x-organization"}, {"cookie", "a=1"}, {"cookie", "b=2"}, {"", "v"}, {"x-a", "v"},
}

// streamBodies are the DATA frames, and trailers, that may follow. A name with a
// colon behind it begins trailers.
var streamBodies = []string{"abc", "", "a", "GET /smuggled HTTP/1.1\r\nHost: open.example\r\n\r\n", "0\r\n\r\n", "x-t:v", "x-organization:nra", ":path:/y", "X-T:v", "x-t:a\nb", "host:open.example", "content-length:3"}

// meant is the request that fields and a body mean at most, as expected writes it,
// or "": RFC 9113 8.2 and 8.3, RFC 9114 4.2 and 4.3, without any leniency but for
// :scheme, which quic-go does not tell.
func meant(fields [][2]string, body string, trailer [][2]string, h3 bool) string {
	clean := func(name, value string) bool {
		if name == "" || strings.Trim(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") != "" || strings.Trim(value, " \t") != value {
			return false
		}
		return !strings.ContainsAny(value, "\x00\r\n")
	}
	pseudo := map[string]string{}
	regular, length, hosts, te := false, -1, 0, 0
	host := ""
	for _, f := range fields {
		name, value := f[0], f[1]
		if strings.HasPrefix(name, ":") {
			_, twice := pseudo[name]
			if regular || twice || !strings.Contains(" :method :scheme :authority :path ", " "+name+" ") || !clean("x", value) {
				return ""
			}
			pseudo[name] = value
			continue
		}
		regular = true
		if !clean(name, value) {
			return ""
		}
		switch name {
		case "connection", "keep-alive", "upgrade", "transfer-encoding", "proxy-connection":
			return ""
		case "te":
			if te++; te > 1 || value != "trailers" {
				return ""
			}
		case "host":
			hosts++
			host = value
		case "content-length":
			if length >= 0 || value == "" || strings.Trim(value, "0123456789") != "" || len(value) > 9 {
				return ""
			}
			length, _ = strconv.Atoi(value)
		}
	}
	authority, ok := pseudo[":authority"]
	switch _, scheme := pseudo[":scheme"]; {
	case hosts > 1, hosts == 1 && ok && host != authority, !ok && hosts == 0, !scheme && !h3, length >= 0 && length != len(body):
		return ""
	case !ok:
		authority = host
	}
	for _, f := range trailer {
		if !clean(f[0], f[1]) {
			return ""
		}
	}
	method, path := pseudo[":method"], pseudo[":path"]
	if method == "" || strings.ContainsAny(method, " \t") || method == "CONNECT" || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " #") || strings.Contains(authority, "@") {
		return ""
	}
	t, err := canonicalTarget(path)
	if err != nil {
		return ""
	}
	target := t.escaped
	if t.hasMark {
		target += "?" + t.query
	}
	name, port, _ := strings.Cut(strings.ToLower(authority), ":")
	name = strings.TrimSuffix(name, ".")
	if port != "" {
		name += ":" + port
	}
	return method + " " + target + " " + name + " " + strconv.Quote(body)
}

// outlasting is for what one input of a fuzzer opens and others use.
type outlasting struct{ testing.TB }

func (outlasting) Helper()                  {}
func (outlasting) Cleanup(func())           {}
func (outlasting) Context() context.Context { return context.Background() }
func (outlasting) Log(...any)               {}
func (outlasting) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }

// FuzzStreamRequest sends single frames over HTTP/2 or HTTP/3 and compares what the
// upstream got with what the strictest reader says that they mean.
func FuzzStreamRequest(f *testing.F) {
	for _, h3 := range []bool{false, true} {
		f.Add([]byte{0, 2, 3, 4}, "x-b", "v", h3)
		f.Add([]byte{1, 2, 7, 5, 26, 0xff, 0}, "", "", h3)
		f.Add([]byte{1, 2, 3, 4, 0xff, 0, 3, 5}, "x-b", "v", h3)
		f.Add([]byte{1, 2, 3, 4, 26, 0xff, 3}, "x-b", "v\r\n\r\nGET /smuggled", h3)
		f.Add([]byte{0, 2, 3, 4, 24, 44, 45, 46, 50, 51}, "x-forwarded-host", "evil", h3)
		f.Add([]byte{1, 2, 3, 4, 27, 31, 0xff, 3}, "", "", h3)
	}
	w := newWitness(f, "127.0.0.1")
	n := newNode(f, nil)
	n.config(strings.Replace(attackServices, "%s", w.address, 1))
	n.limits("header_timeout: 2s, body_timeout: 2s")
	if err := n.apply(); err != nil {
		f.Fatal(err)
	}
	n.t = outlasting{f}
	var c2 *h2client
	var c3 *h3client
	f.Fuzz(func(t *testing.T, in []byte, name, value string, h3 bool) {
		first, rest, hasBody := bytes.Cut(in[:min(len(in), 30)], []byte{0xff})
		if len(name)+len(value) > 1000 {
			return
		}
		var fields, trailer [][2]string
		for _, i := range first {
			fields = append(fields, streamFields[int(i)%len(streamFields)])
		}
		if name != "" {
			fields = append(fields, [2]string{name, value})
		}
		var data []string
		for _, i := range rest {
			p := streamBodies[int(i)%len(streamBodies)]
			if i := strings.LastIndex(p, ":"); i > 0 && !strings.Contains(p, " ") {
				trailer = append(trailer, [2]string{p[:i], p[i+1:]})
				break
			}
			data = append(data, p)
		}
		hasBody = hasBody && len(rest) > 0
		flat := func(l [][2]string) (s []string) {
			for _, f := range l {
				s = append(s, f[0], f[1])
			}
			return s
		}
		w.take()
		outcome := ""
		if h3 {
			if c3 == nil || c3.qc.Context().Err() != nil {
				c3 = n.h3(nil)
			}
			frames := [][]byte{frame3(1, section(flat(fields)...))}
			for _, d := range data {
				frames = append(frames, frame3(0, []byte(d)))
			}
			if trailer != nil {
				frames = append(frames, frame3(1, section(flat(trailer)...)))
			}
			s := c3.open()
			for _, b := range frames {
				if _, err := s.Write(b); err != nil {
					break // it was refused already
				}
			}
			s.Close()
			outcome = c3.outcome(s)
		} else {
			if c2 == nil {
				c2 = n.h2()
			}
			c2.conn.SetDeadline(time.Now().Add(20 * time.Second))
			id := c2.send(!hasBody, flat(fields)...)
			for i, d := range data {
				c2.fr.WriteData(id, i == len(data)-1 && trailer == nil, []byte(d))
			}
			if trailer != nil {
				c2.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c2.block(flat(trailer)...), EndHeaders: true, EndStream: true})
			}
			outcome = c2.wait(id)
			// Trailers of a stream that was reset meanwhile end the connection.
			if outcome != "200" && (hasBody || c2.status[id] == "") || c2.next > 2000 {
				c2.conn.Close()
				c2 = nil
			}
		}
		seen, bad := w.take()
		want := meant(fields, strings.Join(data, ""), trailer, h3)
		if len(bad) > 0 {
			t.Fatalf("%q: the upstream got %s", fields, bad)
		}
		if len(seen) > 1 || len(seen) == 1 && seen[0] != want {
			t.Fatalf("%q %q %q over h3 %v (%s)\nmeans            %s\nthe upstream got %q", fields, data, trailer, h3, outcome, want, seen)
		}
		// What is plain is served.
		if len(fields) == 4 && want != "" && len(seen) == 0 && outcome == "200" {
			t.Fatalf("%q: 200 without the upstream", fields)
		}
	})
}
