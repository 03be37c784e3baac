package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Format spells a configuration file the usual way: two spaces for each level,
// lists below their key too, one space after a colon and a comma, no more than
// one empty line. Words, quotes, comments, order and meaning stay as they are;
// comments keep their column. name is how errors call the file.
func Format(name string, src []byte) ([]byte, error) {
	l := &loader{file: map[*yaml.Node]*source{}}
	s := &source{path: name, valid: true}
	l.sources = append(l.sources, s)
	l.parse(s, src)
	if err := l.finish(); err != nil {
		return nil, err
	}
	if s.root == nil {
		return src, nil
	}
	f := &formatter{lines: make([][]rune, len(s.lines)), specs: map[int]*lineSpec{}}
	for i, line := range s.lines {
		f.lines[i] = []rune(line)
	}
	f.block(s.root, 0)
	out := f.write()
	if !same(src, out) {
		return nil, fmt.Errorf("%s: formatting would change the meaning of the file; it is left as it is", name)
	}
	return out, nil
}

// same reports whether two files mean the same and say the same beside it.
func same(a, b []byte) bool {
	var before, after any
	if yaml.Unmarshal(a, &before) != nil || yaml.Unmarshal(b, &after) != nil || !reflect.DeepEqual(before, after) {
		return false
	}
	return bytes.Count(a, []byte("#")) == bytes.Count(b, []byte("#"))
}

// formatter lays lines out anew.
type formatter struct {
	lines [][]rune
	specs map[int]*lineSpec // by line, from 1
}

// lineSpec is what begins in one line.
type lineSpec struct {
	indent, dashes int
	key, value     *yaml.Node
}

func (f *formatter) spec(line, indent int) *lineSpec {
	if f.specs[line] == nil {
		f.specs[line] = &lineSpec{indent: indent}
	}
	return f.specs[line]
}

// block plans the lines of a mapping or list that is written in lines of its own.
func (f *formatter) block(n *yaml.Node, indent int) {
	if !inLines(n) {
		return
	}
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			line := f.dashOf(c.Line, n.Column)
			s := f.spec(line, indent)
			s.dashes++
			switch {
			case inLines(c):
				f.block(c, indent+2)
			case line == c.Line:
				s.value = c
			}
		}
		return
	}
	pairs(n, func(k, v *yaml.Node) {
		s := f.spec(k.Line, indent)
		s.key = k
		switch {
		case inLines(v):
			f.block(v, indent+2)
		case v.Line == k.Line:
			s.value = v
		}
	})
}

func inLines(n *yaml.Node) bool {
	return (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0
}

// dashOf is the line of the dash before an item, which may stand alone.
func (f *formatter) dashOf(line, column int) int {
	for i := line; i >= 1 && i <= len(f.lines); i-- {
		if l := f.lines[i-1]; column-1 < len(l) && l[column-1] == '-' && (i == line || strings.TrimSpace(string(l[column:])) == "") {
			return i
		}
	}
	return line
}

func (f *formatter) write() []byte {
	var out []string
	delta, empty := 0, false
	raw := false // inside a value of several lines
	for i, line := range f.lines {
		text := strings.TrimRight(string(line), " \t")
		s := f.specs[i+1]
		switch {
		case s != nil:
			delta = s.indent - indentOf(line)
			text, raw = f.line(line, s, delta)
		case raw:
			text = shift(string(line), delta)
		case text == "":
			if empty || len(out) == 0 {
				continue
			}
		case strings.HasPrefix(strings.TrimSpace(text), "#"):
			text = shift(text, f.commentDelta(i, delta))
		default:
			text = shift(text, delta)
		}
		empty = text == "" && !raw
		out = append(out, text)
	}
	for len(out) > 0 && out[len(out)-1] == "" && !raw {
		out = out[:len(out)-1]
	}
	return []byte(strings.TrimSuffix(strings.Join(out, "\n"), "\n") + "\n")
}

// commentDelta moves a line with only a comment along with what follows, if it
// stands as far in, else with what is before it.
func (f *formatter) commentDelta(at, delta int) int {
	for i := at + 1; i < len(f.lines); i++ {
		if s := f.specs[i+1]; s != nil {
			if indentOf(f.lines[i]) == indentOf(f.lines[at]) {
				return s.indent - indentOf(f.lines[i])
			}
			break
		}
	}
	return delta
}

func indentOf(line []rune) (n int) {
	for n < len(line) && line[n] == ' ' {
		n++
	}
	return n
}

func shift(line string, by int) string {
	if by > 0 && strings.TrimSpace(line) != "" {
		return strings.Repeat(" ", by) + line
	}
	for ; by < 0 && strings.HasPrefix(line, " "); by++ {
		line = line[1:]
	}
	return line
}

// line lays out one line, and reports whether its value goes on in the next.
func (f *formatter) line(line []rune, s *lineSpec, delta int) (text string, goesOn bool) {
	fallback := strings.TrimRight(shift(string(line), delta), " \t")
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", s.indent))
	at := indentOf(line)
	for range s.dashes {
		if at >= len(line) || line[at] != '-' {
			return fallback, true
		}
		b.WriteString("- ")
		for at++; at < len(line) && line[at] == ' '; at++ {
		}
	}
	if s.key != nil {
		end := scalarEnd(line, s.key)
		if at != s.key.Column-1 || end < 0 {
			return fallback, true
		}
		b.WriteString(string(line[at:end]))
		for at = end; at < len(line) && line[at] == ' '; at++ {
		}
		if at >= len(line) || line[at] != ':' {
			return fallback, true
		}
		at++
		b.WriteByte(':')
	}
	if v := s.value; v != nil && (v.Value != "" || v.Kind != yaml.ScalarNode || isQuoted(v)) {
		value, end := f.value(line, v)
		if end < 0 {
			return fallback, true
		}
		if s.key != nil {
			b.WriteByte(' ')
		}
		b.WriteString(value)
		at = end
	}
	rest := strings.TrimSpace(string(line[at:]))
	text = strings.TrimRight(b.String(), " ")
	if rest == "" {
		return text, false
	}
	if rest[0] != '#' {
		return fallback, true
	}
	column := len(line) - len([]rune(strings.TrimLeft(string(line[at:]), " \t")))
	gap := 1
	if column > at+1 {
		gap = max(1, column+delta-len([]rune(text)))
	}
	return text + strings.Repeat(" ", gap) + rest, false
}

// scalarEnd is where a scalar that begins in the line ends; -1 if that is not in
// this line.
func scalarEnd(line []rune, n *yaml.Node) int {
	from := n.Column - 1
	if from < 0 || from >= len(line) || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return -1
	}
	if isQuoted(n) {
		end := from + quotedWidth(line, from)
		if last := line[end-1]; end-1 == from || last != line[from] {
			return -1
		}
		return end
	}
	end := from + len([]rune(n.Value))
	if end > len(line) || string(line[from:end]) != n.Value {
		return -1
	}
	return end
}

// value spells a value that begins and ends in one line, and says where it ends;
// -1 if it does not.
func (f *formatter) value(line []rune, n *yaml.Node) (string, int) {
	if n.Kind == yaml.ScalarNode {
		end := scalarEnd(line, n)
		if end < 0 {
			return "", -1
		}
		return string(line[n.Column-1 : end]), end
	}
	var parts []string
	last := n.Column
	add := func(n *yaml.Node) string {
		if n.Kind == yaml.ScalarNode && n.Value == "" && !isQuoted(n) {
			return ""
		}
		text, end := "", -1
		if len(f.lines) >= n.Line && sameLine(f.lines[n.Line-1], line) {
			if n.Kind == yaml.ScalarNode {
				if end = scalarEnd(line, n); end >= 0 {
					text = string(line[n.Column-1 : end])
				}
			} else {
				text, end = f.value(line, n)
			}
		}
		if end < 0 {
			last = -1
		}
		if last >= 0 {
			last = end
		}
		return text
	}
	open, closing := "[", ']'
	if n.Kind == yaml.MappingNode {
		open, closing = "{", '}'
		pairs(n, func(k, v *yaml.Node) {
			key := add(k)
			parts = append(parts, strings.TrimRight(key+": "+add(v), " "))
		})
	} else {
		for _, c := range n.Content {
			parts = append(parts, add(c))
		}
	}
	if last < 0 {
		return "", -1
	}
	for last < len(line) && (line[last] == ' ' || line[last] == ',' || line[last] == ':' && n.Kind == yaml.MappingNode) {
		last++
	}
	if last >= len(line) || line[last] != closing {
		return "", -1
	}
	return open + strings.Join(parts, ", ") + string(closing), last + 1
}

// sameLine reports whether two lines are one.
func sameLine(a, b []rune) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }
