package waf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Request is what is inspected: exactly what the upstream will get.
type Request struct {
	Client             netip.Addr
	Method, URI, Proto string
	Path               string // of URI, as routes were chosen by
	Host               string
	Header             map[string][]string
	Body               []byte // without content coding
	Decoded            bool   // Body had one
	Head               bool   // Body is only the beginning of one
	Organization       string
	Accept             Accept
	Exclude            *Exclusions
	Profile            *Profile // nil: none
}

// Verdict is what the rules found.
type Verdict struct {
	Score    int
	Block    bool // Score reached the threshold, or a rule of the operator's own denies
	Rules    []int
	Category string // of the first rule that scored
	Matches  []Match

	all []int // every rule that matched, for comparing
}

// ErrTimeout is returned where inspection takes too long.
var ErrTimeout = errors.New("inspection took too long")

// codingRule scores header fields that are not for clients, and among them the
// content coding of a request, and Expect.
const codingRule = 920450

// TypeRule scores bodies of other types than a short list of common ones.
const TypeRule = 920420

// maxKept is how many rules of one request are noted.
const maxKept = 64

// manyValues is from where a transaction is not used again.
const manyValues = 300

// quick is the size of a request from which it is inspected beside its goroutine.
const quick = 8 << 10

// Inspect runs the rules over r. done is called with the CPU time that it took
// once nothing of r is looked at any longer, which can be after Inspect returned
// with ErrTimeout.
func (rs *Ruleset) Inspect(r *Request, done func(used time.Duration)) (v Verdict, err error) {
	size := len(r.Body) + len(r.URI)
	for _, values := range r.Header {
		for _, value := range values {
			size += len(value)
		}
	}
	if size <= quick {
		used := CPUTime()
		defer func() { done(used()) }()
		return rs.inspect(r)
	}
	type result struct {
		v   Verdict
		err error
	}
	c := make(chan result, 1)
	go func() {
		used := CPUTime()
		v, err := rs.inspect(r)
		done(used())
		c <- result{v, err}
	}()
	t := time.NewTimer(rs.manager.timeout)
	defer t.Stop()
	select {
	case got := <-c:
		return got.v, got.err
	case <-t.C:
		return v, ErrTimeout
	}
}

// transaction is what is used of the engine's beyond its interface. Both methods
// have been there in every release; a test holds the pinned one to it.
type transaction interface {
	types.Transaction
	plugintypes.TransactionState
	remover
}

// inspect fails closed: a panic is an error.
func (rs *Ruleset) inspect(r *Request) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = Verdict{}, fmt.Errorf("panic in the rule engine: %v", p)
		}
	}()
	s := rs.screened
	switch {
	case s == nil || s.off.Load():
		return rs.run(r, nil)
	case s.counter.Add(1)%shadowEvery == 0:
		return rs.shadow(r)
	}
	return rs.run(r, s)
}

// run runs the rules, but those that s leaves out.
func (rs *Ruleset) run(r *Request, s *screened) (v Verdict, err error) {
	if err := tooMany(r); err != nil {
		return v, err
	}
	start := time.Now()
	engine := rs.alone
	if s != nil {
		engine = rs.waf
	}
	tx := engine.NewTransaction().(transaction)
	var b *body
	// The engine uses a transaction again, with its tables, which stay as large as
	// they once were and make small requests slower.
	defer func() {
		if b == nil || len(b.args)+len(b.texts)+len(b.attrs) < manyValues {
			tx.Close()
		}
	}()
	if s != nil {
		rs.lean.begin(tx)
	}
	address := r.Client.String()
	tx.ProcessConnection(address, 0, "", 0)
	tx.ProcessURI(r.URI, r.Method, r.Proto)
	tx.AddRequestHeader("Host", r.Host)
	tx.SetServerName(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			tx.AddRequestHeader(name, value)
		}
	}
	vars := tx.Variables()
	unshare(vars.RequestHeaders(), vars.RequestCookies(), vars.ArgsGet())
	if r.Profile != nil {
		r.Profile.query(vars.ArgsGet())
		r.Profile.exempt(tx)
	}
	if err := elsewhere(r, vars.ArgsGet()); err != nil {
		return v, err
	}
	if err := decodeInto(vars.ArgsGet(), false); err != nil {
		return v, err
	}
	if err := decodeInto(vars.RequestCookies(), true); err != nil {
		return v, err
	}
	r.Exclude.apply(tx, r.Path, r.Organization)
	if r.Decoded { // the rule is there because others can't inspect it
		tx.RemoveRuleTargetByID(codingRule, variables.RequestHeadersNames, "content-encoding", nil)
	}
	if strings.EqualFold(first(r.Header["Expect"]), "100-continue") { // of .NET, and of curl before large bodies; the gateway answers it itself
		tx.RemoveRuleTargetByID(codingRule, variables.RequestHeadersNames, "expect", nil)
	}
	var refusal error
	if len(r.Body) > 0 {
		accept := r.Accept
		accept.Host, accept.Latin = r.Host, r.Profile != nil
		b, refusal = readBody(first(r.Header["Content-Type"]), r.Body, accept, r.Head)
		if r.Profile != nil && refusal == nil && !r.Head {
			r.Profile.document(b, r.Body, tx)
		}
		if refusal == nil {
			refusal = b.decode()
		}
	}
	if k := kindOf(first(r.Header["Content-Type"])); k != kindOther {
		set(vars.RequestBodyProcessor(), string(k))
	}
	if s != nil {
		s.leaveOut(tx, 1)
	}
	tx.ProcessRequestHeaders()
	rs.manager.metrics.duration.WithLabelValues("request_headers").Observe(time.Since(start).Seconds())
	if b != nil {
		start = time.Now()
		b.fill(vars)
	}
	if s != nil {
		s.leaveOut(tx, 2)
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return v, fmt.Errorf("inspection: %w", err)
	}
	if b != nil {
		rs.manager.metrics.duration.WithLabelValues("request_body").Observe(time.Since(start).Seconds())
	}
	v = rs.verdict(tx)
	return v, refusal
}

// tooMany refuses what is not worth the rules' time: more than they are given.
func tooMany(r *Request) error {
	if _, query, _ := strings.Cut(r.URI, "?"); query != "" {
		if n := strings.Count(query, "&") + 1; n > MaxArguments {
			return tooManyArguments(n)
		}
	}
	cookies := 0
	for _, list := range r.Header["Cookie"] {
		cookies += strings.Count(list, ";") + 1
	}
	if cookies > MaxCookies {
		return badBody(ReasonArguments, "%d cookies; at most %d are inspected", cookies, MaxCookies)
	}
	return nil
}

// first is the first of a field's values, which is the one that counts.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// verdict sums up what matched. The score is the Core Rule Set's own.
func (rs *Ruleset) verdict(tx transaction) (v Verdict) {
	v.Score = rs.scoreOf(tx)
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		v.all = append(v.all, id)
		custom := customRule(id)
		if !attackRule(id) && !custom {
			continue
		}
		if custom && denies(m) {
			v.Block = true
		} else if m.Rule().Severity() == types.RuleSeverityUnset {
			continue // it keeps the books
		}
		if len(v.Rules) < maxKept {
			v.Rules = append(v.Rules, id)
			v.Matches = append(v.Matches, matchOf(m))
		}
		if v.Category == "" {
			if v.Category = category(m.Rule().Tags()); custom {
				v.Category = "custom"
			}
		}
	}
	v.Block = v.Block || v.Score >= rs.settings.Threshold
	return v
}

// denies reports whether the rule would stop the request if it were for the
// engine to decide.
func denies(m types.MatchedRule) bool {
	return disruptive.MatchString(m.Rule().Raw())
}

func number(m collection.Map, key string) int {
	if values := m.Get(key); len(values) > 0 {
		n, err := strconv.Atoi(values[0])
		if err == nil {
			return n
		}
	}
	return 0
}

// attackRule reports whether a rule finds attacks, rather than keeps the books.
func attackRule(id int) bool { return id >= 911000 && id < 949000 }

// category is the label of a rule's kind of attack.
func category(tags []string) string {
	for _, t := range tags {
		if c := categories[t]; c != "" {
			return c
		}
	}
	return "other"
}

var categories = map[string]string{
	"attack-sqli": "sqli", "attack-xss": "xss", "attack-rce": "rce", "attack-lfi": "lfi", "attack-rfi": "rfi",
	"attack-protocol": "protocol", "attack-fixation": "session_fixation", "attack-injection-php": "php", "attack-injection-java": "java",
	"attack-reputation-scanner": "scanner", "attack-disclosure": "data_leak",
}
