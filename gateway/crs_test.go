package gateway

import (
	"bufio"
	"bytes"
	"crypto/fips140"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"go.yaml.in/yaml/v4"
)

// crsFile is a file of the Core Rule Set's regression tests.
type crsFile struct {
	Rule  int `yaml:"rule_id"`
	Tests []struct {
		ID     int `yaml:"test_id"`
		Stages []struct {
			Input  crsInput  `yaml:"input"`
			Output crsOutput `yaml:"output"`
		} `yaml:"stages"`
	} `yaml:"tests"`
}

type crsInput struct {
	Headers      map[string]string `yaml:"headers"`
	Method       string            `yaml:"method"`
	Version      *string           `yaml:"version"`
	URI          string            `yaml:"uri"`
	Data         string            `yaml:"data"`
	Encoded      string            `yaml:"encoded_request"`
	Autocomplete *bool             `yaml:"autocomplete_headers"`
}

type crsOutput struct {
	Status int  `yaml:"status"`
	Error  bool `yaml:"expect_error"`
	Log    struct {
		Expect  []int  `yaml:"expect_ids"`
		Not     []int  `yaml:"no_expect_ids"`
		Match   string `yaml:"match_regex"`
		NoMatch string `yaml:"no_match_regex"`
	} `yaml:"log"`
}

// raw is the request, byte for byte.
func (in *crsInput) raw() []byte {
	if in.Encoded != "" {
		b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(in.Encoded), ""))
		if err != nil {
			panic(err)
		}
		return b
	}
	data := in.Data
	for n, v := range in.Headers { // YAML has line feeds only
		if strings.EqualFold(n, "Content-Type") && strings.HasPrefix(v, "multipart/") && !strings.Contains(data, "\r\n") {
			data = strings.ReplaceAll(data, "\n", "\r\n")
		}
	}
	method, version, uri := in.Method, "HTTP/1.1", in.URI
	if method == "" {
		method = "GET"
	}
	if in.Version != nil {
		version = *in.Version
	}
	if uri == "" {
		uri = "/"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", method, uri, version)
	has := func(name string) bool {
		for n := range in.Headers {
			if strings.EqualFold(n, name) {
				return true
			}
		}
		return false
	}
	for n, v := range in.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", n, v)
	}
	if in.Autocomplete == nil || *in.Autocomplete {
		if data != "" {
			if !has("Content-Type") {
				b.WriteString("Content-Type: application/x-www-form-urlencoded\r\n")
			}
			if !has("Content-Length") && !has("Transfer-Encoding") {
				fmt.Fprintf(&b, "Content-Length: %d\r\n", len(data))
			}
		}
		if !has("Connection") {
			b.WriteString("Connection: close\r\n")
		}
	}
	b.WriteString("\r\n")
	b.WriteString(data)
	return b.Bytes()
}

// crsSetup is what the suite expects of the Core Rule Set's settings.
const crsSetup = `
SecAction "id:1,phase:1,pass,nolog,t:none,setvar:'tx.allowed_methods=GET HEAD POST OPTIONS',setvar:tx.crs_validate_utf8_encoding=1,\
    setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,\
    setvar:tx.max_file_size=64100,setvar:tx.combined_file_sizes=65535"
`

// crsNode is a gateway that inspects at every level of paranoia.
type crsNode struct {
	*node
	logs *observer.ObservedLogs
	conf *tls.Config
}

// newCRSNode serves every host that the suite asks for.
func newCRSNode(t *testing.T, suite []crsTest, paranoia int, settings string) *crsNode {
	core, logs := observer.New(zap.DebugLevel)
	n := &crsNode{logs: logs}
	n.node = newNodeLog(t, zap.New(core), func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var reflect struct {
			Status  int
			Headers map[string]string
			Body    string
		}
		if r.URL.Path == "/reflect" && json.Unmarshal(b, &reflect) == nil {
			for n, v := range reflect.Headers {
				w.Header().Set(n, v)
			}
			w.WriteHeader(max(200, reflect.Status))
			io.WriteString(w, reflect.Body)
		}
	})
	hosts := []string{"localhost"}
	for _, c := range suite {
		for _, in := range c.in {
			if h := in.host(); !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	cert, key, err := n.ca.Server(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	n.write("server.pem", string(cert))
	n.write("server.key", string(key))
	n.write("crs.conf", crsSetup)
	n.config(fmt.Sprintf(`
services:
  crs:
    owner: meu
    hosts: [%s]
    upstreams: ["http://%s"]
    methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PROPFIND]
    waf: {mode: detect, responses: detect, paranoia: %d, rules: crs.conf%s}
`, strings.Join(hosts, ", "), n.upstream.address, paranoia, settings))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	n.conf = &tls.Config{RootCAs: n.roots, ClientSessionCache: tls.NewLRUClientSessionCache(64)}
	return n
}

// host is the host name that a request is for, where it is one.
func (in *crsInput) host() string {
	for n, v := range in.Headers {
		name, _, _ := strings.Cut(v, ":")
		if strings.EqualFold(n, "Host") && crsHost.MatchString(name) {
			return name
		}
	}
	return "localhost"
}

var crsHost = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]+$`)

// crsResult is what became of a request.
type crsResult struct {
	status          int   // 0: no answer
	rules           []int // that matched
	refusal, detail string
}

// send sends a request. The refusal is that of the gateway, or the one that
// inspection would have given.
func (n *crsNode) send(in *crsInput) (out crsResult) {
	n.logs.TakeAll()
	conf := n.conf.Clone()
	conf.ServerName = in.host()
	c, err := tls.Dial("tcp", n.https, conf)
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	raw := in.raw()
	c.Write(raw)
	if _, body, _ := bytes.Cut(raw, []byte("\r\n\r\n")); in.Headers["Content-Length"] > fmt.Sprint(len(body)) {
		c.CloseWrite() // more was announced than comes
	}
	method, _, _ := bytes.Cut(raw, []byte(" "))
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: string(method)})
	if e, ok := err.(net.Error); ok && e.Timeout() {
		n.t.Errorf("no answer to %q", raw)
	}
	if err == nil {
		var problem struct{ Reason string }
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Close { // the response has been looked at once the connection ends
			io.Copy(io.Discard, c)
		}
		if out.status = resp.StatusCode; out.status >= 400 {
			json.Unmarshal(b, &problem)
			if out.refusal = problem.Reason; problem.Reason == "" && in.Headers["Accept"] != "application/json" {
				again := *in // a page does not say the reason
				again.Headers = maps.Clone(in.Headers)
				again.Headers["Accept"] = "application/json"
				out.refusal = n.send(&again).refusal
			}
		}
	}
	answers := n.logs.FilterMessage("inspected response").All()
	for _, e := range n.logs.FilterMessage("inspected").TakeAll() {
		m := e.ContextMap()
		for _, id := range m["vazel.inspection.rules"].([]any) {
			out.rules = append(out.rules, int(id.(int)))
		}
		if m["vazel.inspection.score"].(int64) >= 5 {
			out.rules = append(out.rules, 949110) // the score is the policy's to judge
		}
		if err, _ := m["error"].(string); err != "" {
			out.refusal, out.detail, _ = strings.Cut(err, ": ")
		}
	}
	for _, e := range answers {
		m := e.ContextMap()
		for _, id := range m["vazel.inspection.rules"].([]any) {
			out.rules = append(out.rules, int(id.(int)))
		}
		if m["vazel.inspection.score"].(int64) >= 4 {
			out.rules = append(out.rules, 959100)
		}
	}
	return out
}

// crsTest is one test of the suite: its last stage, which the others lead up to.
type crsTest struct {
	name string
	rule int
	in   []crsInput
	out  crsOutput
}

func crsSuite(t *testing.T) (out []crsTest) {
	t.Helper()
	files, err := fs.Glob(crstests.FS, "*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := fs.ReadFile(crstests.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		var f crsFile
		if err := yaml.Unmarshal(b, &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, one := range f.Tests {
			c := crsTest{name: fmt.Sprintf("%s-%d", strings.TrimSuffix(path.Base(name), ".yaml"), one.ID), rule: f.Rule}
			for _, s := range one.Stages {
				c.in, c.out = append(c.in, s.Input), s.Output
			}
			out = append(out, c)
		}
	}
	if len(out) < 4600 {
		t.Fatalf("only %d tests", len(out))
	}
	return out
}

// verdict is "", or how an answer differs from what a test expects.
func (c *crsTest) verdict(rules []int) string {
	for _, id := range c.out.Log.Expect {
		if !slices.Contains(rules, id) {
			return fmt.Sprintf("rule %d does not match, but %v", id, rules)
		}
	}
	for _, id := range c.out.Log.Not {
		if slices.Contains(rules, id) {
			return fmt.Sprintf("rule %d matches", id)
		}
	}
	if c.out.Log.Match != "" && !slices.Contains(rules, c.rule) {
		return fmt.Sprintf("rule %d does not match, but %v", c.rule, rules)
	}
	if c.out.Log.NoMatch != "" && slices.Contains(rules, c.rule) {
		return fmt.Sprintf("rule %d matches", c.rule)
	}
	return ""
}

// TestCRS sends the Core Rule Set's regression tests through a gateway. A test
// either has the result that it expects, or stands in testdata/crs-deviations.txt
// with the reason: that of a stricter refusal, or a word that is explained there.
// With the screen, which is on by default, the same rules match as without.
func TestCRS(t *testing.T) {
	if http1Server() != "strict" {
		return // the list has the refusals of the strict server
	}
	suite := crsSuite(t)
	listed := crsDeviations(t)
	const shards = 2
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			n, alone := newCRSNode(t, suite, 4, ""), newCRSNode(t, suite, 4, ", screen: \"off\"")
			low, lowAlone := newCRSNode(t, suite, 1+shard, ""), newCRSNode(t, suite, 1+shard, ", screen: \"off\"")
			step := shards
			if underRace || fips140.Enabled() { // the same, slower
				step *= 40
			}
			for i := shard; i < len(suite); i += step {
				c := &suite[i]
				var got crsResult
				for _, in := range c.in {
					got = n.send(&in)
					if plain := alone.send(&in); !slices.Equal(got.rules, plain.rules) {
						t.Errorf("%s: %v with the screen, %v without", c.name, got.rules, plain.rules)
					}
					if with, plain := low.send(&in), lowAlone.send(&in); !slices.Equal(with.rules, plain.rules) {
						t.Errorf("%s at paranoia %d: %v with the screen, %v without", c.name, 1+shard, with.rules, plain.rules)
					}
				}
				want, deviates := listed[c.name]
				v := c.verdict(got.rules)
				switch {
				case v == "" && deviates:
					t.Errorf("%s is as expected, but listed as %s", c.name, want)
				case v != "" && got.refusal != "" && want != got.refusal, v != "" && !deviates:
					t.Errorf("%s: %s; status %d %s (%s)", c.name, v, got.status, got.refusal, got.detail)
				}
			}
		})
	}
}

// crsDeviations reads the list: a test and a word on each line.
func crsDeviations(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/crs-deviations.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) == 2 && words[0] != "#" {
			out[words[0]] = words[1]
		}
	}
	return out
}
