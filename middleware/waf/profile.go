package waf

import (
	"regexp"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Apps are the applications that there are profiles for.
func Apps() []string { return []string{"ckan", "geonetwork", "mapserver", "regix"} }

// Profile is what is known of an application: how its parameters are built, and
// where people write. What it recognizes is not shown to the rules as it stands;
// they see the texts in it instead, each as a value of its own. Whatever it does
// not recognize is inspected as on any other route.
type Profile struct {
	shapes map[string]shape // by parameter, in lower case; of JSON by the last name
	texts  *regexp.Regexp   // parameters that people write in
	body   *structure       // of XML
	values *structure       // of XML in any parameter
}

// fragments are rules from paranoia 2 on that match pieces of SQL or of a shell
// which any longer text has. Texts that a profile knows as such are not for them,
// but for all rules of paranoia 1.
var fragments = []int{
	920230, 931130, 932200, 932220, 932231, 932271, 932236, 932240, 942120, 942131, 942150, 942180, 942200, 942210, 942260, 942300, 942310, 942330, 942340, 942361, 942362, 942370, 942380, 942390, 942400, 942410, 942430, 942440, 942450, 942480,
	942510, 942520, 942521, 942522,
}

// textName marks the texts of what was recognized.
const textName = " (text)"

func namesOf(list ...string) *regexp.Regexp {
	for i, n := range list {
		list[i] = strings.ReplaceAll(regexp.QuoteMeta(n), `\*`, ".*")
	}
	return regexp.MustCompile("^(?:" + strings.Join(append(list, `.*`+regexp.QuoteMeta(textName)+`.*`), "|") + ")$")
}

// NewProfile makes the profile of an application. tables are those that its SQL
// may read besides the resources of open data, which are named by UUIDs; none
// means all but those of accounts and of the database itself.
func NewProfile(app string, tables []string) *Profile {
	spatial := func() map[string]shape {
		out := map[string]shape{
			"bbox": box, "filter": first1(aFilter.inValue, filterList, cql), "cql_filter": cql, "sld_body": aStyle.inValue, "srs": crsName, "crs": crsName, "srsname": crsName, "subsettingcrs": crsName, "outputcrs": crsName, "time": instants,
			"format": mediaType, "info_format": mediaType, "outputformat": first1(mediaType, words), "legend_options": options, "format_options": options, "subset": subset, "map": mapFile, "namespace": namespaces, "namespaces": namespaces,
			"featureid": words, "resourceid": words, "exceptions": first1(words, mediaType), "outputschema": link, "sld": link, "geom": wkt, "geometry": wkt, "responseformat": first1(link, mediaType), "propertyname": first1(words, lists), "typenames": first1(words, lists), "sortby": first1(words, sorting), "constraint": first1(aFilter.inValue, cql),
		}
		for _, name := range strings.Fields("service version acceptversions request layers styles layer style query_layers typename typenamespace width height i j x y dpi map_resolution transparent feature_count count maxfeatures startindex resulttype tiled scale tilematrixset tilematrix tilerow tilecol coverageid elementsetname constraintlanguage constraint_language_version maxrecords startposition bgcolor sections language") {
			out[name] = words
		}
		return out
	}
	switch app {
	case "ckan":
		allowed := func(name string) bool {
			if _, ok := uuids(name); ok {
				return true
			}
			if len(tables) == 0 {
				return !sqlPrivate[strings.ToLower(name)]
			}
			return slices.ContainsFunc(tables, func(t string) bool { return strings.EqualFold(t, name) })
		}
		p := &Profile{shapes: map[string]shape{
			"sql": func(v string) ([]string, bool) { return selects(v, allowed) },
			"q":   first1(document, lucene), "fq": lucene, "sort": sorting, "filters": first1(document, valueList), "facet.field": first1(document, words), "fields": first1(document, valueList, sorting), "ext_bbox": box, "value": first1(document, words), "extras__0__value": first1(document, words),
			"url": linkOrPath, "fl": words, "qf": weighted, "image_url": link, "website": link, "icon_url": link, "author_email": pattern(`[\w.+-]+@[\w.-]+`), "tags": words, "rows": numbers, "start": numbers, "limit": numbers, "offset": numbers,
		}}
		p.texts = namesOf("json.records.*", "json.notes", "json.title", "json.author", "json.maintainer", "json.extras.*.value", "json.resources.*.description", "json.resources.*.name", "json.description", "json.name", "json.tags.*", "json.organization.*", "json.message", "json.fields.*", "json.q", "notes", "title", "description", "author", "maintainer", "name", "tag_string", "extras__*__value", "q", "message", "about", "fullname", "password*", "json.password", "json.about", "json.fullname", "json.title_translated.*", "json.notes_translated.*")
		return p
	case "geonetwork":
		p := &Profile{shapes: spatial(), body: catalogRequest, texts: namesOf("any", "title", "password*", "json.password", "comments", "org", "subject", "json.comment", "json.query.*.query", "json.*.query_string.query")}
		p.shapes["query"], p.shapes["include"], p.shapes["id"], p.shapes["xpath"], p.shapes["metadata/resourceidentifierprefix"], p.values = first1(lucene, searched), globbing, first1(uuidList, linkList), xpath, prefix, aRecord
		p.shapes["expression"], p.shapes["source"], p.shapes["url"], p.shapes["website"] = link, firstOverview, link, link
		return p
	case "mapserver":
		return &Profile{shapes: spatial(), body: spatialRequest, texts: namesOf()}
	case "regix":
		return &Profile{shapes: map[string]shape{"xsd": words}, body: registerRequest, texts: namesOf()}
	}
	return nil
}

// split takes a parameter apart, if it is recognized.
func (p *Profile) split(name, value string) (texts []string, ok bool) {
	if rest, ok := strings.CutPrefix(name, "json."); ok {
		for name = rest; ; name = rest {
			i := strings.LastIndexByte(name, '.')
			if i < 0 || strings.Trim(name[i+1:], "0123456789") != "" {
				name = name[i+1:]
				break
			}
			rest = name[:i]
		}
	}
	if p.values != nil && strings.HasPrefix(value, "<") {
		return p.values.inValue(value)
	}
	s := p.shapes[strings.ToLower(name)]
	if s == nil {
		return nil, false
	}
	return s(value)
}

// list puts texts in the place of what is recognized.
func (p *Profile) list(args []pair) (out []pair, changed bool) {
	out = args[:0:0]
	for _, a := range args {
		texts, ok := p.split(a.key, a.value)
		if !ok {
			out = append(out, a)
			continue
		}
		changed = true
		for _, t := range texts {
			out = append(out, pair{a.key + textName, t})
		}
	}
	return out, changed
}

// query does so for the query.
func (p *Profile) query(c collection.Map) {
	var args []pair
	for _, m := range c.FindAll() {
		args = append(args, pair{m.Key(), m.Value()})
	}
	list, changed := p.list(args)
	if !changed {
		return
	}
	for _, a := range args {
		c.Remove(a.key)
	}
	for _, a := range list {
		c.Add(apart(a.key), a.value)
	}
}

// document does so for a body. Of XML that is built as it has to be, rules see
// what may be anything.
func (p *Profile) document(b *body, raw []byte, tx remover) {
	if b.kind != kindXML {
		b.args, _ = p.list(b.args)
		return
	}
	if p.body == nil {
		return
	}
	if attrs, texts, ok := p.body.read(raw); ok {
		b.attrs, b.texts = attrs, append(texts, attrs...)
		for _, id := range fragments {
			tx.RemoveRuleTargetByID(id, variables.XML, "", nil)
		}
	}
}

// exempt leaves texts out of the sight of rules that match fragments.
func (p *Profile) exempt(tx remover) {
	for _, id := range fragments {
		tx.RemoveRuleTargetByID(id, variables.Args, "", p.texts)
		tx.RemoveRuleTargetByID(id, variables.ArgsGet, "", p.texts)
		tx.RemoveRuleTargetByID(id, variables.ArgsPost, "", p.texts)
	}
}
