package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Bounds of one file.
const (
	maxFile  = 8 << 20
	maxNodes = 500_000
	maxDepth = 32
)

// source is one file as it was read.
type source struct {
	path  string // as the sysadmin names it: relative to the main file's folder
	raw   []byte
	lines []string
	root  *yaml.Node // the mapping, or nil
	valid bool
}

// loader reads the files of a node and collects what is wrong.
type loader struct {
	dir     string
	files   *Files
	sources []*source
	file    map[*yaml.Node]*source
	errs    Errors
	quiet   int // above 0, problems are not noted: what is decoded was checked before
}

// problem notes a mistake at n; n may be nil.
func (l *loader) problem(n *yaml.Node, format string, args ...any) *Problem {
	return l.note(n, false, fmt.Sprintf(format, args...))
}

func (l *loader) warn(n *yaml.Node, format string, args ...any) {
	l.note(n, true, fmt.Sprintf(format, args...))
}

// note keeps a problem and returns it for details; secrets never show, since
// the caller leaves out the snippet.
func (l *loader) note(n *yaml.Node, warning bool, message string) *Problem {
	p := Problem{Message: message, Warning: warning}
	if n != nil {
		if s := l.file[n]; s != nil {
			p.Position = Position{s.path, n.Line, n.Column}
			s.valid = s.valid && warning
		}
	}
	if l.quiet > 0 {
		return &p
	}
	l.errs.Problems = append(l.errs.Problems, p)
	return &l.errs.Problems[len(l.errs.Problems)-1]
}

// show adds the line to the problem that was noted last, underlining n.
func (l *loader) show(p *Problem, n *yaml.Node, suggestion string) {
	s := l.file[n]
	if s == nil || n.Line < 1 || n.Line > len(s.lines) {
		return
	}
	p.Snippet, p.Suggestion, p.Width = s.lines[n.Line-1], suggestion, utf8.RuneCountInString(n.Value)
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		p.Width += 2
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
	name, err := filepath.Rel(l.dir, path)
	if err != nil || strings.HasPrefix(name, "..") {
		name = path
	}
	s := &source{path: name, valid: true}
	l.sources = append(l.sources, s)
	l.files.note(path)
	b, err := readBounded(path)
	if err != nil {
		l.fileProblem(s, 0, 0, err.Error())
		return s
	}
	l.parse(s, b)
	return s
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	return os.ReadFile(path)
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
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	s.raw = b
	s.lines = strings.Split(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
	if !utf8.Valid(b) {
		for i, line := range s.lines {
			if !utf8.ValidString(line) {
				s.lines = nil
				l.fileProblem(s, i+1, 1, "the file is not UTF-8")
				return
			}
		}
	}
	tabs := false
	for i, line := range s.lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if j := strings.IndexByte(indent, '\t'); j >= 0 && strings.TrimSpace(line) != "" {
			l.fileProblem(s, i+1, j+1, "a tab indents this line; YAML allows only spaces")
			tabs = true
		}
	}
	if tabs {
		return
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		if strings.Contains(err.Error(), "EOF") && len(bytes.TrimSpace(stripComments(s.lines))) == 0 {
			return // nothing but comments
		}
		l.syntaxError(s, err)
		return
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		l.fileProblem(s, max(1, second.Line), max(1, second.Column), "a second YAML document; write one document in each file")
		return
	} else if !strings.Contains(err.Error(), "EOF") {
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

func stripComments(lines []string) []byte {
	var b []byte
	for _, line := range lines {
		if t := strings.TrimSpace(line); !strings.HasPrefix(t, "#") && t != "---" {
			b = append(b, t...)
		}
	}
	return b
}

func (l *loader) syntaxError(s *source, err error) {
	var le *yaml.LoadError
	line, column, message := 1, 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if errors.As(err, &le) {
		line, column, message = max(1, le.Mark.Line), max(1, le.Mark.Column), le.Message
		if le.ContextMsg != "" {
			message = strings.TrimSpace(le.ContextMsg) + ": " + message
		}
	}
	line = min(line, max(1, len(s.lines)))
	l.fileProblem(s, line, column, "not YAML: "+message)
}

// adopt notes which file each node is from and bounds the tree.
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
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		l.problem(n, "anchors and aliases are not supported; use a profile for what services share")
		return false
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			l.file[k] = s
			if k.Kind != yaml.ScalarNode {
				l.problem(k, "a key must be a word")
				return false
			}
			if k.Value == "<<" && k.Style == 0 {
				l.problem(k, "merge keys are not supported; use a profile for what services share")
				return false
			}
			if first := seen[k.Value]; first != nil {
				p := l.problem(k, "key %q occurs twice; the first is in line %d", k.Value, first.Line)
				l.show(p, k, "")
			}
			seen[k.Value] = k
		}
	}
	for _, c := range n.Content {
		if !l.adopt(s, c, depth+1, count) {
			return false
		}
	}
	return true
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
