package waf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3"
)

// Ids of an operator's own rules, as the Core Rule Set leaves them.
const (
	MinCustom = 1
	MaxCustom = 99_999
)

func customRule(id int) bool { return id >= MinCustom && id <= MaxCustom }

// RuleError is a mistake in a file of rules.
type RuleError struct {
	Line int
	Text string
}

// allowedDirectives are those of SecLang that an operator's file may hold: rules
// and changes of rules. What would change how bodies are read, write files or run
// programs is the gateway's.
var allowedDirectives = map[string]bool{
	"secrule": true, "secaction": true, "secmarker": true, "secruleremovebyid": true, "secruleremovebytag": true, "secruleremovebymsg": true,
	"secruleupdatetargetbyid": true, "secruleupdatetargetbytag": true, "secruleupdateactionbyid": true,
}

var (
	ruleID     = regexp.MustCompile(`(?:^|[",\s])id:\s*'?(\d+)`)
	ruleChain  = regexp.MustCompile(`(?:^|[",\s])chain(?:["',\s]|$)`)
	disruptive = regexp.MustCompile(`(?:^|[",\s])(?:deny|drop|block)(?:["',\s]|$)`)
	forbidden  = regexp.MustCompile(`(?i)(?:^|[",\s])(exec|redirect|proxy|setenv|ctl:(?:requestBody|responseBody|auditEngine|auditLog|debugLog|forceRe)\w*)\b`)
	fileAccess = regexp.MustCompile(`(?i)@(pmFromFile|pmf|ipMatchFromFile|ipMatchF|inspectFile|rbl|geoLookup|validateSchema)\b`)
)

// CheckRules finds the mistakes in SecLang, each with its line.
func CheckRules(text string) []RuleError {
	var out []RuleError
	seen := map[int]int{}
	var chain string // what a chained rule is a part of
	chainLine := 0
	for _, d := range splitDirectives(text) {
		fail := func(format string, args ...any) {
			out = append(out, RuleError{d.line, fmt.Sprintf(format, args...)})
		}
		word, _, _ := strings.Cut(strings.TrimSpace(d.text), " ")
		name := strings.ToLower(word)
		if !allowedDirectives[name] {
			fail("%s is not for files of rules", word)
			continue
		}
		if m := forbidden.FindStringSubmatch(d.text); m != nil {
			fail("the action %s is not for files of rules", m[1])
			continue
		}
		if m := fileAccess.FindStringSubmatch(d.text); m != nil {
			fail("the operator @%s is not for files of rules", m[1])
			continue
		}
		rule := name == "secrule" || name == "secaction"
		if rule && chain == "" {
			m := ruleID.FindStringSubmatch(d.text)
			if m == nil {
				fail("a rule without an id")
				continue
			}
			id, _ := strconv.Atoi(m[1])
			if !customRule(id) {
				fail("the id %s is not between %d and %d", m[1], MinCustom, MaxCustom)
			}
			if line := seen[id]; line != 0 {
				fail("the id %d stands in line %d already", id, line)
			}
			seen[id] = d.line
		}
		if chain == "" {
			chainLine = d.line
		}
		chain += d.text + "\n"
		if rule && ruleChain.MatchString(d.text) {
			continue
		}
		if rule {
			compiling.Lock()
			_, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(chain))
			compiling.Unlock()
			if err != nil {
				fail("%s", plainError(err))
			}
		}
		chain = ""
	}
	if chain != "" {
		out = append(out, RuleError{chainLine, "a chain without its last rule"})
	}
	return out
}

// plainError leaves out what the engine says around an error.
func plainError(err error) string {
	s := strings.TrimPrefix(err.Error(), "invalid WAF config from string: ")
	if rest, ok := strings.CutPrefix(s, "failed to compile the directive \"secrule\": "); ok {
		s = rest
	}
	return s
}

type directive struct {
	line int // of its beginning
	text string
}

// splitDirectives joins lines that go on.
func splitDirectives(text string) (out []directive) {
	open := ""
	start := 0
	line := 0
	for l := range strings.Lines(text) {
		line++
		l = strings.TrimRight(l, "\r\n")
		trimmed := strings.TrimSpace(l)
		if open == "" {
			if trimmed == "" || trimmed[0] == '#' {
				continue
			}
			start = line
		}
		if rest, ok := strings.CutSuffix(trimmed, `\`); ok {
			open += rest + " "
			continue
		}
		out = append(out, directive{start, open + trimmed})
		open = ""
	}
	if open != "" {
		out = append(out, directive{start, open})
	}
	return out
}
