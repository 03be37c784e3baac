package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quality is how services kept what they promise in a month.
type quality struct {
	Month    string           `json:"month"`
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	Complete bool             `json:"complete"` // the month is over
	Made     time.Time        `json:"made"`
	Services []serviceQuality `json:"services"`
}

// serviceQuality is that of one kind of operation of a service.
type serviceQuality struct {
	Service   string `json:"service"`
	Profile   string `json:"profile"`
	Operation string `json:"operation"`

	Requests    float64 `json:"requests"` // that count: those in time, slow ones and failures
	OK          float64 `json:"in_time"`
	Slow        float64 `json:"slow"`
	Errors      float64 `json:"errors"`
	Maintenance float64 `json:"refused_for_maintenance"`

	// FirstByte is within which time responses began, in seconds, by their share: p50, p90, p95, p99 and that of the promise. Absent if no time is promised.
	FirstByte    map[string]float64 `json:"first_byte_seconds,omitempty"`
	InTime       *float64           `json:"share_in_time,omitempty"`         // of those that did not fail; absent without any, or if nothing is promised
	Availability *float64           `json:"availability,omitempty"`          // share of requests that did not fail; absent without any
	Year         *float64           `json:"availability_365_days,omitempty"` // likewise of the year that ends with the month, as far back as Prometheus remembers
	LargeRate    *float64           `json:"large_responses_bytes_per_second,omitempty"`
	Mean         float64            `json:"mean_rate_per_second"`
	Peak         float64            `json:"highest_rate_per_second"`

	Promised struct {
		FirstByte    float64 `json:"first_byte_seconds,omitempty"`
		Share        float64 `json:"share_in_time,omitempty"`
		Availability float64 `json:"availability,omitempty"`
		LargeRate    float64 `json:"large_responses_bytes_per_second,omitempty"`
		Capacity     float64 `json:"rate_per_second,omitempty"`
	} `json:"promised"`
	Kept   *bool    `json:"kept,omitempty"`   // absent without requests
	Missed []string `json:"missed,omitempty"` // first_byte, availability
}

// shareName is the key of a share in FirstByte: p90.
func shareName(share float64) string {
	return "p" + strconv.FormatFloat(math.Round(share*1e6)/1e4, 'f', -1, 64)
}

// AtShare is the time within which the promised share of responses began, or nil.
func (s *serviceQuality) AtShare() *float64 {
	if v, ok := s.FirstByte[shareName(s.Promised.Share)]; ok {
		return &v
	}
	return nil
}

// Misses reports whether a part of the promise was not kept.
func (s *serviceQuality) Misses(part string) bool { return slices.Contains(s.Missed, part) }

// judge says whether what was promised was kept.
func (s *serviceQuality) judge() {
	for _, n := range []*float64{&s.OK, &s.Slow, &s.Errors, &s.Maintenance} {
		*n = math.Round(*n) // Prometheus reckons what came between two scrapes
	}
	s.Requests = s.OK + s.Slow + s.Errors
	if s.Requests == 0 {
		return
	}
	available := (s.OK + s.Slow) / s.Requests
	s.Availability = &available
	if answered := s.OK + s.Slow; answered > 0 && s.Promised.FirstByte > 0 {
		share := s.OK / answered
		s.InTime = &share
		if share < s.Promised.Share {
			s.Missed = append(s.Missed, "first_byte")
		}
	}
	if available < s.Promised.Availability {
		s.Missed = append(s.Missed, "availability")
	}
	kept := len(s.Missed) == 0
	s.Kept = &kept
}

// prometheusAPI asks a Prometheus.
type prometheusAPI struct {
	base   string
	client *http.Client
}

func prometheusAt(server string) (*prometheusAPI, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("-prometheus %q is no URL, such as http://127.0.0.1:9090", server)
	}
	return &prometheusAPI{strings.TrimSuffix(server, "/"), &http.Client{Timeout: 2 * time.Minute}}, nil
}

// promSample is a value with the labels that it has.
type promSample struct {
	labels map[string]string
	value  float64
}

// mostAnswer bounds an answer of Prometheus.
const mostAnswer = 64 << 20

// query asks for an expression at a time.
func (p *prometheusAPI) query(ctx context.Context, expr string, at time.Time) ([]promSample, error) {
	form := url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', -1, 64)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("prometheus: %s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("prometheus: %s: %s", resp.Status, answer.Error)
	}
	l := make([]promSample, 0, len(answer.Data.Result))
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("prometheus: the value %q is no number", text)
		}
		l = append(l, promSample{r.Metric, v})
	}
	return l, nil
}

// quality asks for a month. A month that is not over is reported up to now.
func (p *prometheusAPI) quality(ctx context.Context, from, to, now time.Time) (*quality, error) {
	q := &quality{Month: from.Format("2006-01"), From: from, To: to, Complete: !to.After(now), Made: now.UTC().Truncate(time.Second), Services: []serviceQuality{}}
	at := to
	if !q.Complete {
		at = now
	}
	seconds := max(int64(at.Sub(from)/time.Second), 1)
	window := strconv.FormatInt(seconds, 10) + "s"
	found := map[[3]string]*serviceQuality{}
	of := func(l map[string]string) *serviceQuality {
		key := [3]string{l["service"], l["profile"], l["operation"]}
		if found[key] == nil {
			found[key] = &serviceQuality{Service: key[0], Profile: key[1], Operation: key[2]}
		}
		return found[key]
	}
	for _, expr := range []string{
		"sum by (service, profile, operation, result) (increase(vazel_slo_requests_total[" + window + "]))",
		"max by (service, profile, operation, objective) (last_over_time(vazel_slo_objective[" + window + "]))",
		"max_over_time(sum by (service, profile, operation) (rate(vazel_slo_requests_total[5m]))[" + window + ":5m])",
	} {
		samples, err := p.query(ctx, expr, at)
		if err != nil {
			return nil, err
		}
		for _, v := range samples {
			of(v.labels).put(v)
		}
	}
	shares := map[float64]bool{.5: true, .9: true, .95: true, .99: true}
	for _, s := range found {
		if s.Promised.Share > 0 {
			shares[s.Promised.Share] = true
		}
	}
	for share := range shares {
		samples, err := p.query(ctx, firstByte(share, window), at)
		if err != nil {
			return nil, err
		}
		for _, v := range samples {
			if s := of(v.labels); !math.IsNaN(v.value) {
				if s.FirstByte == nil {
					s.FirstByte = map[string]float64{}
				}
				s.FirstByte[shareName(share)] = v.value
			}
		}
	}
	answered, all := counted("ok|slow", "365d"), counted("ok|slow|error", "365d")
	samples, err := p.query(ctx, "("+answered+" or 0 * "+all+") / ("+all+" > 0)", at)
	if err != nil {
		return nil, err
	}
	for _, v := range samples {
		of(v.labels).Year = &v.value
	}
	samples, err = p.query(ctx, "sum by (service, profile, operation) (increase(vazel_slo_large_response_bytes_total["+window+"])) / (sum by (service, profile, operation) (increase(vazel_slo_large_response_seconds_total["+window+"])) > 0)", at)
	if err != nil {
		return nil, err
	}
	for _, v := range samples {
		of(v.labels).LargeRate = &v.value
	}
	for _, s := range found {
		s.judge()
		s.Mean = s.Requests / float64(seconds)
		q.Services = append(q.Services, *s)
	}
	slices.SortFunc(q.Services, func(a, b serviceQuality) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Operation, b.Operation))
	})
	return q, nil
}

// counted asks for the number of requests with some results.
func counted(results, window string) string {
	return `sum by (service, profile, operation) (increase(vazel_slo_requests_total{result=~"` + results + `"}[` + window + `]))`
}

// firstByte asks for the time within which a share of responses began: of the native
// histogram, or where Prometheus does not keep that, of the buckets.
func firstByte(share float64, window string) string {
	const by = "sum by (service, profile, operation"
	q := strconv.FormatFloat(share, 'f', -1, 64)
	return fmt.Sprintf("histogram_quantile(%s, %s) (increase(vazel_slo_first_byte_seconds[%s]))) or histogram_quantile(%[1]s, %[2]s, le) (increase(vazel_slo_first_byte_seconds_bucket[%[3]s])))", q, by, window)
}

// put notes a value where its labels say that it belongs.
func (s *serviceQuality) put(v promSample) {
	result, counted := v.labels["result"]
	objective, promised := v.labels["objective"]
	switch {
	case counted && result == "ok":
		s.OK += v.value
	case counted && result == "slow":
		s.Slow += v.value
	case counted && result == "error":
		s.Errors += v.value
	case counted && result == "maintenance":
		s.Maintenance += v.value
	case promised && objective == "first_byte_seconds":
		s.Promised.FirstByte = v.value
	case promised && objective == "share":
		s.Promised.Share = v.value
	case promised && objective == "availability":
		s.Promised.Availability = v.value
	case promised && objective == "min_rate":
		s.Promised.LargeRate = v.value
	case promised && objective == "capacity":
		s.Promised.Capacity = v.value
	case !counted && !promised:
		s.Peak = v.value
	}
}
