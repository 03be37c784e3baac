package waf

import (
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// catalog is what the Core Rule Set holds, read without compiling it.
type catalog struct {
	ids      map[int]bool
	tags     map[string]bool
	messages map[int]string
	scores   map[int]int
	kinds    map[int]string // of attack
}

var readCatalog = sync.OnceValue(func() catalog {
	c := catalog{ids: map[int]bool{}, tags: map[string]bool{}, messages: map[int]string{}, scores: map[int]int{}, kinds: map[int]string{}}
	tag := regexp.MustCompile(`tag:'([^']+)'`)
	message := regexp.MustCompile(`msg:'([^']+)'`)
	severity := regexp.MustCompile(`severity:'([A-Z]+)'`)
	points := map[string]int{"CRITICAL": 5, "ERROR": 4, "WARNING": 3, "NOTICE": 2}
	for _, file := range ruleFiles() {
		b, err := fs.ReadFile(coreruleset.FS, file)
		if err != nil {
			panic(err) // embedded: a bug
		}
		for _, d := range splitDirectives(string(b)) {
			if m := ruleID.FindStringSubmatch(d.text); m != nil {
				id, _ := strconv.Atoi(m[1])
				c.ids[id] = true
				if m := message.FindStringSubmatch(d.text); m != nil {
					c.messages[id] = m[1]
				}
				if m := severity.FindStringSubmatch(d.text); m != nil {
					c.scores[id] = points[m[1]]
				}
				var tags []string
				for _, m := range tag.FindAllStringSubmatch(d.text, -1) {
					tags = append(tags, m[1])
				}
				c.kinds[id] = category(tags)
			}
			for _, m := range tag.FindAllStringSubmatch(d.text, -1) {
				c.tags[m[1]] = true
			}
		}
	}
	return c
})

// ruleFiles are those of the Core Rule Set that look at requests, in order.
func ruleFiles() []string {
	all, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil {
		panic(err)
	}
	return slices.DeleteFunc(all, func(f string) bool { return strings.Contains(f, "/RESPONSE-") })
}

// KnownRule reports whether the Core Rule Set has a rule.
func KnownRule(id int) bool { return readCatalog().ids[id] }

// KnownTag reports whether a rule of the Core Rule Set has a tag.
func KnownTag(tag string) bool { return readCatalog().tags[tag] }

// Tags are those of the Core Rule Set.
func Tags() []string {
	var out []string
	for t := range readCatalog().tags {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

// RuleIDs are the ids of the rules in a text.
func RuleIDs(text string) (out []int) {
	for _, d := range splitDirectives(text) {
		if m := ruleID.FindStringSubmatch(d.text); m != nil {
			id, _ := strconv.Atoi(m[1])
			out = append(out, id)
		}
	}
	return out
}
