package config

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/config/unit"
)

// field is one key of a struct.
type field struct {
	name  string
	index []int
	typ   reflect.Type
	owner reflect.Type // the struct that declares it
	field string       // its Go name, for the documentation
}

// fieldsOf lists the keys of a struct, those of inlined structs among them, in
// the order of their declaration. The list must not be changed.
func fieldsOf(t reflect.Type) []field {
	if l, ok := fieldLists[t]; ok {
		return l
	}
	return listFields(t)
}

// fieldLists are those of every struct that a file can hold, made once: to make
// them for each mapping of each file would be a third of what loading costs.
var fieldLists = func() map[reflect.Type][]field {
	lists := map[reflect.Type][]field{}
	var visit func(t reflect.Type)
	visit = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			if lists[t] == nil {
				lists[t] = listFields(t)
				for _, f := range lists[t] {
					visit(f.typ)
				}
			}
		}
	}
	visit(reflect.TypeFor[File]())
	visit(reflect.TypeFor[Policy]())
	return lists
}()

func listFields(t reflect.Type) []field {
	var l []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if strings.Contains(opts, "inline") {
			for _, in := range listFields(f.Type) {
				in.index = append([]int{i}, in.index...)
				l = append(l, in)
			}
			continue
		}
		if name != "" && name != "-" {
			l = append(l, field{name, []int{i}, f.Type, t, f.Name})
		}
	}
	return l
}

var (
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
	listType   = reflect.TypeFor[unit.List]()
	secretType = reflect.TypeFor[unit.Secret]()
	oneOrMany  = reflect.TypeFor[interface{ OneOrMany() }]() // a list of mappings that may be a mapping alone
)

// shortForm is the key of a mapping that a scalar in its place stands for.
func shortForm(t reflect.Type) *field {
	s, ok := reflect.Zero(t).Interface().(interface{ ShortForm() string })
	if !ok {
		return nil
	}
	for _, f := range fieldsOf(t) {
		if f.name == s.ShortForm() {
			return &f
		}
	}
	return nil
}

// decode reads n into v, strictly. where is what n belongs to, for messages:
// `service "x"`.
func (l *loader) decode(n *yaml.Node, v reflect.Value, where string) {
	t := v.Type()
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && t.Kind() != reflect.Map && t.Kind() != reflect.Struct {
		l.problem(n, "a value is missing in %s", where)
		return
	}
	switch {
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		l.decode(n, v.Elem(), where)
	case t == listType:
		l.decodeList(n, v, where)
	case reflect.PointerTo(t).Implements(textType):
		l.decodeText(n, v, where)
	case t.Kind() == reflect.Struct && n.Kind == yaml.ScalarNode && shortForm(t) != nil:
		l.decode(n, v.FieldByIndex(shortForm(t).index), where)
	case t.Kind() == reflect.Struct:
		l.decodeStruct(n, v, where)
	case t.Kind() == reflect.Map:
		l.decodeMap(n, v, where)
	case t.Kind() == reflect.Slice:
		if t.Implements(oneOrMany) && (n.Kind == yaml.MappingNode || n.Kind == yaml.ScalarNode && shortForm(t.Elem()) != nil) {
			v.Set(reflect.MakeSlice(t, 1, 1))
			l.decode(n, v.Index(0), where)
			return
		}
		if n.Kind != yaml.SequenceNode {
			want := "a list, such as [a, b]"
			if t.Implements(oneOrMany) {
				want = "a mapping, such as {key: value}, or a list of them,"
			}
			l.wrongKind(n, want, where)
			return
		}
		v.Set(reflect.MakeSlice(t, len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			l.decode(c, v.Index(i), where)
		}
	default:
		l.decodeScalar(n, v, where)
	}
}

func (l *loader) wrongKind(n *yaml.Node, want, where string) {
	l.problem(n, "%s must be %s and not %s", where, want, kindOf(n))
}

func (l *loader) decodeStruct(n *yaml.Node, v reflect.Value, where string) {
	if n.Kind != yaml.MappingNode {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			l.problem(n, "%s is empty", where)
			return
		}
		l.wrongKind(n, "a mapping, such as {key: value}", where)
		return
	}
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	pairs(n, func(key, value *yaml.Node) {
		for _, f := range fields {
			if f.name == key.Value && maySwitch(f) && f.typ.Kind() == reflect.Pointer && isOff(value) && shortForm(f.typ.Elem()) == nil {
				return
			}
			if f.name == key.Value {
				l.decode(value, v.FieldByIndex(f.index), inside(f.name, where))
				return
			}
		}
		crowded := l.crowded(key)
		p := l.problem(key, "unknown key %q in %s", key.Value, where)
		if crowded {
			return
		}
		if hint := elsewhere(key.Value, v.Type()); hint != "" {
			l.show(p, key, hint)
		} else if s := suggest(key.Value, names); s != "" {
			l.show(p, key, fmt.Sprintf("did you mean %q?", s))
		}
		if maySecret.MatchString(key.Value) {
			l.hide(value)
			p.Snippet = ""
		}
	})
}

// maySecret fits keys that secrets stand under in other products.
var maySecret = regexp.MustCompile(`(?i)pass|secret|token|credential|private|_?key$`)

// elsewhere says where a key belongs that is right, but not here.
func elsewhere(key string, in reflect.Type) string {
	has := func(t reflect.Type) bool {
		return slices.ContainsFunc(fieldsOf(t), func(f field) bool { return f.name == key })
	}
	switch {
	case key == "use" && in == reflect.TypeFor[Policy]():
		return "profiles do not build on each other; a service lists several in its use"
	case key == "use":
		return "\"use\" belongs to the service"
	case in == reflect.TypeFor[RouteEntry]() && has(reflect.TypeFor[ServiceEntry]()):
		return fmt.Sprintf("%q belongs to the service", key)
	case in == reflect.TypeFor[ServiceEntry]() && has(reflect.TypeFor[RouteEntry]()):
		return fmt.Sprintf("%q belongs to a route, under routes", key)
	case in == reflect.TypeFor[File]() && has(reflect.TypeFor[Policy]()):
		return fmt.Sprintf("%q belongs under defaults, or to a profile, service or route", key)
	case in != reflect.TypeFor[File]() && has(reflect.TypeFor[File]()):
		return fmt.Sprintf("%q belongs at the top of the file, without indentation", key)
	}
	return ""
}

// inside names a key of something.
func inside(name, where string) string {
	if where == "the file" {
		return fmt.Sprintf("%q", name)
	}
	if strings.HasPrefix(where, `"`) { // "tls" -> "tls.profile"
		end := strings.IndexByte(where[1:], '"') + 1
		return where[:end] + "." + name + where[end:]
	}
	return fmt.Sprintf("%q of %s", name, where)
}

// singular names an element of a map of the file.
var singular = map[string]string{`"organizations"`: "organization", `"services"`: "service", `"profiles"`: "profile", `"delegate"`: "delegation", `"address_sets"`: "address set"}

func (l *loader) decodeMap(n *yaml.Node, v reflect.Value, where string) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		l.problem(n, "%s is empty", where)
		return
	}
	if n.Kind != yaml.MappingNode {
		l.wrongKind(n, "a mapping, such as {key: value}", where)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	pairs(n, func(key, value *yaml.Node) {
		e := reflect.New(v.Type().Elem()).Elem()
		inner := inside(key.Value, where)
		if s := singular[where]; s != "" {
			inner = fmt.Sprintf("%s %q", s, key.Value)
		}
		l.decode(value, e, inner)
		v.SetMapIndex(reflect.ValueOf(key.Value), e)
	})
}

func (l *loader) decodeList(n *yaml.Node, v reflect.Value, where string) {
	switch n.Kind {
	case yaml.ScalarNode:
		if l.text(n, where) {
			v.Set(reflect.ValueOf(unit.List{n.Value}))
		}
	case yaml.SequenceNode:
		list := make(unit.List, 0, len(n.Content))
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode || c.Tag == "!!null" {
				l.wrongKind(c, "words", where)
				continue
			}
			if !l.text(c, where) {
				continue
			}
			list = append(list, c.Value)
		}
		v.Set(reflect.ValueOf(list))
	default:
		l.wrongKind(n, "a word or a list of words", where)
	}
}

func (l *loader) decodeText(n *yaml.Node, v reflect.Value, where string) {
	if n.Kind != yaml.ScalarNode {
		l.wrongKind(n, "one value", where)
		return
	}
	if v.Type() == secretType {
		if err := v.Addr().Interface().(*unit.Secret).UnmarshalText([]byte(n.Value)); err != nil {
			l.hide(n) // what stands there may be the secret itself
			l.bare(n, "%s: %v", where, err)
		}
		return
	}
	if reference(n.Value) {
		l.problem(n, "%s holds a reference, which only secrets may be", where)
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		l.problem(n, "%s: %v", where, err)
		return
	}
	if _, date := v.Interface().(unit.Date); date && !isQuoted(n) {
		p := l.problem(n, "%s: a date without quotes is read differently by different programs", where)
		l.show(p, n, fmt.Sprintf("write \"%s\"", n.Value))
	}
}

func isQuoted(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// reference reports whether a value looks like a reference to a secret.
func reference(s string) bool { return strings.Contains(s, "${env:") || strings.Contains(s, "${file:") }

// text reports whether a value is text for every program that reads YAML, and
// notes what is wrong otherwise.
func (l *loader) text(n *yaml.Node, where string) bool {
	zero := strings.TrimLeft(n.Value, "+-")
	number := n.Tag == "!!int" || n.Tag == "!!float"
	switch {
	case n.Value == "":
		l.problem(n, "a value is missing in %s", where)
	case reference(n.Value):
		l.problem(n, "%s holds a reference, which only secrets may be", where)
	case !isQuoted(n) && (n.Tag == "!!bool" || n.Tag == "!!null" || n.Tag == "!!timestamp" || number && len(zero) > 1 && zero[0] == '0' && zero[1] != '.'):
		p := l.problem(n, "%s must be text and not %q, which other programs read as something else", where, n.Value)
		l.show(p, n, fmt.Sprintf("write \"%s\" if it is meant so", n.Value))
	default:
		return true
	}
	return false
}

func (l *loader) decodeScalar(n *yaml.Node, v reflect.Value, where string) {
	if n.Kind != yaml.ScalarNode {
		l.wrongKind(n, "one value", where)
		return
	}
	fail := func(want string) {
		l.problem(n, "%s must be %s and not %q", where, want, n.Value)
	}
	quoted := isQuoted(n)
	switch v.Kind() {
	case reflect.String:
		if l.text(n, where) {
			v.SetString(n.Value)
		}
	case reflect.Bool:
		if quoted || n.Value != "true" && n.Value != "false" {
			fail("true or false")
			return
		}
		v.SetBool(n.Value == "true")
	case reflect.Int, reflect.Int64:
		digits := strings.TrimPrefix(n.Value, "-")
		if len(digits) > 1 && digits[0] == '0' && strings.Trim(digits, "0123456789") == "" {
			p := l.problem(n, "%s must be a number without leading zero (YAML 1.1 reads it as octal) and not %q", where, n.Value)
			l.show(p, n, "write "+max(strings.TrimLeft(digits, "0"), "0"))
			return
		}
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err == nil && quoted {
			l.problem(n, "%s must be a number; leave out the quotes", where)
			return
		}
		if err != nil || n.Value[0] == '+' {
			fail("a whole number")
			return
		}
		v.SetInt(i)
	default:
		l.problem(n, "%s can't be set", where)
	}
}
