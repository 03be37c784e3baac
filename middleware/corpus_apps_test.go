package middleware

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// to is a request to a path, with the parameters as a query.
func to(path string, pairs ...string) *http.Request {
	return get(path + "?" + encode(pairs))
}

func encode(pairs []string) string {
	var out []string
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, url.QueryEscape(pairs[i])+"="+strings.ReplaceAll(url.QueryEscape(pairs[i+1]), "%2C", ","))
	}
	return strings.Join(out, "&")
}

func at(path string, r *http.Request) *http.Request {
	r.URL.Path = path
	r.URL.RawPath = ""
	return r
}

// sqlOf are queries of open data as people write them.
func (p prose) sqlOf() string {
	table := `"` + p.uuid() + `"`
	return p.one(
		`SELECT * FROM `+table+` LIMIT 5`,
		`SELECT * from `+table+` WHERE "Община" = 'Столична' LIMIT 100`,
		`SELECT "Област", COUNT(*) AS n, SUM("население"::numeric) FROM `+table+` GROUP BY "Област" ORDER BY n DESC`,
		`select name, count(*) from `+table+` where year >= 2020 and year <= 2024 and name like '%София%' group by name order by 2 desc limit 10 offset 20`,
		`SELECT a."ЕИК", b."име" FROM `+table+` a JOIN "`+p.uuid()+`" b ON a."ЕИК" = b."ЕИК" WHERE b."дата" > '2024-01-01'`,
		`SELECT DISTINCT "вид" FROM `+table+` WHERE "вид" IS NOT NULL ORDER BY "вид"`,
		`SELECT AVG("pm10"), date_trunc('month', "ts"::timestamp) AS m FROM `+table+` WHERE "station" IN ('Дружба', 'Надежда') GROUP BY m`,
		`SELECT * FROM `+table+` WHERE lower("name") LIKE lower('%ОУ "Св. Климент%') OR "id" BETWEEN 10 AND 20`,
		`SELECT "name", CASE WHEN "n" > 10 THEN 'много' ELSE 'малко' END AS size FROM `+table+` WHERE NOT ("n" = 0)`,
		`SELECT t."x" FROM (SELECT "x", row_number() OVER (PARTITION BY "y" ORDER BY "z") AS r FROM `+table+`) t WHERE t.r = 1`,
		`SELECT COUNT(*) FROM `+table+` WHERE "name" = 'Д''Артанян'`,
	)
}

func (p prose) ckan() *http.Request {
	api := "/api/3/action/"
	switch p.IntN(14) {
	case 0, 1, 2:
		if p.IntN(2) == 0 {
			return p.program(to(api+"datastore_search_sql", "sql", p.sqlOf()))
		}
		return p.program(at(api+"datastore_search_sql", jsonBody(map[string]any{"sql": p.sqlOf()})))
	case 3:
		return p.program(to(api+"package_search", "q", p.one("води", "title:бюджет AND notes:2025", "детски градини", "*:*", `"регистър на училищата"`, "author:МОН OR maintainer:МОН"), "fq", p.one("organization:mon", "tags:(въздух OR води) +res_format:CSV", `+dataset_type:dataset +capacity:public`, "metadata_modified:[2025-01-01T00:00:00Z TO NOW]", "-res_format:PDF"),
			"facet.field", `["organization","groups","tags","res_format","license_id"]`, "rows", "20", "start", "40", "sort", p.one("score desc, metadata_modified desc", "title_string asc", "views_recent desc")))
	case 4:
		return p.program(at(api+"package_search", jsonBody(map[string]any{"q": p.one("население", "title:води"), "fq": "organization:nsi", "facet.field": []string{"tags"}, "include_private": true, "ext_bbox": "22.3,41.2,28.6,44.2"})))
	case 5, 6:
		spatial := `{"type":"Polygon","coordinates":[[[22.36,41.23],[28.61,41.23],[28.61,44.22],[22.36,44.22],[22.36,41.23]]]}`
		return p.program(at(api+p.one("package_create", "package_update", "package_patch"), jsonBody(map[string]any{
			"name": "registar-" + p.hex(6), "title": p.one(bgSubjects...), "notes": p.text(3) + "\n\n* Източник: [портал](https://data.egov.example/dataset)\n* Лиценз: CC-BY\n\n## Полета\n\n| поле | тип |\n|---|---|\n| id | int |\n", "owner_org": p.uuid(), "license_id": "cc-by", "author": p.name(), "author_email": "data@mon.example",
			"tags": []any{map[string]any{"name": "образование"}, map[string]any{"name": "open-data"}}, "extras": []any{map[string]any{"key": "spatial", "value": spatial}, map[string]any{"key": "update_frequency", "value": "месечно"}},
			"resources": []any{map[string]any{"url": "https://data.egov.example/files/" + url.PathEscape("училища 2025.csv"), "format": "CSV", "name": "Училища – 2025", "description": p.text(1), "hash": p.hex(40)}},
		})))
	case 7:
		return p.program(to(api+"datastore_search", "resource_id", p.uuid(), "filters", p.one(`{"Община":"Столична"}`, `{"year":[2023,2024],"type":"ОУ"}`, `{"Наименование":"СУ \"Св. св. Кирил и Методий\""}`), "limit", "32000", "fields", "id,Наименование,Адрес", "sort", `"Наименование" asc, year desc`, "q", p.one("София", `{"name":"Ив"}`)))
	case 8:
		var records []any
		for range 1 + p.IntN(15) {
			records = append(records, map[string]any{"id": p.IntN(1e6), "name": p.name(), "address": p.one(bgTowns...) + ", " + p.one(bgStreets...), "note": p.plain(), "value": p.Float64()})
		}
		return p.program(at(api+p.one("datastore_upsert", "datastore_create"), jsonBody(map[string]any{"resource_id": p.uuid(), "method": "upsert", "primary_key": []string{"id"}, "force": true, "records": records, "fields": []any{map[string]any{"id": "name", "type": "text"}, map[string]any{"id": "value", "type": "numeric"}}})))
	case 9:
		r := p.multipart([][2]string{{"package_id", p.uuid()}, {"name", "Данни за " + p.one(bgWhat...)}, {"format", "CSV"}, {"description", p.text(1)}}, "данни 2025.csv", "text/csv", p.csv())
		return p.program(at(api+"resource_create", r))
	case 10:
		return p.browser(to("/dataset/", "q", p.one("води", "бюджет на общината", "училища & градини"), "sort", "score desc, metadata_modified desc", "tags", "околна среда", "res_format", "CSV", "_tags_limit", "0", "ext_bbox", "22.3,41.2,28.6,44.2"))
	case 11:
		return p.browser(at("/dataset/new", form(url.Values{"title": {p.one(bgSubjects...)}, "name": {"novi-danni-" + p.hex(4)}, "notes": {p.text(2)}, "tag_string": {"въздух,води,ОВОС"}, "license_id": {"other-open"}, "owner_org": {p.uuid()}, "private": {"True"}, "url": {"https://a.example/data"}, "version": {"1.0"}, "author": {p.name()}, "author_email": {"a@example.bg"}, "extras__0__key": {"обхват"}, "extras__0__value": {"национален"}, "pkg_name": {""}, "save": {""}})))
	case 12:
		return p.browser(to("/dataset/"+url.PathEscape("registar-na-uchilishtata")+"/resource/"+p.uuid(), "view_id", p.uuid(), "filters", "Община:Столична|Година:2024"))
	}
	return p.browser(to("/datastore/dump/"+p.uuid(), "format", p.one("csv", "json", "xml", "tsv"), "bom", "True", "fields", "id,name"))
}

func esc(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

const ogcNamespaces = `xmlns:ogc="http://www.opengis.net/ogc" xmlns:gml="http://www.opengis.net/gml" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"`

// filter is an OGC filter as clients write it, without or with namespaces.
func (p prose) filter(property string) string {
	like := func(v string) string {
		return `<ogc:PropertyIsLike wildCard="%" singleChar="_" escapeChar="\">` + `<ogc:PropertyName>` + property + `</ogc:PropertyName><ogc:Literal>` + esc(v) + `</ogc:Literal></ogc:PropertyIsLike>`
	}
	bbox := `<ogc:BBOX><ogc:PropertyName>ows:BoundingBox</ogc:PropertyName><gml:Envelope srsName="urn:ogc:def:crs:EPSG::4326"><gml:lowerCorner>41.2 22.3</gml:lowerCorner><gml:upperCorner>44.2 28.6</gml:upperCorner></gml:Envelope></ogc:BBOX>`
	body := p.one(
		like("%"+p.one("вод", "кадаст", "гори (НП)", "O'Neill", "път Е-79")+"%"),
		"<ogc:And>"+like("%"+p.one("имот", "река")+"%")+bbox+"</ogc:And>",
		"<ogc:Or>"+like("%почви%")+"<ogc:Not>"+like("%архив%")+"</ogc:Not></ogc:Or>",
		`<ogc:PropertyIsEqualTo matchCase="false"><ogc:PropertyName>ident</ogc:PropertyName><ogc:Literal>68134.905.1745</ogc:Literal></ogc:PropertyIsEqualTo>`,
		`<ogc:PropertyIsBetween><ogc:PropertyName>area</ogc:PropertyName><ogc:LowerBoundary><ogc:Literal>100</ogc:Literal></ogc:LowerBoundary><ogc:UpperBoundary><ogc:Literal>1250.5</ogc:Literal></ogc:UpperBoundary></ogc:PropertyIsBetween>`,
		`<ogc:Intersects><ogc:PropertyName>geom</ogc:PropertyName><gml:Point srsName="EPSG:7801"><gml:pos>320000.5 4730000.1</gml:pos></gml:Point></ogc:Intersects>`,
		`<ogc:PropertyIsGreaterThanOrEqualTo><ogc:PropertyName>date</ogc:PropertyName><ogc:Literal>2024-01-01T00:00:00Z</ogc:Literal></ogc:PropertyIsGreaterThanOrEqualTo>`,
		bbox,
	)
	return `<ogc:Filter ` + ogcNamespaces + `>` + body + `</ogc:Filter>`
}

func plainFilter(s string) string {
	return strings.NewReplacer("ogc:", "", "gml:", "", " xmlns:=", " xmlns=", ` xmlns:ogc=`, " xmlns=").Replace(strings.ReplaceAll(s, ` `+ogcNamespaces, ""))
}

func (p prose) cql() string {
	return p.one(`AnyText LIKE '%вода%'`, `dc:title = 'Кадастрална карта' AND dct:modified > '2024-01-01'`, `csw:AnyText Like '%O''Neill%' OR dc:type = 'service'`, `BBOX(ows:BoundingBox, 22.3, 41.2, 28.6, 44.2)`, `ident IN ('68134.905.1745','68134.905.1746')`, `area BETWEEN 100 AND 1250 AND NOT (use = 'Нива')`, `INTERSECTS(geom, POLYGON((23.3 42.6, 23.4 42.7, 23.5 42.6, 23.3 42.6)))`, `strToLowerCase(name) LIKE '%софия%'`, `population > 1000 AND name IS NOT NULL`)
}

func xmlPost(path, doc string) *http.Request {
	return at(path, post("application/xml", `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+doc))
}

func (p prose) geonetwork() *http.Request {
	csw := "/geonetwork/srv/" + p.one("bul", "eng") + "/csw"
	switch p.IntN(10) {
	case 0:
		return p.program(to(csw, "request", "GetCapabilities", "service", "CSW", "acceptVersions", "2.0.2"))
	case 1:
		return p.program(to(csw, "service", "CSW", "version", "2.0.2", "request", "GetRecords", "resultType", "results", "typeNames", "csw:Record", "elementSetName", "full", "outputSchema", p.one("http://www.isotc211.org/2005/gmd", "http://www.opengis.net/cat/csw/2.0.2"), "constraintLanguage", "CQL_TEXT", "constraint_language_version", "1.1.0",
			"constraint", p.cql(), "maxRecords", "10", "startPosition", "1", "namespace", "xmlns(csw=http://www.opengis.net/cat/csw/2.0.2),xmlns(gmd=http://www.isotc211.org/2005/gmd)"))
	case 2:
		return p.program(to(csw, "SERVICE", "CSW", "VERSION", "2.0.2", "REQUEST", "GetRecords", "TYPENAMES", "gmd:MD_Metadata", "CONSTRAINTLANGUAGE", "FILTER", "CONSTRAINT_LANGUAGE_VERSION", "1.1.0", "CONSTRAINT", p.filter("AnyText"), "RESULTTYPE", "results"))
	case 3, 4:
		constraint := p.filter(p.one("AnyText", "dc:title", "apiso:Subject"))
		if p.IntN(3) == 0 {
			constraint = "<csw:CqlText>" + esc(p.cql()) + "</csw:CqlText>"
		}
		return p.program(xmlPost(csw, `<csw:GetRecords xmlns:csw="http://www.opengis.net/cat/csw/2.0.2" xmlns:gmd="http://www.isotc211.org/2005/gmd" service="CSW" version="2.0.2" resultType="results" outputSchema="http://www.isotc211.org/2005/gmd" startPosition="1" maxRecords="20"><csw:Query typeNames="gmd:MD_Metadata"><csw:ElementSetName>full</csw:ElementSetName><csw:Constraint version="1.1.0">`+constraint+`</csw:Constraint><ogc:SortBy xmlns:ogc="http://www.opengis.net/ogc"><ogc:SortProperty><ogc:PropertyName>dc:title</ogc:PropertyName><ogc:SortOrder>ASC</ogc:SortOrder></ogc:SortProperty></ogc:SortBy></csw:Query></csw:GetRecords>`))
	case 5:
		return p.program(to(csw, "service", "CSW", "version", "2.0.2", "request", "GetRecordById", "id", "{"+strings.ToUpper(p.uuid())+"}", "elementSetName", "full", "outputSchema", "http://www.isotc211.org/2005/gmd"))
	case 6, 7:
		return p.browser(at("/geonetwork/srv/api/search/records/_search", jsonBody(map[string]any{
			"from": 0, "size": 30, "track_total_hits": true, "sort": []any{"_score", map[string]any{"resourceTitleObject.default.sort": "asc"}},
			"query": map[string]any{"function_score": map[string]any{"boost": 5, "functions": []any{map[string]any{"filter": map[string]any{"exists": map[string]any{"field": "parentUuid"}}, "weight": 0.3}, map[string]any{"gauss": map[string]any{"changeDate": map[string]any{"scale": "365d", "offset": "90d", "decay": 0.5}}}}, "score_mode": "multiply",
				"query": map[string]any{"bool": map[string]any{"must": []any{map[string]any{"query_string": map[string]any{"query": p.one(`(any.\${searchLang}:(води) OR any.common:(води) OR resourceTitleObject.\${searchLang}:(води)^2)`, `any:(кадастър) AND +isTemplate:n`, `resourceTitleObject.langbul:"Граници на общините"`), "default_operator": "AND"}}}, "filter": []any{map[string]any{"query_string": map[string]any{"query": "(cl_status.key:\"onGoing\") AND isTemplate:(\"n\")"}}, map[string]any{"geo_shape": map[string]any{"geom": map[string]any{"shape": map[string]any{"type": "envelope", "coordinates": []any{[]any{22.3, 44.2}, []any{28.6, 41.2}}}, "relation": "intersects"}}}}}}}},
			"aggregations": map[string]any{"resourceType": map[string]any{"terms": map[string]any{"field": "resourceType", "size": 10}}, "tag": map[string]any{"terms": map[string]any{"field": "tag.default", "size": 10, "include": ".*вод.*"}}}, "_source": map[string]any{"includes": []any{"uuid", "id", "creat*", "group*", "logo", "category*", "resourceTitle*", "geom", "*Object"}},
		})))
	case 8:
		return p.browser(to("/geonetwork/srv/api/records/"+p.uuid()+"/formatters/xsl-view", "root", "div", "view", "advanced", "approved", "true", "output", "pdf"))
	}
	title, text := esc(p.one(bgSubjects...)), esc(p.text(3))
	str := func(s string) string { return "<gco:CharacterString>" + s + "</gco:CharacterString>" }
	doc := `<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd" xmlns:gco="http://www.isotc211.org/2005/gco" xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.isotc211.org/2005/gmd http://schemas.opengis.net/csw/2.0.2/profiles/apiso/1.0.0/apiso.xsd"><gmd:fileIdentifier>` + str(p.uuid()) + `</gmd:fileIdentifier><gmd:language><gmd:LanguageCode codeList="http://www.loc.gov/standards/iso639-2/" codeListValue="bul"/></gmd:language><gmd:characterSet><gmd:MD_CharacterSetCode codeList="http://standards.iso.org/ittf/PubliclyAvailableStandards/ISO_19139_Schemas/resources/codelist/ML_gmxCodelists.xml#MD_CharacterSetCode" codeListValue="utf8"/></gmd:characterSet><gmd:contact><gmd:CI_ResponsibleParty><gmd:organisationName>` + str(esc(p.one(bgOffices...))) + `</gmd:organisationName><gmd:contactInfo><gmd:CI_Contact><gmd:address><gmd:CI_Address><gmd:deliveryPoint>` + str(esc(p.one(bgStreets...))) + `</gmd:deliveryPoint><gmd:electronicMailAddress>` + str("gis@example.bg") + `</gmd:electronicMailAddress></gmd:CI_Address></gmd:address></gmd:CI_Contact></gmd:contactInfo></gmd:CI_ResponsibleParty></gmd:contact><gmd:dateStamp><gco:DateTime>2025-06-02T14:03:11</gco:DateTime></gmd:dateStamp><gmd:identificationInfo><gmd:MD_DataIdentification><gmd:citation><gmd:CI_Citation><gmd:title>` + str(title) + `</gmd:title></gmd:CI_Citation></gmd:citation><gmd:abstract>` + str(text) + `</gmd:abstract><gmd:graphicOverview xlink:href="https://a.example/geonetwork/srv/api/records/x/attachments/preview.png"/></gmd:MD_DataIdentification></gmd:identificationInfo><gmd:distributionInfo><gmd:URL>https://gis.egov.example/wms?service=WMS&amp;request=GetCapabilities</gmd:URL></gmd:distributionInfo></gmd:MD_Metadata>`
	if p.IntN(2) == 0 {
		r := xmlPost("/geonetwork/srv/api/records", doc)
		r.Method = "PUT"
		return p.browser(r)
	}
	return p.program(xmlPost("/geonetwork/srv/bul/csw-publication", `<csw:Transaction xmlns:csw="http://www.opengis.net/cat/csw/2.0.2" service="CSW" version="2.0.2"><csw:Insert>`+doc+`</csw:Insert></csw:Transaction>`))
}

func (p prose) mapserver() *http.Request {
	path := p.one("/wms", "/cgi-bin/mapserv", "/ows/cadastre")
	var base []string
	if path == "/cgi-bin/mapserv" {
		base = []string{"map", p.one("/srv/maps/cadastre.map", "/opt/mapserver/maps/inspire_hy.map")}
	}
	kvp := func(pairs ...string) *http.Request { return p.program(to(path, append(base, pairs...)...)) }
	crs := p.one("EPSG:4326", "EPSG:3857", "EPSG:7801", "CRS:84")
	switch p.IntN(16) {
	case 0, 1, 2:
		return kvp("SERVICE", "WMS", "VERSION", p.one("1.3.0", "1.1.1"), "REQUEST", "GetMap", "FORMAT", p.one("image/png", "image/png; mode=8bit", "image/jpeg"), "TRANSPARENT", "true", "LAYERS", p.one("cadastre:parcels,buildings", "Имоти", "HY.PhysicalWaters.Waterbodies", "orto 2024"), "STYLES", p.one("", ",", "inspire_common:DEFAULT"), "CRS", crs, "WIDTH", "256", "HEIGHT", "256", "DPI", "96", "MAP_RESOLUTION", "96", "FORMAT_OPTIONS", "dpi:96", "BBOX", "2602000.123,5262000.5,2603000.25,5263000.75")
	case 3:
		return kvp("service", "WMS", "version", "1.3.0", "request", "GetFeatureInfo", "layers", "parcels", "query_layers", "parcels", "info_format", p.one("text/html", "application/vnd.ogc.gml", "application/json", "text/plain"), "i", "50", "j", "128", "crs", crs, "bbox", "42.6,23.3,42.7,23.4", "width", "256", "height", "256", "feature_count", "10", "styles", "", "format", "image/png", "exceptions", "INIMAGE")
	case 4:
		return kvp("SERVICE", "WMS", "REQUEST", p.one("GetCapabilities", "GetLegendGraphic"), "VERSION", "1.3.0", "LAYER", "parcels", "FORMAT", "image/png", "SCALE", "5000", "LEGEND_OPTIONS", "fontName:DejaVu Sans;fontSize:12;forceLabels:on")
	case 5:
		return kvp("SERVICE", "WMS", "VERSION", "1.1.1", "REQUEST", "GetMap", "LAYERS", "parcels", "STYLES", "", "SRS", "EPSG:4326", "BBOX", "23.3,42.6,23.4,42.7", "WIDTH", "800", "HEIGHT", "600", "FORMAT", "image/png", "TIME", p.one("2024-01-01/2024-12-31/P1M", "2025-06-02T00:00:00.000Z"), "CQL_FILTER", p.cql(), "tiled", "true", "_dc", "0.123456")
	case 6:
		return kvp("service", "WFS", "version", p.one("2.0.0", "1.1.0"), "request", "GetFeature", "typeNames", p.one("cad:parcel", "ms:сгради", "app:Имот,app:Сграда"), "count", "100", "startIndex", "0", "outputFormat", p.one("application/json; subtype=geojson", "text/xml; subtype=gml/3.2.1", "application/gml+xml; version=3.2", "csv"), "srsName", "urn:ogc:def:crs:EPSG::7801", "bbox", "41.2,22.3,44.2,28.6,urn:ogc:def:crs:EPSG::4326", "sortBy", "name A", "propertyName", "ident,geom,площ")
	case 7, 8:
		f := p.filter("ident")
		if p.IntN(2) == 0 {
			f = plainFilter(f)
		}
		return kvp("SERVICE", "WFS", "VERSION", "1.1.0", "REQUEST", "GetFeature", "TYPENAME", "cad:parcel", "FILTER", f, "OUTPUTFORMAT", "geojson")
	case 9, 10:
		f := strings.ReplaceAll(p.filter("cad:owner"), "ogc:PropertyName", p.one("ogc:PropertyName", "ogc:ValueReference"))
		return p.program(xmlPost(path, `<wfs:GetFeature xmlns:wfs="http://www.opengis.net/wfs" service="WFS" version="1.1.0" maxFeatures="100" outputFormat="text/xml; subtype=gml/3.1.1" xmlns:cad="http://gis.egov.example/cad" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.opengis.net/wfs http://schemas.opengis.net/wfs/1.1.0/wfs.xsd"><wfs:Query typeName="cad:parcel" srsName="EPSG:4326"><wfs:PropertyName>cad:ident</wfs:PropertyName>`+f+`</wfs:Query></wfs:GetFeature>`))
	case 11:
		return p.program(xmlPost(path, `<wfs:Transaction xmlns:wfs="http://www.opengis.net/wfs" xmlns:gml="http://www.opengis.net/gml" xmlns:cad="http://gis.egov.example/cad" service="WFS" version="1.1.0"><wfs:Insert><cad:parcel><cad:ident>68134.905.1745</cad:ident><cad:owner>`+esc(p.name())+`</cad:owner><cad:note>`+esc(p.text(1))+`</cad:note><cad:geom><gml:MultiSurface srsName="EPSG:7801"><gml:posList>320000.1 4730000.2 320010.1 4730000.2 320000.1 4730000.2</gml:posList></gml:MultiSurface></cad:geom></cad:parcel></wfs:Insert><wfs:Update typeName="cad:parcel"><wfs:Property><wfs:Name>area</wfs:Name><wfs:Value>1205.5</wfs:Value></wfs:Property>`+p.filter("ident")+`</wfs:Update></wfs:Transaction>`))
	case 12:
		return p.program(to("/wmts", "SERVICE", "WMTS", "REQUEST", "GetTile", "VERSION", "1.0.0", "LAYER", "orto2024", "STYLE", "default", "TILEMATRIXSET", "EPSG:3857", "TILEMATRIX", "EPSG:3857:12", "TILEROW", "1505", "TILECOL", "2312", "FORMAT", "image/jpeg"))
	case 13:
		return p.program(get(fmt.Sprintf("/wmts/orto2024/default/GoogleMapsCompatible/%d/%d/%d.png", 5+p.IntN(14), p.IntN(4000), p.IntN(4000))))
	case 14:
		sld := `<StyledLayerDescriptor version="1.0.0" xmlns="http://www.opengis.net/sld" xmlns:ogc="http://www.opengis.net/ogc"><NamedLayer><Name>parcels</Name><UserStyle><FeatureTypeStyle><Rule><Name>имоти</Name>` + p.filter("use") + `<PolygonSymbolizer><Fill><CssParameter name="fill">#ff0000</CssParameter></Fill></PolygonSymbolizer></Rule></FeatureTypeStyle></UserStyle></NamedLayer></StyledLayerDescriptor>`
		if p.IntN(2) == 0 {
			return p.program(at(path, form(url.Values{"SERVICE": {"WMS"}, "VERSION": {"1.1.1"}, "REQUEST": {"GetMap"}, "LAYERS": {"parcels"}, "SLD_BODY": {sld}, "BBOX": {"23.3,42.6,23.4,42.7"}, "SRS": {"EPSG:4326"}, "WIDTH": {"256"}, "HEIGHT": {"256"}, "FORMAT": {"image/png"}})))
		}
		return kvp("SERVICE", "WMS", "VERSION", "1.1.1", "REQUEST", "GetMap", "LAYERS", "parcels", "SLD_BODY", sld, "BBOX", "23.3,42.6,23.4,42.7", "SRS", "EPSG:4326", "WIDTH", "256", "HEIGHT", "256", "FORMAT", "image/png")
	}
	return kvp("SERVICE", "WCS", "VERSION", "2.0.1", "REQUEST", "GetCoverage", "COVERAGEID", "dem_25", "FORMAT", "image/tiff", "SUBSET", "x(320000,330000)", "SUBSETTINGCRS", "http://www.opengis.net/def/crs/EPSG/0/7801")
}

// regix are questions to registers, in SOAP.
func (p prose) regix() *http.Request {
	company := p.one(`"Строй-инвест 2005" ЕООД`, "„Ремонт & Ко“ ООД", "ЕТ 'Стоян Илиев – 91'", "АГРО-МЕЛ АД (в ликвидация)", "Фондация „Помощ за децата“", "O'Brien Consulting Ltd.", "SELECT ТРЕЙД ООД", "\"Юнион Ивкони\" ООД")
	operation := p.one("TechnoLogica.RegiX.GraoNBDAdapter.APIService.INBDAPI.PersonDataSearch", "TechnoLogica.RegiX.AVTRAdapter.APIService.ITRAPI.GetActualStateV3", "TechnoLogica.RegiX.NoiRPAdapter.APIService.IRPAPI.GetPensionIncomeAmountReport")
	argument := p.one(
		`<PersonDataRequest xmlns="http://egov.bg/RegiX/GRAO/NBD/PersonDataRequest" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><EGN>7501010010</EGN></PersonDataRequest>`,
		`<ActualStateRequestV3 xmlns="http://egov.bg/RegiX/AV/TR/ActualStateRequestV3"><UIC>121234567</UIC><FieldList>00010, 00020, 00030, 00120</FieldList></ActualStateRequestV3>`,
		`<SearchByName xmlns="http://egov.bg/RegiX/X"><Name>`+esc(company)+`</Name><Names>`+esc(p.name())+`</Names><Address>`+esc(p.one(bgTowns...)+", "+p.one(bgStreets...))+`</Address><DateFrom>2024-01-01T00:00:00+03:00</DateFrom></SearchByName>`,
	)
	header := ""
	if p.IntN(2) == 0 {
		header = `<s:Header><wsse:Security s:mustUnderstand="1" xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"><wsu:Timestamp wsu:Id="TS-` + p.hex(8) + `"><wsu:Created>2025-06-02T11:03:11.123Z</wsu:Created><wsu:Expires>2025-06-02T11:08:11.123Z</wsu:Expires></wsu:Timestamp><wsse:BinarySecurityToken EncodingType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary">` + base64.StdEncoding.EncodeToString(p.bytes(700)) + `</wsse:BinarySecurityToken><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><ds:Reference URI="#TS-1"><ds:DigestValue>` + base64.StdEncoding.EncodeToString(p.bytes(32)) + `</ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue>` + base64.StdEncoding.EncodeToString(p.bytes(256)) + `</ds:SignatureValue></ds:Signature></wsse:Security></s:Header>`
	}
	body := fmt.Sprintf(`<ExecuteSynchronous xmlns="http://tempuri.org/"><request><Operation>%s</Operation><Argument>%s</Argument><CallContext><ServiceURI>%s</ServiceURI><ServiceType>За административна услуга</ServiceType><EmployeeIdentifier>m.petrova@egov.example</EmployeeIdentifier><EmployeeNames>%s</EmployeeNames><EmployeePosition>%s</EmployeePosition><LawReason>%s</LawReason><AdministrationOId>2.16.100.1.1.1.1.15</AdministrationOId><AdministrationName>%s</AdministrationName><Remark>%s</Remark></CallContext><CitizenEGN/><EmployeeEGN/><ReturnAccessMatrix>false</ReturnAccessMatrix><SignResult>true</SignResult></request></ExecuteSynchronous>`,
		operation, argument, p.one("143-12345-03.01.2025", "РД-09-1234"), esc(p.name()), esc(p.one(bgPosts...)), p.one("чл. 12, ал. 3 от АПК", "Наредба № 7 (чл. 4); изм. ДВ бр. 12/2024"), esc(p.one(bgOffices...)), esc(p.text(1)))
	envelope := "http://schemas.xmlsoap.org/soap/envelope/"
	r := post("text/xml; charset=utf-8", `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="`+envelope+`">`+header+`<s:Body>`+body+`</s:Body></s:Envelope>`)
	r.Header.Set("SOAPAction", `"http://tempuri.org/IRegiXEntryPoint/ExecuteSynchronous"`)
	if p.IntN(10) == 0 {
		return p.program(get("/RegiX/RegiXEntryPoint.svc?" + p.one("wsdl", "singleWsdl", "xsd=xsd0")))
	}
	return p.program(at("/RegiX/RegiXEntryPoint.svc/basic", r))
}

// api are other programs' requests with languages of their own for questions.
func (p prose) api() *http.Request {
	switch p.IntN(3) {
	case 0:
		return p.browser(to("/odata/Companies", "$filter", p.one("Name eq 'Строй ЕООД' and Year ge 2020", "contains(Name,'София')", "Area gt 100 and not (Type eq 'A')"), "$select", "Id,Name,Year", "$orderby", "Name asc", "$top", "50", "$skip", "100", "$count", "true", "$expand", "Address($select=City)"))
	case 1:
		j, _ := json.Marshal(map[string]any{"municipality": "София", "type": []string{"ОУ", "СУ"}})
		return p.browser(to("/api/v1/schools", "filter", string(j), "fields", "id,name,address", "page[number]", "2", "page[size]", "25", "sort", "-createdAt", "bbox", "23.1,42.5,23.6,42.9", "since", "2025-06-02T14:03:11+03:00"))
	}
	return p.program(at("/rpc", jsonBody(map[string]any{"jsonrpc": "2.0", "id": p.IntN(1000), "method": "registry.search", "params": map[string]any{"name": p.name(), "from": "2024-01-01", "limit": 10, "address": p.one(bgStreets...)}})))
}
