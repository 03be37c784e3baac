package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Bounds of one file.
const (
	maxNamed = 64 << 20 // certificates, revocation lists, secrets
	maxFile  = 2 << 20
	maxNodes = 200_000
	maxDepth = 32
	maxWrong = 1000 // mistakes that are told
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// source is one file as it was read.
type source struct {
	path  string // as the sysadmin names it: relative to the main file's folder
	raw   []byte
	lines []string
	root  *yaml.Node // the mapping, or nil
	valid bool

	secret map[int]bool // lines that no report may show
	wrong  int          // problems noted
}

// loader reads the files of a node and collects what is wrong.
type loader struct {
	dir     string
	files   *Files
	sources []*source
	file    map[*yaml.Node]*source
	errs    Errors
	lists   int               // address lists with mistakes
	wrong   map[Position]bool // where errors were noted
	quiet   int               // above 0, problems are not noted: what is decoded was checked before
}

// problem notes a mistake at n; n may be nil.
func (l *loader) problem(n *yaml.Node, format string, args ...any) *Problem {
	return l.note(n, false, fmt.Sprintf(format, args...))
}

func (l *loader) warn(n *yaml.Node, format string, args ...any) {
	l.note(n, true, fmt.Sprintf(format, args...))
}

// bare notes a mistake without showing its line: what stands there is right by
// itself, or is a secret.
func (l *loader) bare(n *yaml.Node, format string, args ...any) *Problem {
	p := l.problem(n, format, args...)
	p.Snippet, p.Width = "", 0
	return p
}

// note keeps a problem, with its line, and returns it for details.
func (l *loader) note(n *yaml.Node, warning bool, message string) *Problem {
	p := Problem{Message: message, Warning: warning}
	if n != nil {
		if s := l.file[n]; s != nil {
			p.Position = Position{s.path, n.Line, n.Column}
			s.valid = s.valid && warning
			l.show(&p, n, "")
		}
	}
	if l.quiet > 0 {
		return &p
	}
	if s := l.file[n]; s != nil && l.crowded(n) {
		if s.wrong++; s.wrong == maxWrong+1 {
			l.errs.Problems = append(l.errs.Problems, Problem{Position: Position{File: s.path}, Message: fmt.Sprintf("only the first %d mistakes of the file are told", maxWrong)})
		}
		return &p
	} else if s != nil {
		s.wrong++
	}
	if !warning {
		if l.wrong == nil {
			l.wrong = map[Position]bool{}
		}
		l.wrong[p.Position] = true
	}
	l.errs.Problems = append(l.errs.Problems, p)
	return &l.errs.Problems[len(l.errs.Problems)-1]
}

// crowded reports whether so much is wrong with the file of n that more is not
// told.
func (l *loader) crowded(n *yaml.Node) bool {
	s := l.file[n]
	return s != nil && s.wrong >= maxWrong
}

// noted reports whether an error was noted at n.
func (l *loader) noted(n *yaml.Node) bool {
	if n == nil {
		return false
	}
	s := l.file[n]
	return s != nil && l.wrong[Position{s.path, n.Line, n.Column}]
}

// show adds the line to a problem, underlining n, and what to write instead.
func (l *loader) show(p *Problem, n *yaml.Node, suggestion string) {
	s := l.file[n]
	if s == nil || n.Line < 1 || n.Line > len(s.lines) {
		return
	}
	p.Snippet, p.Suggestion, p.Width = s.lines[n.Line-1], suggestion, 1
	if n.Kind != yaml.ScalarNode || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return
	}
	p.Width = max(1, utf8.RuneCountInString(n.Value))
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		p.Width = quotedWidth([]rune(p.Snippet), n.Column-1)
	}
	p.Width = max(1, min(p.Width, utf8.RuneCountInString(p.Snippet)-n.Column+1))
}

// quotedWidth is the length of the quoted value that begins at, as it is spelled.
func quotedWidth(line []rune, at int) int {
	if at >= len(line) {
		return 1
	}
	quote := line[at]
	for i := at + 1; i < len(line); i++ {
		switch {
		case quote == '"' && line[i] == '\\':
			i++
		case line[i] == quote && quote == '\'' && i+1 < len(line) && line[i+1] == quote:
			i++
		case line[i] == quote:
			return i - at + 1
		}
	}
	return len(line) - at
}

// hide keeps the line of a mistaken secret out of the report, whatever else is
// wrong there.
func (l *loader) hide(n *yaml.Node) {
	s := l.file[n]
	if s == nil {
		return
	}
	if s.secret == nil {
		s.secret = map[int]bool{}
	}
	for i := range 1 + strings.Count(strings.TrimSpace(n.Value), "\n") {
		s.secret[n.Line+i] = true
	}
}

// at is "file:line" of n, for messages that point at a second place.
func (l *loader) at(n *yaml.Node) string {
	if s := l.file[n]; s != nil {
		return fmt.Sprintf("%s:%d", s.path, n.Line)
	}
	return "?"
}

// read parses one file. What can't be read is noted.
func (l *loader) read(path string) *source {
	s := &source{path: l.name(path), valid: true}
	l.sources = append(l.sources, s)
	l.files.note(path)
	b, err := readBounded(path)
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	if err != nil {
		l.fileProblem(s, 0, 0, fmt.Sprintf("%s can't be read: %v", path, err))
		return s
	}
	l.parse(s, b)
	return s
}

// name is how a file is called in messages and metrics: relative to the main
// file's folder if it is in there.
func (l *loader) name(path string) string {
	name, err := filepath.Rel(l.dir, path)
	if err != nil || name == ".." || strings.HasPrefix(name, "../") {
		return path
	}
	return name
}

// readBounded reads a file that the configuration names.
func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unwrapPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > maxNamed {
		return nil, fmt.Errorf("larger than %d MiB", maxNamed>>20)
	}
	b, err := os.ReadFile(path)
	return b, unwrapPath(err)
}

// unwrapPath is err without the path, which the message names itself.
func unwrapPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (l *loader) fileProblem(s *source, line, column int, message string) {
	s.valid = false
	p := Problem{Position: Position{s.path, line, column}, Message: message}
	if line > 0 && line <= len(s.lines) {
		p.Snippet, p.Width = s.lines[line-1], 1
	}
	l.errs.Problems = append(l.errs.Problems, p)
}

// parse makes the node tree of a file and refuses what YAML would take but a
// reader would not expect.
func (l *loader) parse(s *source, b []byte) {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		l.fileProblem(s, 0, 0, "the file is UTF-16; save it as UTF-8")
		return
	}
	b = bytes.TrimPrefix(b, byteOrderMark)
	s.raw = b
	s.lines = strings.Split(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
	if !l.readable(s) {
		return
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // which is a file with nothing but comments
			l.syntaxError(s, err)
		}
		return
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		l.fileProblem(s, max(1, second.Line), max(1, second.Column), "a second YAML document; write one document in each file")
		return
	} else if !errors.Is(err, io.EOF) {
		l.syntaxError(s, err)
		return
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return
	}
	n := 0
	if !l.adopt(s, doc.Content[0], 0, &n) {
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		l.problem(root, "the file must hold keys, such as \"services:\", and not %s", kindOf(root))
		return
	}
	s.root = root
}

// readable reports whether a file is text that people see as programs do, and
// notes where it is not.
func (l *loader) readable(s *source) bool {
	before := len(l.errs.Problems)
	for i, line := range s.lines {
		indent := true
		column := 0
		for at, r := range line {
			column++
			message := ""
			switch {
			case r == utf8.RuneError && !strings.HasPrefix(line[at:], "\ufffd"):
				message = "the file is not UTF-8"
			case r == '\t' && indent && strings.TrimSpace(line) != "":
				message = "a tab indents this line; YAML allows only spaces"
			case r != '\t' && unicode.IsControl(r), r == '\u2028', r == '\u2029':
				message = fmt.Sprintf("the control character U+%04X stands here", r)
			case unicode.Is(unicode.Bidi_Control, r), r == '\ufeff', r == '\u200b':
				message = fmt.Sprintf("the invisible character U+%04X stands here; what is read would not be what is seen", r)
			}
			if message != "" {
				l.fileProblem(s, i+1, column, message)
				break
			}
			indent = indent && r == ' '
		}
	}
	return len(l.errs.Problems) == before
}

func (l *loader) syntaxError(s *source, err error) {
	var le *yaml.LoadError
	line, column, message := 1, 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if errors.As(err, &le) {
		line, column, message = max(1, le.Mark.Line), max(1, le.Mark.Column), le.Message
	}
	// The end of a file is shown at its last line with text.
	for line = min(line, len(s.lines)); line > 1 && strings.TrimSpace(s.lines[line-1]) == ""; {
		line--
		column = utf8.RuneCountInString(strings.TrimRight(s.lines[line-1], " \r")) + 1
	}
	if le != nil {
		if what := strings.TrimPrefix(strings.TrimSpace(le.ContextMsg), "while "); what != "" {
			message += ", " + what
			if begun := le.ContextMark.Line; begun > 0 && begun < line {
				message += fmt.Sprintf(" that begins in line %d", begun)
			}
		}
	}
	l.fileProblem(s, line, column, "not YAML: "+message)
}

// adopt notes which file each node is from, bounds the tree and refuses what
// would make one value mean another.
func (l *loader) adopt(s *source, n *yaml.Node, depth int, count *int) bool {
	l.file[n] = s
	if *count++; *count > maxNodes {
		l.problem(n, "the file has more than %d values", maxNodes)
		return false
	}
	if depth > maxDepth {
		l.problem(n, "the file nests deeper than %d levels", maxDepth)
		return false
	}
	ok := true
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		l.problem(n, "anchors and aliases are not supported; use a profile for what services share")
		ok = false
	case n.Style&yaml.TaggedStyle != 0:
		l.problem(n, "tags such as %s are not supported; write text in quotes and numbers without", n.Tag)
		ok = false
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			l.file[k] = s
			switch {
			case k.Kind != yaml.ScalarNode && k.Kind != yaml.AliasNode:
				l.problem(k, "a key must be a word")
				ok = false
				continue
			case k.Value == "<<" && k.Style == 0:
				l.problem(k, "merge keys are not supported; use a profile for what services share")
				ok = false
				continue
			}
			if first := seen[k.Value]; first != nil {
				l.problem(k, "key %q occurs twice; the first is in line %d", k.Value, first.Line)
			} else {
				seen[k.Value] = k
			}
		}
	}
	for _, c := range n.Content {
		if !l.adopt(s, c, depth+1, count) {
			if *count > maxNodes || depth >= maxDepth {
				return false
			}
			ok = false
		}
	}
	return ok
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}

// get is the key and the value under a name in a mapping; nil if there is none.
func get(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// pairs calls f for each key of a mapping.
func pairs(n *yaml.Node, f func(key, value *yaml.Node)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		f(n.Content[i], n.Content[i+1])
	}
}
