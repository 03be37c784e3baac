package waf

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// shape recognizes a value by its structure. The texts in it, that may be
// anything, are returned for the rules to look at; what is between them can't be
// an attack and is not looked at. ok false means that the value is something
// else: it is inspected as it is.
type shape func(v string) (texts []string, ok bool)

// pattern is a shape without texts in it.
func pattern(expression string) shape {
	re := regexp.MustCompile("^(?:" + expression + ")$")
	return func(v string) ([]string, bool) { return nil, len(v) <= 4096 && re.MatchString(v) }
}

// first1 is the first shape that a value has.
func first1(shapes ...shape) shape {
	return func(v string) ([]string, bool) {
		for _, s := range shapes {
			if texts, ok := s(v); ok {
				return texts, true
			}
		}
		return nil, false
	}
}

var (
	numbers = pattern(`[ \d.,eE+-]*`)
	// words are names: letters of any script, with what stands between them in
	// lists. There is no sign in it that means something to an interpreter.
	words     = pattern(`[\p{L}\p{N}_.,: +-]*`)
	mediaType = pattern(`[a-z]+/[\w.+-]+(?:; ?\w+=[\w./+-]+)*`)
	crsName   = pattern(`(?i)(?:EPSG|CRS|AUTO2?|OGC|urn:ogc:def:crs:[A-Z]+:[\w.]*)?:?[\w.]*|https?://www\.opengis\.net/(?:def/crs|gml/srs)/[\w/.#]+`)
	box       = pattern(`[-\d.,eE+ ]+(?:,(?:EPSG|CRS|urn:ogc:def:crs:[A-Z]+:[\w.]*):\w+)?`)
	instants  = pattern(`[\dTZPYMDHS:.,/+-]*|current`)
	uuids     = pattern(`\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?`)
	options   = pattern(`(?:[\p{L}\d_]+:[\p{L}\d_. #,-]*;?)*`)
	subset    = pattern(`\w+(?:,[\w:/.]+)?\(["\w.:+*-]+(?:,["\w.:+*-]+)?\)`)
	// mapFile is a path as MapServer gets it, without a way up or to another place.
	mapFile    = pattern(`(?:/[\w-][\w.-]*)*/?[\w-][\w.-]*\.map`)
	namespaces = pattern(`(?:xmlns\((?:[\w-]+[=,])?https?://[\w./-]+\),?)+`)
	sorting    = pattern(`(?i)(?:"[\p{L}\p{N}_ .-]+"|[\p{L}\p{N}_.]+)(?: +(?:asc|desc|A|D))?(?: *, *(?:"[\p{L}\p{N}_ .-]+"|[\p{L}\p{N}_.]+)(?: +(?:asc|desc|A|D))?)*`)
	valueList  = pattern(`[\p{L}\p{N}_.,:| -]*`)
	globbing   = pattern(`(?:\.\*)?[\p{L}\p{N}_ -]*(?:\.\*)?`)
	wildcards  = pattern(`[\\%_*?!#.$ ]?`)
)

// link is an absolute URL without a user or anything but plain signs.
func link(v string) ([]string, bool) {
	if len(v) > 2048 || !linkSigns.MatchString(v) || strings.Contains(v, "/../") {
		return nil, false
	}
	u, err := url.Parse(v)
	return nil, err == nil && u.Host != "" && u.User == nil && linkHost.MatchString(u.Hostname())
}

var (
	linkSigns = regexp.MustCompile(`^https?://[\p{L}\p{N}_.:/?&=%#~+,-]+$`)
	linkHost  = regexp.MustCompile(`^[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}$`) // no address
)

// document is JSON in a value. Its names and texts are the texts.
func document(v string) (texts []string, ok bool) {
	if v == "" || v[0] != '{' && v[0] != '[' || len(v) > 1<<20 {
		return nil, false
	}
	pairs, err := jsonArguments([]byte(v), false)
	if err != nil {
		return nil, false
	}
	for _, a := range pairs {
		for _, t := range []string{strings.TrimPrefix(a.key, "json"), a.value} {
			if _, plain := words(t); !plain {
				texts = append(texts, t)
			}
		}
	}
	return texts, true
}

// lucene is a question to a search engine: words, phrases and fields.
func lucene(v string) (texts []string, ok bool) {
	if len(v) > 4096 || !utf8.ValidString(v) {
		return nil, false
	}
	v = searchLang.ReplaceAllString(v, "lang")
	if !luceneSigns.MatchString(v) || strings.Count(v, `"`)%2 != 0 {
		return nil, false
	}
	for i, part := range strings.Split(v, `"`) {
		if i%2 == 1 {
			texts = append(texts, part)
		}
	}
	return texts, true
}

var (
	searchLang  = regexp.MustCompile(`\\?\$\{searchLang\}`)
	luceneSigns = regexp.MustCompile(`^(?:[\p{L}\p{N}\s_.,:*?~^()\[\]{}"!№„“+-]|&&|\|\|)*$`)
)

var (
	cqlForbidden = set1("select union insert update delete drop exec execute sleep benchmark waitfor into from where having declare")
	cqlFunctions = set1("bbox intersects within contains disjoint crosses touches overlaps equals relate dwithin beyond point linestring polygon multipoint multilinestring multipolygon geometrycollection envelope strtolowercase strtouppercase strlength strtrim strconcat abs ceil floor round datediff isnull")
	cqlBefore    = set1("in and or not like ilike between is")
)

// cql is a filter in the query language of catalogs.
func cql(v string) (texts []string, ok bool) {
	list, ok := tokens(v, ":[]")
	if !ok {
		return nil, false
	}
	depth, compares := 0, false
	for i, t := range list {
		switch t.kind {
		case tokenString:
			texts = append(texts, t.text)
		case tokenName:
			if _, plain := words(t.text); !plain {
				return nil, false
			}
		case tokenWord:
			if cqlForbidden[t.text] {
				return nil, false
			}
			if i+1 < len(list) && list[i+1] == (token{tokenSign, "("}) && !cqlFunctions[t.text] && !cqlBefore[t.text] {
				// Parts of geometries follow each other in parentheses, words don't.
				return nil, false
			}
			compares = compares || cqlBefore[t.text] || cqlFunctions[t.text] || t.text == "include" || t.text == "after" || t.text == "before" || t.text == "during"
		case tokenSign:
			switch t.text {
			case "(":
				depth++
			case ")":
				if depth--; depth < 0 {
					return nil, false
				}
			case "=", "<>", "<", ">", "<=", ">=":
				compares = true
			}
		}
	}
	return texts, depth == 0 && compares
}
