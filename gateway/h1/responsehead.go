package h1

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// head puts the head in front of what is buffered. last says that the body is
// complete.
func (w *response) head(last bool) {
	body := w.buf
	if len(body) > 0 {
		w.buf = writeBuffer()
	}
	w.headSent = true
	w.statusLine(w.status)
	h := w.header
	w.announceTrailers(h)
	_, encoded := h["Transfer-Encoding"]
	if encoded {
		delete(h, "Transfer-Encoding") // framing is ours
	}
	switch {
	case w.noBody:
		if w.status == http.StatusNoContent || w.status == http.StatusSwitchingProtocols {
			delete(h, "Content-Length") // RFC 9110 8.6
		}
	case w.length >= 0:
	case last && w.trailers == nil:
		w.length = int64(len(body))
		w.buf = append(w.buf, "Content-Length: "...)
		w.buf = strconv.AppendInt(w.buf, w.length, 10)
		w.buf = append(w.buf, '\r', '\n')
	case w.r.ProtoMinor == 0:
		w.close = true
	default:
		w.chunked = true
		w.buf = append(w.buf, "Transfer-Encoding: chunked\r\n"...)
	}
	if v, ok := h["Connection"]; ok && w.status != http.StatusSwitchingProtocols {
		for _, token := range v {
			if strings.EqualFold(token, "close") {
				w.close = true
			}
		}
		delete(h, "Connection")
	}
	w.requestLeft()
	w.close = w.close || w.c.server.last()
	if w.close {
		w.buf = append(w.buf, "Connection: close\r\n"...)
	} else if w.r.ProtoMinor == 0 {
		w.buf = append(w.buf, "Connection: keep-alive\r\n"...)
	}
	if _, ok := h["Date"]; !ok {
		w.buf = append(w.buf, "Date: "...)
		w.buf = append(w.buf, date()...)
		w.buf = append(w.buf, '\r', '\n')
	}
	w.fields(h)
	w.buf = append(w.buf, '\r', '\n')
	if len(body) == 0 {
		return
	}
	w.append(body)
	freeWriteBuffer(body)
}

// requestLeft closes the connection after a response that came before the end
// of a request body which is too long to be read to its end.
func (w *response) requestLeft() {
	b := w.body
	if b == nil || b.err == io.EOF {
		return
	}
	if b.err != nil || b.expect || !b.chunked && b.left > w.c.server.Limits.DrainBytes {
		w.close = true
	}
}

func (w *response) statusLine(status int) {
	w.buf = append(w.buf, "HTTP/1.1 "...)
	w.buf = strconv.AppendInt(w.buf, int64(status), 10)
	w.buf = append(w.buf, ' ')
	w.buf = append(w.buf, http.StatusText(status)...)
	w.buf = append(w.buf, '\r', '\n')
}

// fields writes header fields. What could end a line early is never written.
func (w *response) fields(h http.Header) {
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) || !isTokenString(name) || w.trailer(name) {
			continue
		}
		for _, v := range values {
			w.buf = append(w.buf, name...)
			w.buf = append(w.buf, ':', ' ')
			w.value(v)
			w.buf = append(w.buf, '\r', '\n')
		}
	}
}

func (w *response) value(v string) {
	n := len(w.buf)
	w.buf = append(w.buf, v...)
	for i := n; i < len(w.buf); i++ {
		if c := w.buf[i]; c == '\r' || c == '\n' || c == 0 {
			w.buf[i] = ' '
		}
	}
}

func isTokenString(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// clock is the Date of the current second.
type clock struct {
	second int64
	text   string
}

var dates atomic.Pointer[clock]

// date is the current time as RFC 9110 5.6.7 writes it.
func date() string {
	now := time.Now()
	if d := dates.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &clock{now.Unix(), now.UTC().Format(http.TimeFormat)}
	dates.Store(d)
	return d.text
}
