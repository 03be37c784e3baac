package scan

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strings"
)

// ICAP is a scanner that is asked by REQMOD (RFC 3507 3.2): as if the content were
// the body of a request that the scanner may let pass.
type ICAP struct {
	URL string // icap://host:port/service
}

const icapPort = "1344"

// CheckICAP says what is wrong with the URL of a scanner.
func CheckICAP(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "icap" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%q is not a URL such as icap://host:1344/avscan", s)
	}
	return nil
}

// Scan implements Scanner.
func (s ICAP) Scan(ctx context.Context, content io.Reader) (string, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return "", err
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), icapPort)
	}
	c, end, err := dial(ctx, address)
	if err != nil {
		return "", err
	}
	defer end()
	wrote := icapRequest(c, u, content)
	if bad := (*contentError)(nil); errors.As(wrote, &bad) {
		return "", bad.err
	}
	// A scanner may answer before it has all, and stop to read.
	name, err := icapAnswer(bufio.NewReader(io.LimitReader(c, 64<<10)))
	if err != nil {
		return "", errors.Join(err, wrote)
	}
	if name == "" && wrote != nil { // it can't have seen all of it
		return "", fmt.Errorf("the ICAP server ended too early: %w", wrote)
	}
	return name, nil
}

func icapRequest(c io.Writer, u *url.URL, content io.Reader) error {
	w := bufio.NewWriterSize(c, chunk+16)
	head := "POST /upload HTTP/1.1\r\nHost: upload.invalid\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	fmt.Fprintf(w, "REQMOD %s ICAP/1.0\r\nHost: %s\r\nUser-Agent: Vazel\r\nAllow: 204\r\nConnection: close\r\nEncapsulated: req-hdr=0, req-body=%d\r\n\r\n%s", u, u.Host, len(head), head)
	b := make([]byte, chunk)
	for {
		n, err := io.ReadFull(content, b)
		if n > 0 {
			fmt.Fprintf(w, "%x\r\n", n)
			w.Write(b[:n])
			if _, err := w.WriteString("\r\n"); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			w.WriteString("0\r\n\r\n")
			return w.Flush()
		case err != nil:
			return &contentError{err}
		}
	}
}

// icapAnswer reads the head of an answer. Only 204 says that the content may pass
// as it is; one that holds a response instead of the request refuses it.
func icapAnswer(r *bufio.Reader) (string, error) {
	t := textproto.NewReader(r)
	line, err := t.ReadLine()
	if err != nil {
		return "", fmt.Errorf("the ICAP server gave no answer: %w", err)
	}
	proto, rest, _ := strings.Cut(line, " ")
	status, _, _ := strings.Cut(rest, " ")
	header, err := t.ReadMIMEHeader()
	if proto != "ICAP/1.0" || err != nil {
		return "", fmt.Errorf("the ICAP server answered %q", cleanName(line))
	}
	name := infection(header)
	switch {
	case status != "200" && status != "204" && status != "201":
		return "", fmt.Errorf("the ICAP server answered with status %q", cleanName(status))
	case name != "":
		return name, nil
	case status == "204":
		return "", nil
	case strings.Contains(header.Get("Encapsulated"), "res-hdr"):
		return "unnamed", nil
	}
	return "", errors.New("the ICAP server changed the content")
}

// infection is the name in the fields by which ICAP servers tell what they found
// (draft-stecher-icap-subid).
func infection(h textproto.MIMEHeader) string {
	if v := h.Get("X-Infection-Found"); v != "" {
		for part := range strings.SplitSeq(v, ";") {
			if name, ok := strings.CutPrefix(strings.TrimSpace(part), "Threat="); ok {
				return cleanName(name)
			}
		}
		return cleanName(v)
	}
	if v := h.Get("X-Virus-Id"); v != "" {
		return cleanName(v)
	}
	if v := strings.TrimSpace(h.Get("X-Violations-Found")); v != "" && v != "0" {
		return "unnamed"
	}
	return ""
}
