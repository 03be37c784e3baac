package middleware

import (
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/scan"
)

// Scan has a virus scanner look at request bodies: at each file of a multipart
// body, at other bodies as a whole, and at files within them in Base64.
type Scan struct {
	// Clamd is where clamd listens: unix:/run/clamav/clamd.ctl, or host:port. StreamMaxLength of clamd.conf should be at least max_size.
	Clamd string `yaml:"clamd"`
	// ICAP is the service of another scanner that speaks ICAP (REQMOD), in place of clamd: icap://host:1344/avscan.
	ICAP string `yaml:"icap"`
	// OnScannerFailure says what becomes of bodies while the scanner can't be asked or does not answer: refuse (503 scan_failed) or allow, which lets them pass unscanned. Default: refuse.
	OnScannerFailure string `yaml:"on_scanner_failure"`
	// MaxSize is the largest body that is scanned, also after decompression; more gets 413 scan_too_large. It is held until it was scanned: in memory up to 256KiB, else in a file. Default: 100MiB.
	MaxSize unit.Size `yaml:"max_size"`
	// Timeout is how long a scan may take; default: 30s.
	Timeout unit.Duration `yaml:"timeout"`
}

// ScanFailureWords are the values of on_scanner_failure.
func ScanFailureWords() []string { return []string{"refuse", "allow"} }

// Build makes the handler. A nil p makes none.
func (p *Scan) Build(env Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	var scanner scan.Scanner
	switch {
	case (p.Clamd == "") == (p.ICAP == ""):
		return nil, errors.New("either clamd or icap says where the scanner is")
	case p.Clamd != "":
		if err := scan.CheckAddress(p.Clamd); err != nil {
			return nil, err
		}
		scanner = scan.Clamd{Address: p.Clamd}
	default:
		if err := scan.CheckICAP(p.ICAP); err != nil {
			return nil, err
		}
		scanner = scan.ICAP{URL: p.ICAP}
	}
	s := &scanning{
		scanner: scanner, allow: p.OnScannerFailure == "allow", most: int64(p.MaxSize), timeout: p.Timeout.Std(),
		spool: env.Engines.Spool, metrics: env.Engines.scans, log: env.Log, route: env.Route,
	}
	if s.most == 0 {
		s.most = 100 << 20
	}
	if s.timeout == 0 {
		s.timeout = 30 * time.Second
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, next) })
	}, nil
}

// scanMetrics are those of all routes together.
type scanMetrics struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newScanMetrics(reg prometheus.Registerer) *scanMetrics {
	m := &scanMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_scan_requests_total", Help: "Requests whose body was scanned. Result: clean, infected, too_large, malformed (can't be taken apart), error (the scanner failed).",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vazel_scan_duration_seconds", Help: "Time that the scanner took for a request.", Buckets: []float64{.005, .025, .1, .25, .5, 1, 3, 5, 10, 30}, NativeHistogramBucketFactor: 1.1,
		}),
	}
	reg.MustRegister(m.requests, m.duration)
	for _, r := range []string{"clean", "infected", "too_large", "malformed", "error"} {
		m.requests.WithLabelValues(r)
	}
	return m
}

// scanning is the policy of one route.
type scanning struct {
	scanner scan.Scanner
	allow   bool
	most    int64
	timeout time.Duration
	spool   *Spool
	metrics *scanMetrics
	log     *zap.Logger
	route   string
}

// serve holds the whole body until the scanner has seen it. Nothing is sent to
// the scanner before, so that slow clients don't keep it busy.
func (s *scanning) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	has, ok := hasBody(w, r)
	if !ok {
		return
	}
	if !has {
		next.ServeHTTP(w, r)
		return
	}
	if severalTypes(w, r, "scan") {
		return
	}
	if r.ContentLength > s.most {
		s.tooLarge(w, r)
		return
	}
	body, over, err := s.spool.read(r.Body, s.most)
	defer body.end()
	var refusal *BodyRefusal
	switch {
	case errors.As(err, &refusal):
		Deny(w, r, refusal.Status, refusal.Denial)
		return
	case err != nil:
		Deny(w, r, http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true})
		return
	case over:
		s.tooLarge(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	start := time.Now()
	malware, err := s.content(ctx, r, body)
	cancel()
	s.metrics.duration.Observe(time.Since(start).Seconds())
	switch {
	case malware != "":
		s.metrics.requests.WithLabelValues("infected").Inc()
		Deny(w, r, http.StatusForbidden, Denial{By: "scan", Reason: "malware_found", Detail: "malware: " + malware})
		return
	case errors.As(err, &refusal):
		s.metrics.requests.WithLabelValues("malformed").Inc()
		Deny(w, r, refusal.Status, refusal.Denial)
		return
	case errors.Is(err, scan.ErrTooLarge): // never let pass: otherwise padding would be all that it takes
		s.tooLarge(w, r)
		return
	case err != nil && !s.failed(w, r, err):
		return
	case err == nil:
		s.metrics.requests.WithLabelValues("clean").Inc()
	}
	r.Body = replay{body.reader(), r.Body} // r is Observe's copy
	if r.ContentLength < 0 && r.Trailer == nil {
		r.ContentLength = body.size
	}
	next.ServeHTTP(w, r)
}

func (s *scanning) tooLarge(w http.ResponseWriter, r *http.Request) {
	s.metrics.requests.WithLabelValues("too_large").Inc()
	Deny(w, r, http.StatusRequestEntityTooLarge, Denial{By: "scan", Reason: "scan_too_large", Close: true, Members: map[string]any{"limit": s.most}})
}

// failed reports whether the request may pass although the scanner failed.
func (s *scanning) failed(w http.ResponseWriter, r *http.Request, err error) bool {
	if r.Context().Err() == nil { // otherwise the client left
		s.metrics.requests.WithLabelValues("error").Inc()
		s.log.Warn("the virus scanner failed", zap.String("event.id", RecordOf(r.Context()).ID), zap.String("vazel.route", s.route), zap.Bool("passed", s.allow), zap.Error(err))
	}
	if s.allow {
		return true
	}
	Deny(w, r, http.StatusServiceUnavailable, Denial{By: "scan", Reason: "scan_failed", Detail: err.Error(), RetryAfter: 10 * time.Second})
	return false
}

// content has everything scanned that a body holds: the whole of it, or each file of
// a multipart body; and the files that documents and fields hold in Base64.
func (s *scanning) content(ctx context.Context, r *http.Request, body *spooled) (string, error) {
	kind := first(r.Header["Content-Type"])
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(kind)), "multipart/") {
		plain, err := s.plain(r, body.reader())
		if err != nil {
			return "", err
		}
		malware, err := s.scanner.Scan(ctx, plain)
		if malware != "" || err != nil || !holdsText(kind) {
			return malware, err
		}
		if plain, err = s.plain(r, body.reader()); err != nil {
			return "", err
		}
		return s.embedded(ctx, plain)
	}
	malware, err := s.parts(r, body, func(p *part) (string, error) {
		if p.field {
			return "", nil
		}
		return s.scanner.Scan(ctx, p.content)
	})
	if malware != "" || err != nil {
		return malware, err
	}
	return s.parts(r, body, func(p *part) (string, error) {
		if !p.field && !holdsText(p.kind) {
			return "", nil
		}
		return s.embedded(ctx, p.content)
	})
}

// parts has each part of a multipart body looked at, until one is malware.
func (s *scanning) parts(r *http.Request, body *spooled, look func(*part) (string, error)) (string, error) {
	plain, err := s.plain(r, body.reader())
	if err != nil {
		return "", err
	}
	parts, err := newParts(r.Header["Content-Type"], plain)
	if err != nil {
		return "", scanMalformed(err)
	}
	for {
		p, err := parts.next()
		if err == io.EOF {
			return "", nil
		}
		if err != nil {
			return "", scanMalformed(err)
		}
		if malware, err := look(p); malware != "" || err != nil {
			return malware, err
		}
	}
}

// errMalware ends the look at a document in which malware was found.
var errMalware = errors.New("malware")

// embedded has the files scanned that a document holds in Base64.
func (s *scanning) embedded(ctx context.Context, text io.Reader) (malware string, err error) {
	err = scan.Embedded(text, func(file io.Reader) error {
		var err error
		if malware, err = s.scanner.Scan(ctx, file); malware != "" {
			return errMalware
		}
		return err
	})
	switch {
	case malware != "":
		return malware, nil
	case errors.Is(err, scan.ErrManyEmbedded):
		return "", scan.ErrTooLarge
	}
	return "", err
}

// holdsText reports whether a body of a type may hold files in Base64.
func holdsText(contentType string) bool {
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	return media == "" || strings.HasPrefix(media, "text/") || strings.Contains(media, "json") || strings.Contains(media, "xml") || media == "application/x-www-form-urlencoded"
}

// plain is a body without its content coding, for scanners don't know of it.
func (s *scanning) plain(r *http.Request, body io.Reader) (io.Reader, error) {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header["Content-Encoding"], ",")))
	var out io.Reader
	var err error
	switch coding {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		out, err = gzip.NewReader(body)
	case "deflate":
		out, err = zlib.NewReader(body)
	default:
		return nil, &BodyRefusal{http.StatusUnsupportedMediaType, Denial{
			By: "scan", Reason: "inspection_encoding", Detail: "a content coding that is not scanned", Header: http.Header{"Accept-Encoding": {"gzip, deflate"}},
		}}
	}
	if err != nil {
		return nil, errNotCompressed
	}
	return &unpacked{r: out, left: s.most}, nil
}

var errNotCompressed = &BodyRefusal{http.StatusBadRequest, Denial{By: "scan", Reason: "inspection_encoding", Detail: "a body that is not compressed as it says"}}

// unpacked reads what was compressed, and no more than a bound.
type unpacked struct {
	r    io.Reader
	left int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	if int64(len(p)) > u.left+1 {
		p = p[:u.left+1]
	}
	n, err := u.r.Read(p)
	if u.left -= int64(n); u.left < 0 {
		return 0, scan.ErrTooLarge
	}
	if err != nil && err != io.EOF {
		err = errNotCompressed
	}
	return n, err
}

// scanMalformed refuses what can't be taken apart, unless err is a refusal.
func scanMalformed(err error) error {
	var refusal *BodyRefusal
	if errors.As(err, &refusal) || errors.Is(err, scan.ErrTooLarge) {
		return err
	}
	return &BodyRefusal{http.StatusBadRequest, Denial{By: "scan", Reason: "inspection_multipart", Detail: fmt.Sprint("the body can't be scanned: ", err)}}
}

// first is the first of a field's values.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
