package tracing

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
)

// Settings say where spans go, and of which requests.
type Settings struct {
	// OTLP is the collector: the URL of its OTLP over HTTP, such as https://otel.egov.example:4318; /v1/traces is added where the URL has no path. Required. What a slow or dead collector can't take is lost and counted by vazel_trace_spans_total; requests never wait for it.
	OTLP string `yaml:"otlp"`
	// Sample is the share of requests that are traced, such as 1% or 0.01; default: 1%. A request that a trusted proxy passes on follows the decision in its traceparent. Nobody else decides how much is traced: the span of another client's request is linked to the one that its traceparent names, and sampled as any other.
	Sample Ratio `yaml:"sample"`
	// Headers are fields that are sent to the collector, such as Authorization; their values are references to secrets.
	Headers map[string]unit.Secret `yaml:"headers"`
	// TLS is how the collector is proven, and how it knows this node; default: by the authorities of the system, and not at all.
	TLS *certs.ClientTLS `yaml:"tls"`
}

// Ratio is a share of requests, written 1% or 0.01. The zero value is not set.
type Ratio struct {
	Share float64
	Set   bool
}

// UnmarshalText reads a Ratio.
func (r *Ratio) UnmarshalText(text []byte) error {
	s, percent := strings.CutSuffix(string(text), "%")
	f, err := strconv.ParseFloat(s, 64)
	if percent {
		f /= 100
	}
	if err != nil || strings.ContainsAny(s, "eExXpP_+-") || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is no share; write for example 1%% or 0.01", text)
	}
	*r = Ratio{f, true}
	return nil
}

// String is the share as it is written.
func (r Ratio) String() string {
	return strconv.FormatFloat(r.Share*100, 'f', -1, 64) + "%"
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Ratio) Pattern() string {
	return `^((100(\.0+)?|(0|[1-9][0-9]?)(\.[0-9]+)?)%|0(\.[0-9]+)?|1(\.0+)?)$`
}

// endpoint is what the settings come to. read tells two of them apart.
func (s *Settings) endpoint() (u *url.URL, conf *tls.Config, headers map[string]string, read string, err error) {
	if s.OTLP == "" {
		return nil, nil, nil, "", errors.New("otlp is missing; write for example otlp: https://otel.egov.example:4318")
	}
	u, err = url.Parse(s.OTLP)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, nil, nil, "", fmt.Errorf("otlp: %q is no URL of a collector; write for example https://otel.egov.example:4318", s.OTLP)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	if u.Scheme == "http" && s.TLS != nil {
		return nil, nil, nil, "", errors.New("tls is of use only with an https URL")
	}
	if conf, read, err = s.TLS.Config(u.Hostname()); err != nil {
		return nil, nil, nil, "", fmt.Errorf("tls: %w", err)
	}
	headers = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		value := strings.TrimSpace(s.Headers[name].Reveal())
		if http.CanonicalHeaderKey(name) != name || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n\x00") {
			return nil, nil, nil, "", fmt.Errorf("headers: %q is no field that can be sent; write names such as Authorization", name)
		}
		headers[name] = value
		read += "\x00" + name + "\x00" + value
	}
	return u, conf, headers, u.String() + "\x00" + read, nil
}

// Problem is what is wrong with the settings, or nil.
func (s *Settings) Problem() error {
	_, _, _, _, err := s.endpoint()
	return err
}

// share is the share of requests that are traced.
func (s *Settings) share() float64 {
	if !s.Sample.Set {
		return 0.01
	}
	return s.Sample.Share
}
