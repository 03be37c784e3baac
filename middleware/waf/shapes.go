package waf

import (
	"net/url"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// shape recognizes a value by its structure. The texts in it, that may be
// anything, are returned for the rules to look at; what is between them can't be
// an attack and is not looked at. ok false means that the value is something
// else: it is inspected as it is.
type shape func(v string) (texts []string, ok bool)

// pattern is a shape without texts in it.
func pattern(expression string) shape {
	// Classes of all letters are large: only what is used is compiled.
	re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^(?:" + expression + ")$") })
	return func(v string) ([]string, bool) { return nil, len(v) <= 4096 && re().MatchString(v) }
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
	sorted     = pattern(`(?i)(?:"[\p{L}\p{N}_ .-]*"|[\p{L}\p{N}_.]+)(?: +(?:asc|desc|A|D))?(?: *, *(?:"[\p{L}\p{N}_ .-]*"|[\p{L}\p{N}_.]+)(?: +(?:asc|desc|A|D))?)*`)
	lists      = pattern(`(?:\([\p{L}\p{N}_.,:/ -]*\))+`)
	steps      = pattern(`[\p{L}\p{N}_.:/@*()=\[\], -]*`)
	// wkt is a geometry as text.
	wkt       = pattern(`(?i)\s*(?:SRID=\d+;)?(?:(?:MULTI)?(?:POINT|LINESTRING|POLYGON)|GEOMETRYCOLLECTION)(?: Z| M| ZM)?[\s\d.,()eE+-]*`)
	weighted  = pattern(`(?:[\w.]+(?:\^[\d.]+)? *)+`)
	uuidList  = pattern(`\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?(?:,\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?)*`)
	prefix    = pattern(`https?://[\w.:-]+(?:/[\w.{}-]+)*/?`)
	valueList = pattern(`[\p{L}\p{N}_.,:| -]*`)
	globbing  = pattern(`(?:\.\*)?[\p{L}\p{N}_ -]*(?:\.\*)?`)
	wildcards = pattern(`[\\%_*?!#.$ ]?`)
)

// link is an absolute URL without a user, to a host that has a name. What it has
// encoded, and the values of its query, are the texts.
func link(v string) (texts []string, ok bool) {
	if len(v) > 2048 || !linkSigns.MatchString(v) || strings.Contains(v, "/../") {
		return nil, false
	}
	u, err := url.Parse(v)
	if err != nil || u.User != nil || !linkHost.MatchString(u.Hostname()) || linkInside.MatchString(u.Hostname()) {
		return nil, false
	}
	add := func(t string) {
		if _, plain := words(t); !plain {
			texts = append(texts, t)
		}
	}
	if strings.ContainsAny(u.EscapedPath(), "%;()*!") {
		add(u.Path)
	}
	for one := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, _ := strings.Cut(one, "=")
		if value := unescape(value); name == "where" && value == "1=1" { // all features of a layer of ArcGIS
			continue
		}
		add(unescape(name))
		add(unescape(value))
	}
	add(u.Fragment)
	return texts, true
}

// linkOrPath is a link, or one within the site.
func linkOrPath(v string) (texts []string, ok bool) {
	if strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "//") {
		return link("https://within.example" + v)
	}
	return link(v)
}

// linkList are links with commas between.
func linkList(v string) (texts []string, ok bool) {
	for one := range strings.SplitSeq(v, ",http") {
		if !strings.HasPrefix(one, "http") {
			one = "http" + one
		}
		t, ok := link(one)
		if !ok {
			return nil, false
		}
		texts = append(texts, t...)
	}
	return texts, true
}

var (
	linkSigns = regexp.MustCompile(`^https?://[\p{L}\p{N}_.:/?&=%#~+,;()*!@-]+$`)
	linkHost  = regexp.MustCompile(`^[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}$`) // no address
	// linkInside are names that stand for addresses within a network.
	linkInside = regexp.MustCompile(`(?i)(?:^|\.)(?:internal|local|localhost|localdomain|lan|intranet|nip\.io|sslip\.io|xip\.io|localtest\.me|lvh\.me)$`)
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

// sorting is a list of columns. What stands in quotes is the text.
func sorting(v string) (texts []string, ok bool) {
	rest, texts, ok := quoted(v, '"')
	if !ok {
		return nil, false
	}
	_, ok = sorted(rest)
	return texts, ok
}

// xpath is a path through a document. What predicates compare with is the text.
func xpath(v string) (texts []string, ok bool) {
	rest, texts, ok := quoted(v, '\'')
	if !ok {
		return nil, false
	}
	_, ok = steps(strings.ReplaceAll(rest, "''", "a"))
	return texts, ok
}

// quoted takes out what stands between pairs of a quotation mark.
func quoted(v string, mark byte) (rest string, texts []string, ok bool) {
	parts := strings.Split(v, string(mark))
	if len(parts)%2 == 0 || strings.ContainsRune(v, '\\') || len(v) > 4096 {
		return "", nil, false
	}
	for i, p := range parts {
		if i%2 == 1 {
			texts, parts[i] = append(texts, p), ""
		}
	}
	return strings.Join(parts, string(mark)), texts, true
}

// searched is a question of GeoNetwork's pages, which name the language by a
// variable of the server's.
func searched(v string) (texts []string, ok bool) {
	rest := searchLang.ReplaceAllString(v, "lang")
	return []string{rest}, rest != v
}

// firstOverview is the script that GeoNetwork's own pages send.
func firstOverview(v string) ([]string, bool) {
	return nil, v == "return params['_source'].overview == null ? [] : params['_source'].overview.stream().findFirst().orElse([]);"
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
	luceneSigns = regexp.MustCompile(`^(?:[\p{L}\p{N}\s_.,:*?~^()\[\]{}"!№„“+-]|&&|\|\||/[\p{L}\p{N}]|\\[-+!(){}\[\]^~*?:/&|.])*$`)
)

var (
	cqlForbidden = set1("select union insert update delete drop exec execute sleep benchmark waitfor into from where having declare")
	cqlFunctions = set1("bbox intersects within contains disjoint crosses touches overlaps equals relate dwithin beyond point linestring polygon multipoint multilinestring multipolygon geometrycollection envelope strtolowercase strtouppercase strlength strtrim strconcat abs ceil floor round datediff isnull")
	cqlBefore    = set1("in and or not like ilike between is")
)

// cqlTime is a time as it stands in filters without quotes.
var cqlTime = regexp.MustCompile(`\b\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?\b(?:/\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?\b)?`)

// cql is a filter in the query language of catalogs.
func cql(v string) (texts []string, ok bool) {
	list, ok := tokens(cqlTime.ReplaceAllString(v, "0"), ":[]")
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
