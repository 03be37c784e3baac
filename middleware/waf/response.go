package waf

import (
	"fmt"
	"io/fs"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
)

// MaxResponse is how much of a response is inspected: its beginning, where
// messages of failures and listings stand.
const MaxResponse = 512 << 10

// responseThreshold is the Core Rule Set's own: one rule of its second severity.
const responseThreshold = 4

// Response is what is inspected of a response.
type Response struct {
	Status int
	Proto  string
	Header map[string][]string
	Body   []byte // without content coding, up to MaxResponse
}

// Responses are the rules for responses. They need nothing of the request.
type Responses struct {
	waf      coraza.WAF
	lean     *lean
	paranoia int
}

// responses compiles them for a level of paranoia.
func (m *Manager) responses(paranoia int) (*Responses, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.answers[paranoia]; r != nil {
		return r, nil
	}
	s := Settings{Paranoia: paranoia, Threshold: 5}
	files, err := fs.Glob(coreruleset.FS, "@owasp_crs/RESPONSE-95*.conf")
	if err != nil {
		return nil, err
	}
	text := setup(s) + "Include @owasp_crs/REQUEST-901-INITIALIZATION.conf\nSecDefaultAction \"phase:3,log,noauditlog,pass\"\nSecDefaultAction \"phase:4,log,noauditlog,pass\"\n"
	for _, f := range files {
		text += "Include " + f + "\n"
	}
	var order []types.RuleMetadata
	make := func(text string, each func(types.RuleMetadata)) (coraza.WAF, error) {
		compiling.Lock()
		defer compiling.Unlock()
		register()
		compiling.plain = false
		return coraza.NewWAF(experimental.WAFConfigWithRuleObserver(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(text), each))
	}
	if _, err = make(text, func(r types.RuleMetadata) {
		if r.ID() != 0 {
			order = append(order, r)
		}
	}); err != nil {
		return nil, fmt.Errorf("rules for responses can't be compiled: %w", err)
	}
	r := &Responses{lean: leanOf(s, order, counted(order)), paranoia: paranoia}
	if r.lean == nil {
		return nil, fmt.Errorf("rules for responses can't be compiled: they skip rules by number")
	}
	if r.waf, err = make(text+r.lean.directives(), func(types.RuleMetadata) {}); err != nil {
		return nil, fmt.Errorf("rules for responses can't be compiled: %w", err)
	}
	m.answers[paranoia] = r
	return r, nil
}

// Responses are the rules for responses, at the level of paranoia of rs.
func (rs *Ruleset) Responses() (*Responses, error) { return rs.manager.responses(rs.settings.Paranoia) }

// Inspect runs the rules over a response. It fails closed: a panic is an error.
func (rs *Responses) Inspect(r *Response) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = Verdict{}, fmt.Errorf("panic in the rule engine: %v", p)
		}
	}()
	tx := rs.waf.NewTransaction().(transaction)
	defer tx.Close()
	rs.lean.begin(tx)
	for name, values := range r.Header {
		for _, value := range values {
			tx.AddResponseHeader(apart(name), value)
		}
	}
	tx.ProcessResponseHeaders(r.Status, r.Proto)
	set(tx.Variables().ResponseBody(), string(r.Body))
	if _, err := tx.ProcessResponseBody(); err != nil {
		return v, fmt.Errorf("inspection: %w", err)
	}
	for level := 1; level <= rs.paranoia; level++ {
		v.Score += number(tx.Variables().TX(), fmt.Sprintf("outbound_anomaly_score_pl%d", level))
	}
	for _, m := range tx.MatchedRules() {
		if id := m.Rule().ID(); responseRule(id) && m.Rule().Severity() != types.RuleSeverityUnset {
			v.Rules = append(v.Rules, id)
			v.Matches = append(v.Matches, Match{Rule: id, Message: m.Message(), Where: "RESPONSE_BODY", Tag: attackTag(m.Rule().Tags())})
		}
	}
	v.Block, v.Category = v.Score >= responseThreshold, "data_leak"
	return v, nil
}

// responseRule reports whether a rule finds what a response should not hold.
func responseRule(id int) bool { return id >= 950000 && id < 959000 }

// InspectsResponse reports whether responses of a type are inspected: text, of
// the kinds that messages and pages come in.
func InspectsResponse(contentType string) bool {
	t, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch t = strings.TrimSpace(t); {
	case t == "text/event-stream":
		return false // it never ends
	case t == "", strings.HasPrefix(t, "text/"), t == "application/json", t == "application/xml", t == "application/xhtml+xml", t == "application/problem+json", t == "application/javascript":
		return true
	}
	return false
}
