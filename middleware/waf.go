package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// WAF inspects requests with the OWASP Core Rule Set.
type WAF struct {
	// Mode is block, detect (log what would be blocked, and change no answer) or off. Default: block where waf is given; a service that no level says waf for is not inspected, and the log says so.
	Mode string `yaml:"mode"`
	// Paranoia is the Core Rule Set's paranoia level, 1 to 4: more rules, and more false positives. Default: 1.
	Paranoia int `yaml:"paranoia"`
	// Threshold is the anomaly score from which a request is blocked; one critical rule scores 5. Default: 5.
	Threshold int `yaml:"threshold"`
	// Exclude lists what is left out: the id of a rule, or a mapping that narrows it to paths, organizations, a parameter, header field or cookie.
	Exclude []Exclusion `yaml:"exclude"`
	// App is what a service runs, one of ckan, geonetwork, mapserver and regix: what such an application is asked by its own rules is recognized by its structure, and only that is left out of the rules that it looks like an attack to. Default: none.
	App string `yaml:"app"`
	// Tables are those that SQL of app: ckan may read besides the resources, which are named by UUIDs. Default: all but those of accounts and of the database itself.
	Tables unit.List `yaml:"tables"`
	// Rules is a file of further rules in SecLang, with ids from 1 to 99999. deny, drop and block refuse a request whatever its score; setvar may add to the score.
	Rules string `yaml:"rules"`
	// Responses is off, detect or block: the beginning of text responses (512KiB) is inspected for messages of databases and programs, listings and the like. block holds responses back until then, and refuses with 502; where mode is detect, it only detects. Default: off.
	Responses string `yaml:"responses"`
	// Accept lists constructs of XML that are refused otherwise, for many parsers fetch files or URLs by them: doctype, schema_location (of other than standards' schemas) and xinclude.
	Accept unit.List `yaml:"accept"`
	// Screen is auto (rules that can't match are found beforehand and not tried) or off, which costs several times the CPU and finds the same. Default: auto.
	Screen string `yaml:"screen"`
	// Cyrillic is auto (%uXXXX and \uXXXX of a Cyrillic letter are read as the letter, as services with UTF-8 do) or off, for a service that keeps only the low byte of such an escape, where м is <. With off, the rules take much Bulgarian text for code from paranoia 2 on. Default: auto.
	Cyrillic string `yaml:"cyrillic"`

	// BodyOverLimit says what becomes of bodies of more than 8MiB, which are not inspected whole: refuse (413 inspection_too_large), or inspect_head: the first 128KiB are inspected, and the rest streams to the upstream without being held. An attack behind these is not seen. Bodies of no known length count as large, too, where they find a quarter of limits.buffer_memory taken. Default: refuse.
	BodyOverLimit string `yaml:"body_over_limit"`

	// RulesText is what Rules holds, for Build reads no files.
	RulesText string `yaml:"-"`
}

// Exclusion is something that inspection leaves out.
type Exclusion struct {
	// Rule is the id of the rule that is left out. A number alone stands for this.
	Rule int `yaml:"rule"`
	// Tag leaves out all rules with a tag, such as attack-sqli or paranoia-level/2. Either rule or tag has to be set.
	Tag string `yaml:"tag"`
	// Paths narrow the exclusion to these paths and what is below them; =/path is the path alone. Default: every path of the route.
	Paths unit.List `yaml:"paths"`
	// Organizations narrow the exclusion to requests of these organizations.
	Organizations unit.List `yaml:"organizations"`
	// Parameter is the only parameter that the rules don't look at, in the query, a form, a multipart body or JSON (json.items.0.name); * stands for anything. Default: they don't look at the request at all.
	Parameter string `yaml:"parameter"`
	// Header is the only header field that the rules don't look at.
	Header string `yaml:"header"`
	// Cookie is the only cookie that the rules don't look at.
	Cookie string `yaml:"cookie"`
}

// ShortForm is the key that a scalar stands for.
func (WAF) ShortForm() string { return "mode" }

// ShortForm is the key that a scalar stands for.
func (Exclusion) ShortForm() string { return "rule" }

// AcceptWords are what accept may list.
func AcceptWords() []string { return []string{"doctype", "schema_location", "xinclude"} }

// OverLimitWords are the values of body_over_limit.
func OverLimitWords() []string { return []string{"refuse", "inspect_head"} }

// settings are those of the rule set.
func (p *WAF) settings() waf.Settings {
	s := waf.Settings{Paranoia: max(1, p.Paranoia), Threshold: p.Threshold, Custom: p.RulesText, NoScreen: p.Screen == "off", Bytes: p.Cyrillic == "off"}
	if s.Threshold == 0 {
		s.Threshold = 5
	}
	return s
}

func (p *WAF) exclusions() []waf.Exclusion {
	var out []waf.Exclusion
	for _, x := range p.Exclude {
		out = append(out, waf.Exclusion{Rule: x.Rule, Tag: x.Tag, Paths: x.Paths, Organizations: x.Organizations, Parameter: x.Parameter, Header: x.Header, Cookie: x.Cookie})
	}
	return out
}

// InForce is the mode that holds.
func (p *WAF) InForce() string {
	switch {
	case p == nil:
		return "off"
	case p.Mode == "":
		return "block"
	}
	return p.Mode
}

// Build makes the handler. A nil p, or mode off, makes none.
func (p *WAF) Build(env Env) (Func, error) {
	mode := p.InForce()
	if mode == "off" {
		return nil, nil
	}
	rules, err := env.Engines.WAF.Ruleset(p.settings())
	if err != nil {
		return nil, err
	}
	left := p.exclusions()
	if env.typesListed {
		left = append(left, waf.Exclusion{Rule: waf.TypeRule})
	}
	exclude, err := rules.Exclusions(left)
	if err != nil {
		return nil, fmt.Errorf("exclude: %w", err)
	}
	i := &inspection{
		rules: rules, exclude: exclude, manager: env.Engines.WAF, budget: env.Engines.inspection, buffers: env.Engines.Buffers, block: mode == "block", mode: mode, head: p.BodyOverLimit == "inspect_head", route: env.Route, log: env.Log,
	}
	if i.profile = waf.NewProfile(p.App, p.Tables); i.profile == nil && p.App != "" {
		return nil, fmt.Errorf("app: %q is not one of %v", p.App, waf.Apps())
	}
	for _, a := range p.Accept {
		switch a {
		case "doctype":
			i.accept.Doctype = true
		case "schema_location":
			i.accept.SchemaLocation = true
		case "xinclude":
			i.accept.XInclude = true
		default:
			return nil, fmt.Errorf("accept: %q is not one of %v", a, AcceptWords())
		}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, next) })
	}, nil
}

// Posture is how a route is inspected, for the metrics.
func (p *WAF) Posture(route string, e *Engines) waf.Posture {
	mode := p.InForce()
	if mode == "off" {
		return waf.Posture{Route: route, Mode: mode}
	}
	rules, err := e.WAF.Ruleset(p.settings())
	if err != nil { // Build has had it
		return waf.Posture{Route: route, Mode: mode}
	}
	return waf.Posture{Route: route, Mode: mode, Ruleset: rules, Exclusions: len(p.Exclude)}
}

// inspection is the policy of one route.
type inspection struct {
	rules   *waf.Ruleset
	exclude *waf.Exclusions
	profile *waf.Profile
	accept  waf.Accept
	manager *waf.Manager
	buffers *Buffers
	budget  *inspectionBudget
	block   bool
	head    bool // inspect_head
	mode    string
	route   string
	log     *zap.Logger
}

// serve inspects a request and passes it on with the bytes that were inspected.
// In block mode, what can't be inspected whole is refused. In detect mode nothing
// is: what could not be inspected is logged and passes.
func (i *inspection) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := RecordOf(r.Context())
	rec.InspectionMode = i.mode
	account, refusal := i.budget.account(r.Context(), rec)
	if refusal != nil {
		i.overBudget(w, r, refusal, next)
		return
	}
	if isGRPC(r) {
		i.serveGRPC(w, r, rec, next)
		return
	}
	held := lease{from: i.buffers}
	if i.head {
		held.modest = inspectedHead
	}
	defer held.end()
	body, stop := i.body(w, r, &held)
	if stop {
		return
	}
	engine := &lease{from: i.buffers} // for what is made of the body
	var v waf.Verdict
	var err error
	codings := r.Header["Content-Encoding"]
	n := len(body.bytes) + 2*waf.Expansion(codings, len(body.bytes))
	plain := body.bytes
	if n > 0 && !engine.more(int64(n)) {
		i.buffers.refused.Inc()
		err = errNoBuffer
	} else if !body.skipped {
		plain, err = waf.Plain(codings, plain, body.head)
	}
	switch {
	case body.skipped || err != nil:
		engine.end()
	default:
		if refusal := account.turn(r.Context()); refusal != nil {
			engine.end()
			i.overBudget(w, r, refusal, next)
			return
		}
		// The rules' view is their own, for after a time-out they go on with it
		// while the request is answered.
		header := r.Header.Clone()
		if _, ok := header["Content-Length"]; len(r.TransferEncoding) > 0 {
			header["Transfer-Encoding"] = r.TransferEncoding
		} else if !ok && len(body.bytes) > 0 {
			header["Content-Length"] = []string{strconv.Itoa(len(body.bytes))}
		}
		in := i.request(r, rec, header)
		in.Body, in.Decoded, in.Head = plain, n > len(body.bytes), body.head
		v, err = i.rules.Inspect(in, func(used time.Duration) {
			engine.end()
			account.close(used)
		})
	}
	i.note(rec, v)
	if e := i.log.Check(zap.DebugLevel, "inspected"); e != nil {
		e.Write(zap.String("event.id", rec.ID), zap.Int("vazel.inspection.score", v.Score), zap.Ints("vazel.inspection.rules", v.Rules), zap.Error(err))
	}
	if i.refused(w, r, rec, v, err) {
		return
	}
	switch {
	case body.skipped:
		i.manager.Observe(i.route, "skipped", i.rules, v)
	case body.head:
		i.manager.Truncated(i.route)
	}
	next.ServeHTTP(w, r)
}

// request is what the rules are shown, but for the body.
func (i *inspection) request(r *http.Request, rec *Record, header http.Header) *waf.Request {
	uri := rec.Path
	if r.URL.RawQuery != "" {
		uri += "?" + r.URL.RawQuery
	}
	return &waf.Request{
		Client: rec.Client, Method: r.Method, URI: uri, Path: rec.Path, Proto: r.Proto, Host: r.Host, Header: header,
		Organization: rec.Organization, Accept: i.accept, Exclude: i.exclude, Profile: i.profile,
	}
}

// overBudget is a request that there is no time to inspect. Only detect mode,
// which changes no answer, lets it pass.
func (i *inspection) overBudget(w http.ResponseWriter, r *http.Request, refusal *BodyRefusal, next http.Handler) {
	if i.block {
		i.manager.Observe(i.route, "error", i.rules, waf.Verdict{})
		Deny(w, r, refusal.Status, refusal.Denial)
		return
	}
	i.manager.Observe(i.route, "skipped", i.rules, waf.Verdict{})
	RecordOf(r.Context()).would(refusal.Status, refusal.Denial)
	next.ServeHTTP(w, r)
}

// refused refuses the request if it has to be, and counts it in any case.
func (i *inspection) refused(w http.ResponseWriter, r *http.Request, rec *Record, v waf.Verdict, err error) bool {
	var refusal *waf.Refusal
	var noBuffer *BodyRefusal
	switch {
	case errors.As(err, &refusal):
		i.manager.Observe(i.route, outcomeOf(i.block, "block"), i.rules, waf.Verdict{Category: "protocol", Score: v.Score, Rules: v.Rules})
		rec.InspectionGuard, rec.InspectionOutcome = refusal.Reason, outcomeOf(i.block, "block")
		return i.deny(w, r, refusalOf(err))
	case errors.As(err, &noBuffer):
		i.manager.Observe(i.route, "error", i.rules, v)
		return i.deny(w, r, noBuffer)
	case err != nil:
		i.manager.Observe(i.route, "error", i.rules, v)
		i.log.Warn("inspection failed", zap.String("event.id", rec.ID), zap.String("vazel.route", i.route), zap.Error(err))
		return i.deny(w, r, refusalOf(err))
	case v.Block:
		rec.InspectionOutcome = outcomeOf(i.block, "block")
		i.manager.Observe(i.route, outcomeOf(i.block, "block"), i.rules, v)
		return i.deny(w, r, blockedByRules)
	}
	i.manager.Observe(i.route, "pass", i.rules, v)
	return false
}

// deny refuses in block mode; in detect mode it only says that it would.
func (i *inspection) deny(w http.ResponseWriter, r *http.Request, d *BodyRefusal) bool {
	if i.block {
		Deny(w, r, d.Status, d.Denial)
	} else {
		RecordOf(r.Context()).would(d.Status, d.Denial)
	}
	return i.block
}

// blockedByRules is the answer to what the rules find dangerous.
var blockedByRules = &BodyRefusal{http.StatusForbidden, Denial{By: "waf", Reason: "inspection_blocked"}}

// refusalOf is the answer to what could not be inspected.
func refusalOf(err error) *BodyRefusal {
	var guard *waf.Refusal
	var refusal *BodyRefusal
	switch {
	case errors.As(err, &guard):
		d := Denial{By: "waf", Reason: guard.Reason, Detail: guard.Detail}
		if guard.Reason == waf.ReasonEncoding {
			d.Header = http.Header{"Accept-Encoding": {"gzip, deflate"}}
		}
		return &BodyRefusal{guard.Status, d}
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, waf.ErrTimeout):
		return &BodyRefusal{http.StatusServiceUnavailable, Denial{By: "waf", Reason: "inspection_failed", Detail: err.Error()}}
	}
	return &BodyRefusal{http.StatusInternalServerError, Denial{By: "waf", Reason: "inspection_failed", Detail: err.Error()}}
}

// outcomeOf is how metrics call what is refused, or would be.
func outcomeOf(block bool, word string) string {
	if block {
		return word
	}
	return "detect"
}

// note leaves in the Record what the rules found, without anything personal.
func (i *inspection) note(rec *Record, v waf.Verdict) {
	rec.InspectionScore, rec.InspectionRules, rec.InspectionCategory = v.Score, v.Rules, v.Category
	for _, m := range v.Matches {
		m.Where, m.Part = Mask(m.Where), Mask(m.Part)
		for k, where := range m.Also { // the verdict is this request's own
			m.Also[k] = Mask(where)
		}
		rec.InspectionMatches = append(rec.InspectionMatches, m)
	}
}
