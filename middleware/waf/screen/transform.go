package screen

import (
	"strings"
)

// What is in a value, for telling which transformations leave it as it is.
const (
	hasUpper uint16 = 1 << iota
	hasHigh         // bytes from 0x80 on
	hasPercent
	hasPlus
	hasBackslash
	hasAmpersand
	hasNull
	hasSlash
	hasDot
	hasSpace // ASCII white space
	hasShell // what cmdLine changes beyond the others
	hasComment
	hasOther // anything but letters, digits and _
	always
)

// marks are what each byte sets.
var marks = func() (m [256]uint16) {
	for i := range m {
		b := byte(i)
		switch {
		case b >= 'A' && b <= 'Z':
			m[i] = hasUpper
		case b >= 'a' && b <= 'z', b >= '0' && b <= '9', b == '_':
		case b >= 0x80:
			m[i] = hasHigh | hasOther
		default:
			m[i] = hasOther
		}
	}
	for set, bytes := range map[uint16]string{
		hasPercent: "%", hasPlus: "+", hasBackslash: `\`, hasAmpersand: "&", hasNull: "\x00", hasSlash: "/", hasDot: ".", hasSpace: " \t\n\v\f\r",
		hasShell: "\"'^,;(", hasComment: "-#*<!",
	} {
		for i := range len(bytes) {
			m[bytes[i]] |= set
		}
	}
	return m
}()

func signature(s string) (sig uint16) {
	for i := range len(s) {
		sig |= marks[s[i]]
	}
	return sig
}

// changes says for each transformation what a value must hold to be changed by
// it. What is not listed changes everything.
var changes = map[string]uint16{
	"lowercase": hasUpper | hasHigh, "urldecode": hasPercent | hasPlus, "urldecodeuni": hasPercent | hasPlus,
	"jsdecode": hasBackslash, "cssdecode": hasBackslash, "escapeseqdecode": hasBackslash, "htmlentitydecode": hasAmpersand,
	"utf8tounicode": hasHigh, "removenulls": hasNull, "replacenulls": hasNull, "replacecomments": hasSlash,
	"cmdline": hasUpper | hasBackslash | hasSlash | hasSpace | hasShell, "removewhitespace": hasSpace | hasHigh, "compresswhitespace": hasSpace | hasHigh,
	"normalizepath": hasSlash | hasDot, "normalisepath": hasSlash | hasDot, "normalizepathwin": hasSlash | hasDot | hasBackslash, "normalisepathwin": hasSlash | hasDot | hasBackslash,
	"removecommentschar": hasSlash | hasComment, "removecomments": hasSlash | hasComment,
}

// Transformation is a transformation of the engine.
type Transformation = func(string) (string, error)

// step is a node of the trie of transformations of one collection.
type step struct {
	name     string
	apply    Transformation
	changes  uint16 // what a value must hold to be changed
	rules    bits   // that look at the value after this step
	children []*step
}

// child finds or makes the step that follows by a transformation.
func (s *step) child(name string, rules int, get func(string) (Transformation, error)) (*step, error) {
	name = strings.ToLower(name)
	for _, c := range s.children {
		if c.name == name {
			return c, nil
		}
	}
	apply, err := get(name)
	if err != nil {
		return nil, err
	}
	c := &step{name: name, apply: apply, changes: changes[name], rules: newBits(rules)}
	if c.changes == 0 {
		c.changes = always
	}
	s.children = append(s.children, c)
	return c, nil
}

// bits is a set of rules.
type bits []uint64

func newBits(n int) bits { return make(bits, (n+63)/64) }

func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

func (b bits) add(o bits) {
	for i := range b {
		b[i] |= o[i]
	}
}
