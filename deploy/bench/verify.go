package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// verify makes sure that the proxy does the work that is being compared.
func verify(e *env, px *proxy) error {
	conf := tlsConf(e.pki, px.variant == "mtls", false)
	do := func(raw []byte) (string, []byte, error) {
		c, err := tls.Dial("tcp", px.addr, conf)
		if err != nil {
			return "", nil, err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write(raw); err != nil {
			return "", nil, err
		}
		return readResponse(bufio.NewReader(c), nil)
	}
	want := func(raw []byte, body string) (string, error) {
		head, b, err := do(raw)
		if err != nil {
			return "", err
		}
		if !strings.HasPrefix(head, "HTTP/1.1 200") {
			return "", fmt.Errorf("answered %.120q", head)
		}
		if body != "" && string(b) != body {
			return "", fmt.Errorf("body of %d bytes %.40q", len(b), b)
		}
		return strings.ToLower(head) + "\x00" + string(b), nil
	}
	small, err := want(rawRequest("/1k"), string(bodyPattern(1<<10)))
	if err != nil {
		return err
	}
	if _, err := want(rawRequest("/1m"), string(bodyPattern(1<<20))); err != nil {
		return fmt.Errorf("/1m: %w", err)
	}
	up := append([]byte("POST /upload HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 1048576\r\n\r\n"), bodyPattern(1<<20)...)
	if _, err := want(up, "1048576"); err != nil {
		return fmt.Errorf("/upload: %w", err)
	}
	chunked := "POST /upload HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
	if _, err := want([]byte(chunked), "11"); err != nil {
		return fmt.Errorf("chunked /upload: %w", err)
	}
	echo, err := want(rawRequest("/echo"), "")
	if err != nil {
		return err
	}
	_, seen, _ := strings.Cut(echo, "\x00")
	seen = strings.ToLower(seen)
	for _, h := range []string{"x-forwarded-for: 127.0.0.1", "x-forwarded-proto: https", "x-forwarded-host: " + host, "host: " + host, "cookie: session="} {
		if !strings.Contains(seen, "\r\n"+h) {
			return fmt.Errorf("backend saw no %q in %q", h, seen)
		}
	}
	if px.variant == "filters" || px.variant == "all" {
		for _, h := range []string{"strict-transport-security: max-age=31536000", "x-content-type-options: nosniff", "x-frame-options: deny", "content-security-policy: default-src 'self'"} {
			if !strings.Contains(small, "\r\n"+h) {
				return fmt.Errorf("no response header %q in %q", h, small[:strings.IndexByte(small, 0)])
			}
		}
		if strings.Contains(small, "\r\nx-powered-by") {
			return errors.New("X-Powered-By not removed")
		}
		if strings.Contains(seen, "\r\nx-debug") || !strings.Contains(seen, "\r\nx-gateway: bench") {
			return fmt.Errorf("request headers not rewritten: %q", seen)
		}
	}
	if px.variant == "mtls" {
		plain := tlsConf(e.pki, false, false)
		c, err := tls.Dial("tcp", px.addr, plain)
		if err == nil {
			c.SetDeadline(time.Now().Add(3 * time.Second))
			c.Write(rawRequest("/1k"))
			head, _, err := readResponse(bufio.NewReader(c), nil)
			c.Close()
			if err == nil && strings.HasPrefix(head, "HTTP/1.1 200") {
				return errors.New("served a client without certificate")
			}
		}
	}
	return nil
}
