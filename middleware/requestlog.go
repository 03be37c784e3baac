package middleware

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
)

// The values of RequestLog.Format.
const (
	FormatJSON = "json"
	FormatECS  = "ecs"
	FormatOCSF = "ocsf"
	FormatCEF  = "cef"
)

// The values of RequestLog.Addresses.
const (
	AddressesTruncated = "truncated"
	AddressesFull      = "full"
)

// syslogTLS begins the output that is a syslog receiver.
const syslogTLS = "syslog+tls://"

// RequestLog is a log of requests: where it goes, and how it is written.
type RequestLog struct {
	// Output is stdout, stderr, off, a file, or a syslog receiver over TLS (RFC 5424, RFC 5425): syslog+tls://logs.egov.example:6514; default: stdout for access_log, off for security_log. Requests never wait for it: what a slow or dead output can't take is lost and counted by vazel_log_records_dropped_total.
	Output string `yaml:"output"`
	// Format is json (OpenTelemetry's names), ecs (Elastic Common Schema), ocsf (OCSF 4002, HTTP Activity, with the Security Control profile) or cef (Common Event Format); default: json.
	Format string `yaml:"format"`
	// Addresses says how much of client addresses is written: truncated (the network: /24 of IPv4, /48 of IPv6) or full; default: truncated for access_log, full for security_log.
	Addresses string `yaml:"addresses"`
	// TLS is how the syslog receiver is proven, and how it knows this node; default: by the authorities of the system, and not at all.
	TLS *certs.ClientTLS `yaml:"tls"`
}

// whole reports whether addresses are written as they are.
func (l *RequestLog) whole(name string) bool {
	if l.Addresses == "" {
		return name == "security"
	}
	return l.Addresses == AddressesFull
}

// Remote reports whether the log goes to a receiver and not to this machine.
func (l *RequestLog) Remote() bool { return strings.Contains(l.Output, "://") }

// receiver is the address of a syslog receiver, or "" for other outputs.
func (l *RequestLog) receiver() (address string, conf *tls.Config, read string, err error) {
	if !l.Remote() {
		if l.TLS != nil {
			return "", nil, "", errors.New("tls is of use only with output: syslog+tls://host:6514")
		}
		return "", nil, "", nil
	}
	address, ok := strings.CutPrefix(l.Output, syslogTLS)
	host, port, splitErr := net.SplitHostPort(strings.TrimSuffix(address, "/"))
	if splitErr != nil && ok && !strings.ContainsAny(address, "/?#@") {
		host, port, splitErr = net.SplitHostPort(address + ":6514")
	}
	if !ok || splitErr != nil || host == "" || port == "" || strings.ContainsAny(host+port, "/?#@ ") {
		return "", nil, "", fmt.Errorf("output %q is no receiver; write syslog+tls://host:6514", l.Output)
	}
	if conf, read, err = l.TLS.Config(host); err != nil {
		return "", nil, "", fmt.Errorf("tls: %w", err)
	}
	return net.JoinHostPort(host, port), conf, read, nil
}

// Problem is what is wrong with the settings, or nil.
func (l *RequestLog) Problem() error {
	_, _, _, err := l.receiver()
	return err
}
