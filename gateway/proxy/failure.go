package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

// Reasons of vazel_upstream_errors_total.
const (
	reasonDNS            = "dns"
	reasonConnectRefused = "connect_refused"
	reasonConnectTimeout = "connect_timeout"
	reasonTLS            = "tls"
	reasonHeaderTimeout  = "header_timeout"
	reasonReset          = "reset"
	reasonProtocol       = "protocol"
	reasonBodyTimeout    = "body_timeout"
	reasonNoServer       = "no_healthy_server"
	reasonOverloaded     = "overloaded"
)

// reasons lists them, so that every series exists from the start.
var reasons = []string{
	reasonDNS, reasonConnectRefused, reasonConnectTimeout, reasonTLS, reasonHeaderTimeout, reasonReset,
	reasonProtocol, reasonBodyTimeout, reasonNoServer, reasonOverloaded,
}

// answers says what a client is told of each reason: the status, the reason of
// the refusal, and the error type of RFC 9209.
var answers = map[string]struct {
	status int
	public string
	proxy  string
}{
	reasonDNS:            {http.StatusBadGateway, "upstream_unreachable", "dns_error"},
	reasonConnectRefused: {http.StatusBadGateway, "upstream_unreachable", "connection_refused"},
	reasonConnectTimeout: {http.StatusGatewayTimeout, "upstream_timeout", "connection_timeout"},
	reasonTLS:            {http.StatusBadGateway, "upstream_tls", "tls_protocol_error"},
	reasonHeaderTimeout:  {http.StatusGatewayTimeout, "upstream_timeout", "http_response_timeout"},
	reasonReset:          {http.StatusBadGateway, "upstream_unreachable", "connection_terminated"},
	reasonProtocol:       {http.StatusBadGateway, "upstream_protocol", "http_protocol_error"},
	reasonBodyTimeout:    {http.StatusGatewayTimeout, "upstream_timeout", "connection_read_timeout"},
	reasonNoServer:       {http.StatusServiceUnavailable, "no_healthy_server", "destination_unavailable"},
	reasonOverloaded:     {http.StatusServiceUnavailable, "overload", "connection_limit_reached"},
}

// failure is why an attempt brought no whole response.
type failure struct {
	reason string // of the metric; "" if it was not the upstream's fault
	status string // error type of RFC 9209, if reason does not tell it well enough
	err    error
	wrote  bool // a byte of the request may have reached the server
	dead   bool // a kept connection ended before the first byte of a response
	// refusal is set if the client's own body was refused while it was read.
	refusal *middleware.BodyRefusal
	gone    bool // the client has left, or its body could not be read
}

func (f *failure) Error() string { return f.reason + ": " + f.err.Error() }

func failed(reason string, err error) *failure { return &failure{reason: reason, err: err} }

func failedf(reason, format string, args ...any) *failure {
	return &failure{reason: reason, err: fmt.Errorf(format, args...)}
}

// proxyStatus is the error type of RFC 9209 2.3 that says the most of f.
func (f *failure) proxyStatus() string {
	var (
		broken protocolError
		dns    *net.DNSError
		verify *tls.CertificateVerificationError
		op     *net.OpError
	)
	switch {
	case f.status != "":
		return f.status
	case errors.As(f.err, &broken) && special[broken] != "":
		return special[broken]
	case f.reason == reasonDNS && errors.As(f.err, &dns) && dns.IsTimeout:
		return "dns_timeout"
	case f.reason == reasonTLS && errors.As(f.err, &verify):
		return "tls_certificate_error"
	case f.reason == reasonTLS && errors.As(f.err, &op) && op.Op == "remote error":
		return "tls_alert_received"
	case f.reason == reasonConnectRefused && (errors.Is(f.err, syscall.EHOSTUNREACH) || errors.Is(f.err, syscall.ENETUNREACH)):
		return "destination_ip_unroutable"
	}
	return answers[f.reason].proxy
}

// protocolError is a response that breaks the rules of HTTP/1.1 or is not HTTP.
type protocolError string

// Protocol errors that RFC 9209 has a type for.
const (
	errHeadTooLarge protocolError = "the head is too large"
	errManyFields   protocolError = "too many fields"
	errCoding       protocolError = "a transfer coding other than chunked"
	errUnasked      protocolError = "the upstream switched protocols unasked"
	errOtherUpgrade protocolError = "the upstream switched to something else than WebSocket"
	errAccept       protocolError = "the upstream's Sec-WebSocket-Accept does not fit the key"
	errSubprotocol  protocolError = "the upstream chose a WebSocket subprotocol that was not offered"
)

var special = map[protocolError]string{
	errHeadTooLarge: "http_response_header_section_size", errManyFields: "http_response_header_section_size",
	errCoding: "http_response_transfer_coding", errUnasked: "http_upgrade_failed", errOtherUpgrade: "http_upgrade_failed",
	errAccept: "http_upgrade_failed", errSubprotocol: "http_upgrade_failed",
}

func (e protocolError) Error() string { return string(e) }

// errIdle is what a connection's watch reports when nothing moved for too long.
var errIdle = errors.New("nothing was received in time")

// dialFailure sorts an error of connecting, TLS included.
func dialFailure(err error) *failure {
	var dns *net.DNSError
	switch {
	case isShortage(err):
		return failed(reasonOverloaded, err)
	case errors.As(err, &dns):
		return failed(reasonDNS, err)
	case isTLS(err):
		return failed(reasonTLS, err)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err), errors.Is(err, syscall.ETIMEDOUT):
		return failed(reasonConnectTimeout, err)
	}
	return failed(reasonConnectRefused, err)
}

// readFailure sorts an error of reading a response. late is the reason if it
// took too long.
func readFailure(err error, late string) *failure {
	var p protocolError
	switch {
	case errors.As(err, &p):
		return failed(reasonProtocol, err)
	case errors.Is(err, errIdle), isTimeout(err):
		return failed(late, err)
	}
	return failed(reasonReset, err)
}

// isShortage: it is not the server's fault, but there are no file descriptors.
func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func isTLS(err error) bool {
	var (
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		shake   *handshakeError
	)
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &unknown) ||
		errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &shake)
}

// handshakeError is any failure of a TLS handshake that is not a time-out.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

func isEOF(err error) bool { return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) }

// deny answers a request whose upstream failed and nothing was sent yet.
func (f *failure) deny(w http.ResponseWriter, r *http.Request) {
	if f.refusal != nil {
		middleware.Deny(w, r, f.refusal.Status, f.refusal.Denial)
		return
	}
	var tooLarge *http.MaxBytesError
	if errors.As(f.err, &tooLarge) {
		middleware.Deny(w, r, http.StatusRequestEntityTooLarge, middleware.Denial{By: "max_body", Reason: "body_too_large", Close: true})
		return
	}
	if f.gone || f.reason == "" {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // nobody is there to answer
		}
		middleware.Deny(w, r, http.StatusBadRequest, middleware.Denial{By: "http", Reason: "bad_request", Detail: f.detail(), Close: true})
		return
	}
	a := answers[f.reason]
	h := w.Header()
	h["Proxy-Status"] = []string{"vazel; error=" + f.proxyStatus()}
	d := middleware.Denial{By: "upstream", Reason: a.public, Detail: f.detail()}
	if a.status == http.StatusServiceUnavailable {
		d.RetryAfter = 5 * time.Second
	}
	middleware.Deny(w, r, a.status, d)
}

// detail is the error for the log: one line without control characters.
func (f *failure) detail() string {
	s := f.err.Error()
	if len(s) > 300 {
		s = s[:300]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
