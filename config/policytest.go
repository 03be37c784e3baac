package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// PolicyTests is a file of requests and what should become of them.
type PolicyTests struct {
	// Config is the configuration that is tested, relative to the file; default: that of the command.
	Config string `yaml:"config"`
	// Tests lists the requests.
	Tests []PolicyTest `yaml:"tests"`
}

// PolicyTest is one request and what should become of it.
type PolicyTest struct {
	// Name says what is held, for whoever reads the failure; default: the request.
	Name string `yaml:"name"`
	// Request is a method and an absolute URL, such as GET https://data.egov.example/.
	Request string `yaml:"request"`
	// As is the organization that calls; default: a client without certificate.
	As string `yaml:"as"`
	// From is the address of the client, for deny_from and allow_from; sets of URLs are taken for empty. Default: 192.0.2.1.
	From string `yaml:"from"`
	// Headers maps names of header fields to their value.
	Headers map[string]string `yaml:"headers"`
	// Body is the request's body.
	Body string `yaml:"body"`
	// Expect is what should become of the request. At least one of its keys is needed.
	Expect Expectation `yaml:"expect"`

	At     Position            `yaml:"-"` // where the request stands
	Places map[string]Position `yaml:"-"` // where each expectation stands
}

// Expectation is what should become of a request; what is left out is not looked at.
type Expectation struct {
	// Outcome is forwarded, refused, redirected or answered.
	Outcome string `yaml:"outcome"`
	// Status is the status that the client gets; of forwarded requests it is the upstream's and can't be expected.
	Status int `yaml:"status"`
	// Service is the service that the request reaches.
	Service string `yaml:"service"`
	// Route is the route that the request reaches.
	Route string `yaml:"route"`
	// By is the policy that refuses the request, such as allow, deny or waf.
	By string `yaml:"by"`
	// Reason is the reason of a refusal, such as not_allowed.
	Reason string `yaml:"reason"`
	// Location is where a redirect leads.
	Location string `yaml:"location"`
	// Upstream is the path, with its query, that the upstream gets.
	Upstream string `yaml:"upstream"`
}

// LoadTests reads a file of policy tests, as strictly as a configuration.
func LoadTests(path string) (*PolicyTests, error) {
	l := &loader{dir: filepath.Dir(path), file: map[*yaml.Node]*source{}}
	s := &source{path: path, valid: true}
	l.sources = append(l.sources, s)
	b, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l.parse(s, b)
	p := &PolicyTests{}
	if s.root == nil {
		if s.valid {
			l.fileProblem(s, 0, 0, "the file is empty; it must hold tests")
		}
		return nil, l.finish()
	}
	l.decode(s.root, reflect.ValueOf(p).Elem(), "the file")
	_, tests := get(s.root, "tests")
	if len(p.Tests) == 0 && !l.noted(tests) {
		l.bare(s.root, "the file holds no tests")
	}
	for i, n := range wordsOf(tests) {
		if i < len(p.Tests) && n.Kind == yaml.MappingNode {
			l.checkTest(n, &p.Tests[i])
		}
	}
	return p, l.finish()
}

func (l *loader) checkTest(n *yaml.Node, t *PolicyTest) {
	position := func(n *yaml.Node) Position {
		return Position{l.file[n].path, n.Line, n.Column}
	}
	_, request := get(n, "request")
	method, raw, ok := strings.Cut(t.Request, " ")
	switch u, err := url.Parse(raw); {
	case request == nil:
		l.problem(n, "a test has no request; write for example request: GET https://data.egov.example/")
	case !l.noted(request) && (!ok || method == "" || err == nil && (u.Host == "" || u.Scheme != "https" && u.Scheme != "http")):
		l.problem(request, "request %q is not a method and a URL; write for example GET https://data.egov.example/", t.Request)
	}
	_, expect := get(n, "expect")
	if t.Expect == (Expectation{}) && !l.noted(expect) {
		l.problem(orNode(expect, n), "a test expects nothing; write for example expect: {outcome: refused, status: 403}")
	}
	if _, o := get(expect, "outcome"); o != nil && !l.noted(o) {
		known := []string{"forwarded", "refused", "redirected", "answered"}
		if !slices.Contains(known, o.Value) {
			p := l.problem(o, "outcome %q is not known; write %s", o.Value, strings.Join(known, ", "))
			if s := suggest(o.Value, known); s != "" {
				l.show(p, o, fmt.Sprintf("did you mean %q?", s))
			}
		}
	}
	t.At, t.Places = position(orNode(request, n)), map[string]Position{}
	pairs(expect, func(k, v *yaml.Node) { t.Places[k.Value] = position(v) })
}

// Suggest is the candidate that was probably meant, or "".
func Suggest(word string, candidates []string) string { return suggest(word, candidates) }
