package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakePrometheus answers the report's questions as its HTTP API does.
func fakePrometheus(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, result := r.FormValue("query"), []string(nil)
		add := func(service, profile, operation, more, value string) {
			result = append(result, fmt.Sprintf(`{"metric":{"service":%q,"profile":%q,"operation":%q%s},"value":[1793487600,%q]}`, service, profile, operation, more, value))
		}
		if r.URL.Path != "/api/v1/query" || r.FormValue("time") != "1793484000" { // 2026-11-01 in Sofia
			t.Errorf("%s at %s", r.URL.Path, r.FormValue("time"))
		}
		if !strings.Contains(query, "[2682000s") && !strings.Contains(query, "[365d]") { // October has an hour more
			t.Errorf("query %s", query)
		}
		switch {
		case strings.Contains(query, "vazel_slo_objective"):
			for _, o := range [][2]string{{"first_byte_seconds", "5"}, {"share", "0.9"}, {"availability", "0.99"}, {"capacity", "20"}, {"min_rate", "500000"}} {
				add("maps", "inspire-view", "map", `,"objective":"`+o[0]+`"`, o[1])
			}
			add("maps", "inspire-view", "other", `,"objective":"availability"`, "0.99")
			add("<b>", "registry", "all", `,"objective":"first_byte_seconds"`, "1")
			add("<b>", "registry", "all", `,"objective":"share"`, "0.95")
			add("<b>", "registry", "all", `,"objective":"availability"`, "0.995")
		case strings.HasPrefix(query, "histogram_quantile(0.9,"):
			add("maps", "inspire-view", "map", "", "1.2345")
			add("<b>", "registry", "all", "", "NaN")
		case strings.HasPrefix(query, "histogram_quantile(0.95,"):
			add("<b>", "registry", "all", "", "0.0871")
		case strings.HasPrefix(query, "histogram_quantile"):
		case strings.Contains(query, "[365d]"):
			add("maps", "inspire-view", "map", "", "0.99123")
		case strings.Contains(query, "vazel_slo_large_response_bytes_total"):
			add("maps", "inspire-view", "map", "", "2500000")
		case strings.HasPrefix(query, "max_over_time"):
			add("maps", "inspire-view", "map", "", "12.5")
		default:
			for result, n := range map[string]string{"ok": "950", "slow": "45", "error": "5", "maintenance": "70"} {
				add("maps", "inspire-view", "map", `,"result":"`+result+`"`, n)
			}
			add("<b>", "registry", "all", `,"result":"ok"`, "90")
			add("<b>", "registry", "all", `,"result":"slow"`, "10")
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(result, ","))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestReport(t *testing.T) {
	t.Parallel()
	s, dir := fakePrometheus(t), t.TempDir()
	var out, errs bytes.Buffer
	if code := run([]string{"report", "qos", "--month", "2026-10", "-prometheus", s.URL, "-out", dir}, &out, &errs); code != 0 {
		t.Fatalf("code %d: %s", code, &errs)
	}
	b, err := os.ReadFile(filepath.Join(dir, "qos-2026-10.json"))
	if err != nil {
		t.Fatal(err)
	}
	var q quality
	if err := json.Unmarshal(b, &q); err != nil {
		t.Fatal(err)
	}
	if len(q.Services) != 3 || !q.Complete {
		t.Fatalf("got %s", b)
	}
	registry, maps, rest := q.Services[0], q.Services[1], q.Services[2]
	if *maps.Kept != true || *maps.Availability != .995 || *maps.InTime != 950.0/995 || maps.Requests != 1000 || maps.Maintenance != 70 || maps.Peak != 12.5 || maps.Promised.Capacity != 20 || maps.FirstByte["p90"] != 1.2345 || *maps.LargeRate != 2.5e6 || *maps.Year != .99123 || maps.Promised.LargeRate != 5e5 || maps.Mean != 1000/2682000. {
		t.Errorf("maps: %+v", maps)
	}
	if *registry.Kept || *registry.InTime != .9 || len(registry.FirstByte) != 1 || registry.FirstByte["p95"] != .0871 || !slices.Equal(registry.Missed, []string{"first_byte"}) {
		t.Errorf("registry: %+v", registry)
	}
	if rest.Kept != nil || rest.Availability != nil {
		t.Errorf("other operations: %+v", rest)
	}
	page, err := os.ReadFile(filepath.Join(dir, "qos-2026-10.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Качество на услугите, 2026-10", "Quality of service", "95.477 %", "99.500 %", "90 % до 1.23 s", "90 % within 1.23 s", "promised 5 s", "95 % до 0.0871 s", "2.5 MB/s", "promised 0.5 MB/s", "at most 12.5", "promised 20", "99.123 % in 365 days", "няма заявки", "&lt;b&gt;", `<span class="good">да</span>`, `<span class="bad">не</span>`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(string(page), "<b>") {
		t.Error("a name became markup")
	}
}

func TestReportSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(422)
		fmt.Fprint(w, `{"status":"error","error":"query processing would load too many samples"}`)
	}))
	defer broken.Close()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"qos", "-month", "2026-13"}, "is no month"},
		{[]string{"qos", "-month", "2999-01"}, "lies in the future"},
		{[]string{"qos", "-month", "2026-10", "-prometheus", "9090"}, "is no URL"},
		{[]string{"qos", "-month", "2026-10", "-zone", "Sofia"}, "-zone"},
		{[]string{"qos", "-month", "2026-10", "-prometheus", broken.URL}, "too many samples"},
		{[]string{"traffic"}, "write qos"},
		{nil, "write qos"},
	} {
		var out, errs bytes.Buffer
		if code := run(append([]string{"report"}, c.args...), &out, &errs); code == 0 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: code %d, %s", c.args, code, &errs)
		}
	}
}

func TestMonthOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 22, 30, 0, 0, time.UTC) // April in Sofia
	from, to, err := monthOf("", "Europe/Sofia", now)
	if err != nil || from.UTC().Format(time.RFC3339) != "2026-02-28T22:00:00Z" || to.UTC().Format(time.RFC3339) != "2026-03-31T21:00:00Z" {
		t.Errorf("from %v to %v, %v", from, to, err)
	}
}
