package proxy

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
)

// fixedUpstream answers every request on a connection with the same bytes, at
// next to no cost.
func fixedUpstream(b *testing.B, response string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	answer := []byte(response)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					for {
						line, err := br.ReadSlice('\n')
						if err != nil {
							return
						}
						if len(line) == 2 {
							break
						}
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

func typicalResponse(n int) string {
	return "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 13:00:00 GMT\r\nContent-Type: application/json\r\n" +
		"Content-Length: " + itoa(n) + "\r\nConnection: keep-alive\r\nEtag: \"65a1b2c3-400\"\r\nAccept-Ranges: bytes\r\n\r\n" + strings.Repeat("x", n)
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// discard is a ResponseWriter without a network.
type discard struct {
	h http.Header
	n int
}

func (d *discard) Header() http.Header               { return d.h }
func (d *discard) WriteHeader(int)                   {}
func (d *discard) Write(p []byte) (int, error)       { d.n += len(p); return len(p), nil }
func (d *discard) WriteString(s string) (int, error) { d.n += len(s); return len(s), nil }

type copyBuffers struct{ sync.Pool }

func (p *copyBuffers) Get() []byte  { return p.Pool.Get().(*[32 << 10]byte)[:] }
func (p *copyBuffers) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }

func reverseProxy(upstream string) http.Handler {
	u, _ := url.Parse(upstream)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
			r.Out.Header["X-Forwarded-For"] = []string{"192.0.2.1"}
		},
		BufferPool: &copyBuffers{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		ErrorLog:   log.New(io.Discard, "", 0),
	}
}

func vazel(b *testing.B, upstream string) http.Handler {
	m := NewManager(Options{Log: zap.NewNop()})
	p, err := m.Build(PoolConfig{Name: "bench", URLs: []string{upstream}, Settings: Settings{Timeout: unit.Duration(30e9)}})
	if err != nil {
		b.Fatal(err)
	}
	m.Activate([]*Pool{p})
	b.Cleanup(func() { m.Close(context.Background()) })
	return p.Handler(RouteConfig{Outbound: func(_ *http.Request, _ http.Header, own []Field) []Field {
		return append(own, Field{"X-Forwarded-For", "192.0.2.1"})
	}})
}

// BenchmarkHandler compares the handler with httputil.ReverseProxy, without a
// server in front.
func BenchmarkHandler(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		up := fixedUpstream(b, typicalResponse(size))
		for _, v := range []struct {
			name string
			h    http.Handler
		}{{"vazel", vazel(b, up)}, {"reverseproxy", reverseProxy(up)}} {
			b.Run(itoa(size>>10)+"KiB/"+v.name, func(b *testing.B) {
				req := httptest.NewRequest("GET", "/api/datasets?page=2", nil)
				base := http.Header{"User-Agent": {"curl/8"}, "Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "X-Request-Id": {"0123456789abcdef"}}
				h, w := http.Header{}, &discard{h: http.Header{}}
				req.Header = h
				b.ReportAllocs()
				for b.Loop() {
					clear(h)
					for k, v := range base {
						h[k] = v
					}
					clear(w.h)
					v.h.ServeHTTP(w, req)
				}
				if w.n == 0 {
					b.Fatal("nothing was written")
				}
			})
		}
	}
}

// BenchmarkServer has net/http's server in front of both.
func BenchmarkServer(b *testing.B) {
	up := fixedUpstream(b, typicalResponse(1<<10))
	for _, v := range []struct {
		name string
		h    http.Handler
	}{{"vazel", vazel(b, up)}, {"reverseproxy", reverseProxy(up)}} {
		b.Run(v.name, func(b *testing.B) {
			s := httptest.NewServer(v.h)
			defer s.Close()
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			br := bufio.NewReader(c)
			req := []byte("GET /api/datasets?page=2 HTTP/1.1\r\nHost: data.example\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n")
			b.ReportAllocs()
			for b.Loop() {
				c.Write(req)
				length := 0
				for {
					line, err := br.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					if len(line) == 2 {
						break
					}
					if v, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
						for _, c := range strings.TrimSpace(v) {
							length = length*10 + int(c-'0')
						}
					}
				}
				br.Discard(length)
			}
		})
	}
}
