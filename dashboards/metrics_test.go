package dashboards

import (
	"encoding/json"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway"
)

// descriptors is a registry that only notes what could be in it.
type descriptors struct {
	*prometheus.Registry
	labels map[string][]string // by name
}

var descriptor = regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

func (d *descriptors) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc)
	go func() { c.Describe(ch); close(ch) }()
	for desc := range ch {
		m := descriptor.FindStringSubmatch(desc.String())
		labels := strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })
		for _, l := range strings.Split(m[2], ",") {
			if name, _, ok := strings.Cut(l, "="); ok {
				labels = append(labels, name)
			}
		}
		d.labels[m[1]] = labels
	}
	return d.Registry.Register(c)
}

func (d *descriptors) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := d.Register(c); err != nil {
			panic(err)
		}
	}
}

// metrics are those of a gateway: the names, and the labels of each.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	d := &descriptors{prometheus.NewRegistry(), map[string][]string{}}
	d.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.MetricsGC)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if _, err := gateway.New(gateway.Options{Log: zap.NewNop(), Registerer: d, StateDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if len(d.labels["vazel_http_requests_total"]) != 5 || len(d.labels["vazel_build_info"]) != 4 {
		t.Fatalf("labels could not be read: %v", d.labels)
	}
	return d.labels
}

// A metric with what is asked of it, and the labels of a record rule or of ALERTS
// aside.
var (
	selector = regexp.MustCompile(`\b((?:vazel|go|process)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
)

// TestMetricsExist holds each query of dashboards, alerts and recording rules to
// the metrics that the gateway's registry describes, and to their labels.
func TestMetricsExist(t *testing.T) {
	known := metrics(t)
	names := map[string]bool{}
	check := func(where, query string) {
		for _, m := range selector.FindAllStringSubmatch(query, -1) {
			labels, ok := known[m[1]]
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if base, cut := strings.CutSuffix(m[1], suffix); cut && !ok {
					labels, ok = known[base]
				}
			}
			if !ok {
				t.Errorf("%s: no metric is called %s: %s", where, m[1], query)
			}
			names[m[1]] = true
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, l[1]) && !slices.Contains([]string{"job", "instance", "le"}, l[1]) {
					t.Errorf("%s: %s has no label %s: %s", where, m[1], l[1], query)
				}
			}
		}
	}
	for name, d := range load(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if q.Datasource.Type == "prometheus" {
					check(name+": "+p.Title, q.Expr)
				}
			}
		}
		for _, a := range d.Annotations.List {
			check(name+": annotation", a.Expr)
		}
		for _, v := range d.Templating.List {
			var q struct{ Query string }
			if json.Unmarshal(v.Query, &q) == nil {
				check(name+": variable "+v.Name, q.Query)
			}
		}
	}
	for _, f := range []string{"rules/alerts.yaml", "rules/recording.yaml"} {
		b, err := fs.ReadFile(Files, f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if !strings.Contains(line, "summary:") && !strings.Contains(line, "description:") {
				check(f, line)
			}
		}
	}
	if len(names) < 60 {
		t.Errorf("queries name %d metrics", len(names))
	}
}

// notShown are the metrics without a panel, and why they need none.
var notShown = map[string]string{
	"vazel_cache_entries":                            "the cache is bounded by bytes, which are shown",
	"vazel_certificate_not_before_timestamp_seconds": "only alerts need the share of a certificate's life that is left",
}

// TestEveryMetricIsShown: an operator finds each metric of the gateway's own on a
// dashboard.
func TestEveryMetricIsShown(t *testing.T) {
	var queries strings.Builder
	for _, d := range load(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				queries.WriteString(q.Expr + "\n")
			}
		}
	}
	shown := map[string]bool{}
	for _, m := range selector.FindAllStringSubmatch(queries.String(), -1) {
		shown[m[1]] = true
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			shown[strings.TrimSuffix(m[1], suffix)] = true
		}
	}
	for name := range metrics(t) {
		if why := notShown[name]; strings.HasPrefix(name, "vazel_") && shown[name] == (why != "") {
			t.Errorf("%s: shown = %v, though the reason not to show it is %q", name, shown[name], why)
		}
	}
}

// TestLogFields holds the page that asks Loki to the fields of the access log.
func TestLogFields(t *testing.T) {
	code, err := os.ReadFile("../middleware/lognative.go")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for _, m := range regexp.MustCompile(`\bl\.\w+\("([^"]+)"`).FindAllStringSubmatch(string(code), -1) {
		fields[strings.NewReplacer(".", "_").Replace(m[1])] = true
	}
	used := 0
	for _, p := range load(t)["vazel-investigation"].Panels {
		for _, q := range p.Targets {
			for _, name := range regexp.MustCompile(`\b(?:vazel|event|http|url|client|trace)_\w+`).FindAllString(q.Expr, -1) {
				used++
				if !fields[name] {
					t.Errorf("%s: the log has no field %s", p.Title, name)
				}
			}
		}
		for _, tr := range p.Transformations {
			for name := range tr.Options.RenameByName {
				used++
				if !fields[name] {
					t.Errorf("%s: the log has no field %s", p.Title, name)
				}
			}
		}
	}
	if used < 50 {
		t.Errorf("looked at %d fields", used)
	}
}
