package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Position is a place in a file; Line and Column count from 1.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Problem is one error or warning, with where it is and what to do.
type Problem struct {
	Position
	Warning    bool
	Message    string
	Snippet    string // the line
	Width      int    // characters to underline
	Suggestion string // what to write instead
	other      string // the other file of a conflict between two
}

// MarshalJSON is the problem for programs.
func (p Problem) MarshalJSON() ([]byte, error) {
	severity := "error"
	if p.Warning {
		severity = "warning"
	}
	return json.Marshal(struct {
		Position
		Severity   string `json:"severity"`
		Message    string `json:"message"`
		Suggestion string `json:"suggestion,omitempty"`
		Snippet    string `json:"snippet,omitempty"`
		Width      int    `json:"width,omitempty"`
	}{p.Position, severity, p.Message, p.advice(), p.Snippet, p.Width})
}

// advice is the suggestion, which stands in the message itself where no line is
// shown.
func (p Problem) advice() string {
	if p.Suggestion != "" {
		return p.Suggestion
	}
	for _, sign := range []string{"; did you mean ", "; write ", "; leave it out"} {
		if i := strings.Index(p.Message, sign); i >= 0 {
			return p.Message[i+2:]
		}
	}
	return ""
}

// String is the problem as vazel check prints it.
func (p Problem) String() string {
	kind := "error"
	if p.Warning {
		kind = "warning"
	}
	var b strings.Builder
	switch {
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: %s: %s", visible(p.File), p.Line, p.Column, kind, visible(p.Message))
	case p.File != "":
		fmt.Fprintf(&b, "%s: %s: %s", visible(p.File), kind, visible(p.Message))
	default:
		fmt.Fprintf(&b, "%s: %s", kind, visible(p.Message))
	}
	if p.Snippet == "" {
		return b.String()
	}
	line, at, width := window([]rune(visible(p.Snippet)), p.Column-1, max(1, p.Width))
	fmt.Fprintf(&b, "\n%5d | %s\n      | ", p.Line, string(line))
	for _, r := range line[:at] {
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	b.WriteString(strings.Repeat("^", width))
	if p.Suggestion != "" {
		b.WriteString(" " + visible(p.Suggestion))
	}
	return b.String()
}

// window is the part of a long line around what is underlined, at runes from
// its start.
func window(line []rune, at, width int) ([]rune, int, int) {
	const most, before = 160, 60
	at = max(0, min(at, len(line)))
	if len(line) > most {
		from := max(0, at-before)
		to := min(len(line), from+most)
		part := slices.Clone(line[from:to])
		if from > 0 {
			part[0] = '…'
		}
		if to < len(line) {
			part[len(part)-1] = '…'
		}
		line, at = part, at-from
	}
	return line, at, max(1, min(width, len(line)-at))
}

// visible replaces what a terminal would act on or not show: a report repeats
// what others wrote.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r)) {
			return '\ufffd'
		}
		return r
	}, s)
}

// Errors is every mistake that was found, and the warnings beside them.
type Errors struct {
	Problems []Problem
	Files    int    // read in all
	Read     *Files // which these are, and what else they refer to

	raw map[string][]byte // what each file held
}

func (e *Errors) sort() {
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	e.Problems = slices.CompactFunc(e.Problems, func(a, b Problem) bool { return a == b })
}

func (e *Errors) count() (errs, warnings, badFiles int) {
	files := map[string]bool{}
	for _, p := range e.Problems {
		if p.Warning {
			warnings++
			continue
		}
		errs++
		if p.File != "" {
			files[p.File] = true
		}
	}
	return errs, warnings, len(files)
}

// Error is the whole report.
func (e *Errors) Error() string {
	var b strings.Builder
	for _, p := range e.Problems {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	errs, warnings, bad := e.count()
	if errs == 0 {
		fmt.Fprintf(&b, "%s", plural(warnings, "warning"))
		return b.String()
	}
	b.WriteString(plural(errs, "error"))
	if warnings > 0 {
		b.WriteString(" and " + plural(warnings, "warning"))
	}
	if e.Files > 0 && bad > 0 {
		fmt.Fprintf(&b, " in %d of %s", bad, plural(e.Files, "file"))
		if rest := e.Files - bad; rest > 0 {
			fmt.Fprintf(&b, "; the other %s valid", map[bool]string{true: "one is", false: fmt.Sprintf("%d are", rest)}[rest == 1])
		}
	}
	return b.String()
}

// JSON is the report for programs.
func (e *Errors) JSON() []byte {
	errs, warnings, _ := e.count()
	problems := e.Problems
	if problems == nil {
		problems = []Problem{}
	}
	b, err := json.MarshalIndent(map[string]any{"valid": errs == 0, "errors": errs, "warnings": warnings, "files": e.Files, "problems": problems}, "", "  ")
	if err != nil {
		return []byte(`{"valid":false}`)
	}
	return append(b, '\n')
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// suggest is the candidate that was probably meant, or "".
func suggest(word string, candidates []string) string {
	if c := knownMistakes[word]; c != "" && slices.Contains(candidates, c) {
		return c
	}
	best, at := "", 1+len(word)/3
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d <= at && d < max(len(word), 2) {
			if d < at || best == "" || d == at && c < best {
				best, at = c, d
			}
		}
	}
	return best
}

// knownMistakes are words of other languages and products.
var knownMistakes = map[string]string{
	"organisations": "organizations", "organisation": "organizations", "orgs": "organizations", "backends": "upstreams", "backend": "upstreams", "upstream": "upstreams",
	"host": "hosts", "hostname": "hosts", "server_name": "hosts", "domains": "hosts", "path": "paths", "location": "paths", "ratelimit": "rate_limit", "limit": "rate_limit",
	"profile": "use", "listeners": "listen", "client_max_body_size": "max_body", "body_limit": "max_body", "health_check": "health", "healthcheck": "health",
	"certificate": "cert", "private_key": "key", "tls_ca": "ca", "client_ca": "ca", "required": "mtls", "log": "access_log", "retry": "retries", "allowed": "allow",
}

// distance counts edits (insert, delete, replace, swap of neighbors).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}
