package middleware

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// A stream of gRPC has no end to wait for: the client may send its next message only
// when it has got an answer to the last one. So its head is inspected at once, and
// each message by itself, before it goes on.

// isGRPC reports whether a request is one of gRPC.
func isGRPC(r *http.Request) bool {
	v := r.Header["Content-Type"]
	return len(v) == 1 && waf.IsGRPC(v[0]) && r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 && len(r.Header["Content-Encoding"]) == 0
}

// grpcStream is the body of such a request.
type grpcStream struct {
	i        *inspection
	r        *http.Request // its head; the body is read by whoever forwards
	rec      *Record
	body     io.ReadCloser
	reading  sync.Mutex // Close may come while a Read waits
	held     lease
	out      []byte // inspected, and not read yet
	err      error
	unlooked bool // detect mode: what comes is not understood, and passes

	over atomic.Bool

	mu      sync.Mutex
	verdict waf.Verdict // of the head or the message with the highest score
	guard   string
}

// Read implements io.Reader.
func (m *grpcStream) Read(p []byte) (int, error) {
	m.reading.Lock()
	defer m.reading.Unlock()
	for len(m.out) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		if m.unlooked {
			return m.body.Read(p)
		}
		m.held.end()
		m.out, m.err = m.next()
		if m.over.Load() { // nobody else will give back what it took
			m.held.end()
		}
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

// Close implements io.Closer.
func (m *grpcStream) Close() error { return m.body.Close() }

var errBrokeOff = &BodyRefusal{http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true}}

// next reads and inspects the next message. In detect mode what could not be is
// passed on all the same, and all that follows it.
func (m *grpcStream) next() (out []byte, err error) {
	head := make([]byte, 5)
	n, err := io.ReadFull(m.body, head)
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case err == io.ErrUnexpectedEOF:
		return m.refuse(head[:n], &waf.Refusal{Status: http.StatusBadRequest, Reason: waf.ReasonGRPC, Detail: "a message that ends too early"})
	case err != nil:
		return nil, broken(err)
	}
	length := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] > 1:
		return m.refuse(head, &waf.Refusal{Status: http.StatusBadRequest, Reason: waf.ReasonGRPC, Detail: "not the beginning of a message"})
	case length > waf.MaxBody:
		return m.refuse(head, &waf.Refusal{Status: http.StatusRequestEntityTooLarge, Reason: "inspection_too_large", Detail: "a message that is too large"})
	}
	b, _, err := m.held.read(io.LimitReader(m.body, int64(length)), int(length))
	whole := append(head, b...)
	switch {
	case err != nil && !errors.Is(err, errNoBuffer):
		return nil, broken(err)
	case err != nil:
		return m.refuse(whole, err)
	case len(b) < int(length):
		return m.refuse(whole, &waf.Refusal{Status: http.StatusBadRequest, Reason: waf.ReasonGRPC, Detail: "a message that ends too early"})
	}
	plain, coding := b, []string(nil)
	if head[0] == 1 {
		coding = m.r.Header["Grpc-Encoding"]
		if len(coding) != 1 || strings.EqualFold(coding[0], "identity") {
			return m.refuse(whole, &waf.Refusal{Status: http.StatusUnsupportedMediaType, Reason: waf.ReasonEncoding, Detail: "a compressed message without its coding"})
		}
		if n := waf.Expansion(coding, len(b)); !m.held.more(2 * int64(n)) {
			return m.refuse(whole, errNoBuffer)
		}
		if plain, err = waf.Plain(coding, b, false); err != nil {
			return m.refuse(whole, err)
		}
	}
	v, err := m.i.look(m.r, m.rec, plain, coding != nil)
	m.noteOf(v)
	switch {
	case err != nil:
		return m.refuse(whole, err)
	case v.Block && m.i.block:
		return nil, blockedByRules
	}
	return whole, nil
}

// broken is the error of a body that another policy or the client ended.
func broken(err error) error {
	var refusal *BodyRefusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return errBrokeOff
}

// refuse is what becomes of a message that could not be inspected.
func (m *grpcStream) refuse(read []byte, err error) ([]byte, error) {
	refusal := refusalOf(err)
	m.mu.Lock()
	m.guard = refusal.Denial.Reason
	m.mu.Unlock()
	if m.i.block {
		return nil, refusal
	}
	m.unlooked = true
	return read, nil
}

func (m *grpcStream) noteOf(v waf.Verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Score > m.verdict.Score || v.Block && !m.verdict.Block {
		m.verdict = v
	}
}

// look inspects a head, with one message or none.
func (i *inspection) look(r *http.Request, rec *Record, message []byte, decoded bool) (v waf.Verdict, err error) {
	account, refusal := i.budget.account(r.Context(), rec)
	if refusal == nil {
		refusal = account.turn(r.Context())
	}
	if refusal != nil {
		return v, refusal
	}
	in := i.request(r, rec, r.Header.Clone())
	in.Body, in.Decoded = message, decoded
	return i.rules.Inspect(in, account.close)
}

// serveGRPC passes a request on whose head was inspected; its messages are as they
// come. What was found is noted when all is over.
func (i *inspection) serveGRPC(w http.ResponseWriter, r *http.Request, rec *Record, next http.Handler) {
	v, err := i.look(r, rec, nil, false)
	if (err != nil || v.Block) && i.block {
		i.note(rec, v)
		i.refused(w, r, rec, v, err)
		return
	}
	m := &grpcStream{i: i, r: r, rec: rec, body: r.Body, held: lease{from: i.buffers}, verdict: v}
	forwarded := r.WithContext(r.Context())
	forwarded.Body = m
	defer func() {
		m.over.Store(true)
		m.held.end()
		m.mu.Lock()
		defer m.mu.Unlock()
		i.note(rec, m.verdict)
		outcome := "pass"
		switch {
		case m.guard != "":
			rec.InspectionGuard, rec.InspectionOutcome, outcome = m.guard, outcomeOf(i.block, "block"), outcomeOf(i.block, "block")
		case m.verdict.Block:
			rec.InspectionOutcome, outcome = outcomeOf(i.block, "block"), outcomeOf(i.block, "block")
		}
		i.manager.Observe(i.route, outcome, i.rules, m.verdict)
	}()
	next.ServeHTTP(w, forwarded)
}
