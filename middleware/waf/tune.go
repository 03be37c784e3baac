package waf

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is kept of a log.
const (
	maxLine    = 1 << 20
	maxFlagged = 500_000
)

// Entry is a line of the access log, as far as tuning needs it.
type Entry struct {
	Time         time.Time `json:"@timestamp"`
	Method       string    `json:"http.request.method"`
	Path         string    `json:"url.path"`
	Status       int       `json:"http.response.status_code"`
	Client       string    `json:"client.address"`
	Service      string    `json:"vazel.service"`
	Route        string    `json:"vazel.route"`
	Organization string    `json:"vazel.organization"`
	Mode         string    `json:"vazel.inspection.mode"`
	Score        int       `json:"vazel.inspection.score"`
	Rules        []int     `json:"vazel.inspection.rules"`
	Category     string    `json:"vazel.inspection.category"`
	Outcome      string    `json:"vazel.inspection.outcome"`
	Guard        string    `json:"vazel.inspection.guard"`
	Places       []string  `json:"vazel.inspection.matches"`

	dataset string
	where   []place
}

// place is a rule, and the part of a request in which it matched; "" if the log
// does not say.
type place struct {
	rule int
	part string
}

// caller is who sent a request: an organization, or else a network.
func (e *Entry) caller() string {
	if e.Organization != "" {
		return "organization " + e.Organization
	}
	return e.Client
}

// Tuner reads logs and sums them up.
type Tuner struct {
	// Threshold is the score from which a request counts as one that would have
	// been blocked, where the log does not say so.
	Threshold int

	flagged   []*Entry
	inspected int
	passed    int // with a rule that matched, but below the threshold
	other     int // lines that are no requests under inspection
	dropped   int // flagged requests beyond the bound
	from, to  time.Time
}

// Read reads lines of JSON. Those that are none are an error only if nothing else
// is there.
func (t *Tuner) Read(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	bad, line := 0, 0
	for s.Scan() {
		line++
		if len(strings.TrimSpace(s.Text())) == 0 {
			continue
		}
		var e struct {
			Entry
			Dataset string `json:"event.dataset"`
		}
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			if bad++; bad == line && bad >= 100 {
				return fmt.Errorf("line %d: not a line of an access log in JSON: %w", line, err)
			}
			continue
		}
		e.dataset = e.Dataset
		t.add(&e.Entry)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("line %d: %w", line+1, err)
	}
	if bad == line && bad > 0 {
		return fmt.Errorf("none of %d lines is one of an access log in JSON", bad)
	}
	t.other += bad
	return nil
}

func (t *Tuner) add(e *Entry) {
	if e.Mode == "" || e.dataset == "vazel.security" { // which has the same requests again
		t.other++
		return
	}
	t.inspected++
	if t.from.IsZero() || e.Time.Before(t.from) {
		t.from = e.Time
	}
	if e.Time.After(t.to) {
		t.to = e.Time
	}
	if e.Outcome == "" && e.Guard == "" && (len(e.Rules) == 0 || e.Score < t.threshold()) {
		if len(e.Rules) > 0 {
			t.passed++
		}
		return
	}
	if len(t.flagged) == maxFlagged {
		t.dropped++
		return
	}
	e.where = placesOf(e)
	t.flagged = append(t.flagged, e)
}

func (t *Tuner) threshold() int {
	if t.Threshold > 0 {
		return t.Threshold
	}
	return 5
}

// placesOf are the rules of a request with their places, and those whose place is
// not known.
func placesOf(e *Entry) (out []place) {
	seen := map[int]bool{}
	for _, p := range e.Places {
		id, part, _ := strings.Cut(p, " ")
		rule, err := strconv.Atoi(id)
		if err != nil {
			continue
		}
		seen[rule] = true
		out = append(out, place{rule, generalize(part)})
	}
	for _, rule := range e.Rules {
		if !seen[rule] {
			out = append(out, place{rule, ""})
		}
	}
	return out
}

// generalize takes the numbers out of a name in a list of JSON, and what was
// decoded: they are the same parameter to an exclusion.
func generalize(part string) string {
	if i := strings.Index(part, " ("); i > 0 {
		part = part[:i]
	}
	name, key, ok := strings.Cut(part, ":")
	if !ok {
		return part
	}
	words := strings.Split(key, ".")
	for i, w := range words {
		if w != "" && strings.Trim(w, "0123456789") == "" && i > 0 {
			words[i] = "*"
		}
	}
	return name + ":" + strings.Join(words, ".")
}
