package middleware

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// agents of people and of programs.
var (
	browsers = []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
	}
	programs = []string{"QGIS/33413", "Mozilla/5.0 QGIS/33800/Windows 10", "ckanapi/4.8", "Apache-HttpClient/4.5.14 (Java/17.0.9)", "Microsoft WCF", "JAX-WS RI 2.3.2", "GDAL WFS client", "ArcGIS Pro 3.3", "node-fetch/1.0", "PostmanRuntime/7.44.1"}
)

// browser makes a request look like one of a browser's.
func (p prose) browser(r *http.Request) *http.Request {
	r.Header.Set("User-Agent", p.one(browsers...))
	r.Header.Set("Accept", p.one("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json, text/plain, */*"))
	r.Header.Set("Accept-Language", p.one("bg-BG,bg;q=0.9,en;q=0.8", "bg,en-US;q=0.7,en;q=0.3", "en-GB,en;q=0.5"))
	r.Header.Set("Referer", "https://a.example/"+p.one("", "search?q="+url.QueryEscape(p.one(bgWhat...))+"&page=2", "services/"+p.uuid(), "bg/услуги/подай?step=3#form", "dataset/"+url.PathEscape("регистър-на-училищата")))
	if r.Method == "POST" {
		r.Header.Set("Origin", "https://a.example")
	}
	cookies := []string{
		"XSRF-TOKEN=" + url.QueryEscape(p.laravelCookie()), "laravel_session=" + url.QueryEscape(p.laravelCookie()), "remember_web_59ba36addc2b2f9401580f014c7f58ea4e30989d=" + url.QueryEscape(p.laravelCookie()),
		"_ga=GA1.1." + p.from("0123456789", 9) + ".1718000000", "_pk_id.3.1fff=" + p.hex(16) + ".1718000000.", "cookie_consent=%7B%22necessary%22%3Atrue%2C%22analytics%22%3Afalse%2C%22ts%22%3A1718000000%7D",
		"OptanonConsent=isGpcEnabled=0&datestamp=Mon+Jun+02+2025+14%3A03%3A11+GMT%2B0300&version=202401.1.0&groups=C0001%3A1%2CC0002%3A0&AwaitingReconsent=false", "JSESSIONID=" + strings.ToUpper(p.hex(32)),
		"serverTime=1749023456; sessionExpiry=1749027056", "lang=bg", "auth_tkt=" + p.hex(40) + p.one("ivanov", "m.petrova") + "!userid_type:unicode", "ckan=" + p.hex(40) + "gASVJAAAAAAAAACMBmNyZWF0ZWSULg==", "PHPSESSID=" + p.token(26),
		"__Host-session=" + p.jwt(), "last_search=" + url.QueryEscape(p.one(bgWhat...)), "theme=dark", "GUEST_LANGUAGE_ID=bg_BG",
	}
	p.Shuffle(len(cookies), func(i, j int) { cookies[i], cookies[j] = cookies[j], cookies[i] })
	r.Header.Set("Cookie", strings.Join(cookies[:1+p.IntN(5)], "; "))
	return r
}

func (p prose) program(r *http.Request) *http.Request {
	r.Header.Set("User-Agent", p.one(programs...))
	r.Header.Set("Accept", p.one("*/*", "application/json", "text/xml, multipart/related", "application/xml"))
	if p.IntN(3) == 0 {
		r.Header.Set("Authorization", "Bearer "+p.jwt())
	}
	return r
}

func (p prose) laravelCookie() string {
	j, _ := json.Marshal(map[string]string{"iv": base64.StdEncoding.EncodeToString([]byte(p.token(16))), "value": base64.StdEncoding.EncodeToString(p.bytes(96)), "mac": p.hex(64), "tag": ""})
	return base64.StdEncoding.EncodeToString(j)
}

func (p prose) jwt() string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256","typ":"JWT","kid":"`+p.hex(8)+`"}`)) + "." + enc([]byte(fmt.Sprintf(`{"iss":"https://auth.egov.example/realms/main","sub":"%s","aud":"portal","exp":1749027056,"name":"%s","roles":["user","editor"]}`, p.uuid(), p.name()))) + "." + enc(p.bytes(64))
}

func (p prose) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(p.IntN(256))
	}
	return b
}

func form(v url.Values) *http.Request {
	return post(formType, v.Encode())
}

const formType = "application/x-www-form-urlencoded"

func jsonBody(v any) *http.Request {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return post("application/json; charset=utf-8", b.String())
}

// laravel are requests of applications with forms.
func (p prose) laravel() *http.Request {
	v := url.Values{"_token": {p.token(40)}}
	switch p.IntN(9) {
	case 0: // a signal of a citizen's
		v["name"], v["email"], v["phone"] = []string{p.name()}, []string{"maria.ivanova+egov@example.bg"}, []string{p.one("+359 888 123 456", "0888/123456", "02 940 11 22")}
		v["subject"], v["message"], v["agree"] = []string{p.one(bgSubjects...)}, []string{p.text(1 + p.IntN(4))}, []string{"on"}
	case 1: // an application with addresses and lists
		v["_method"], v["applicant[name]"], v["applicant[egn]"], v["applicant[address]"] = []string{"PUT"}, []string{p.name()}, []string{"7501010010"}, []string{p.one(bgTowns...) + ", " + p.one(bgStreets...)}
		v["documents[0][type]"], v["documents[0][number]"], v["documents[0][date]"] = []string{"удостоверение"}, []string{"№ РД-09-1234"}, []string{"12.03.2025"}
		v["services[]"], v["note"] = []string{"3", "7", "12"}, []string{p.one(bgAsks...)}
	case 2: // log in
		v["email"], v["password"], v["remember"] = []string{"ivan.petrov@example.bg"}, []string{p.one("Пролет2025!", "correct horse battery staple", "Qw3$rty#9", "Лозенец-1984", "t7&Gh!pz", "моята парола")}, []string{"1"}
	case 3: // a search
		return p.browser(get("/search?" + url.Values{"q": {p.one(bgWhat...)}, "category": {p.one("health", "образование", "social-services")}, "sort": {p.one("-created_at", "title,asc")}, "page": {"2"}, "date_from": {"2025-01-01"}, "date_to": {"31.12.2025"}}.Encode()))
	case 4: // Livewire
		return p.browser(jsonBody(map[string]any{
			"_token": p.token(40), "components": []any{map[string]any{
				"snapshot": fmt.Sprintf(`{"data":{"name":"%s","step":2,"items":[[],{"s":"arr"}]},"memo":{"id":"%s","name":"forms.application","path":"apply","method":"GET","children":[],"scripts":[],"assets":[],"errors":[],"locale":"bg"},"checksum":"%s"}`, escapeJSON(p.one(bgNames[:8]...)), p.token(20), p.hex(64)),
				"updates":  map[string]any{"name": p.name(), "description": p.text(1)}, "calls": []any{map[string]any{"path": "", "method": "save", "params": []any{}}},
			}},
		}))
	case 5: // a table that is filtered on the server
		q := url.Values{"draw": {"3"}, "start": {"20"}, "length": {"10"}, "search[value]": {p.one(bgWhat...)}, "search[regex]": {"false"}, "order[0][column]": {"1"}, "order[0][dir]": {p.one("asc", "desc")}, "_": {"1749023456123"}}
		for i, c := range []string{"id", "name", "created_at", "status"} {
			at := fmt.Sprintf("columns[%d]", i)
			q[at+"[data]"], q[at+"[name]"], q[at+"[searchable]"], q[at+"[orderable]"], q[at+"[search][value]"], q[at+"[search][regex]"] = []string{c}, []string{""}, []string{"true"}, []string{"true"}, []string{""}, []string{"false"}
		}
		return p.browser(get("/admin/users/data?" + q.Encode()))
	case 6: // a state that JavaScript keeps in a form
		v["payload"], v["comment"] = []string{fmt.Sprintf(`{"step":3,"name":"%s","town":"%s","ids":[1,2,3],"ok":true}`, escapeJSON(p.one(bgNames[:8]...)), escapeJSON("гр. София"))}, []string{p.text(1)}
	case 7: // a return address
		return p.browser(get("/login?" + url.Values{"redirect": {p.one("/services/"+p.uuid()+"?step=2", "/bg/услуги#top", "https://a.example/profile")}, "lang": {"bg"}, "utm_source": {"newsletter"}, "utm_campaign": {"пролет 2025"}}.Encode()))
	default:
		v["title"], v["body"], v["tags"], v["published_at"], v["slug"] = []string{p.one(bgSubjects...)}, []string{p.text(3)}, []string{"новини, обяви, търгове"}, []string{"2025-06-02T14:30"}, []string{"obyava-za-targ-12"}
	}
	return p.browser(form(v))
}

// freeText are citizens' own words in each of the ways that they are sent.
func (p prose) freeText() *http.Request {
	text := p.text(1 + p.IntN(5))
	switch p.IntN(5) {
	case 0:
		return p.browser(get("/search?q=" + url.QueryEscape(strings.Join(strings.Fields(p.text(1)), " "))))
	case 1:
		return p.browser(form(url.Values{"comment": {text}, "rating": {"4"}}))
	case 2:
		return p.browser(post("application/json", `{"comment":"`+escapeJSON(text)+`","tags":["сигнал","улици"],"position":{"lat":42.6977,"lon":23.3219}}`))
	case 3:
		return p.browser(jsonBody(map[string]any{"items": []any{map[string]any{"question": p.one(bgAsks...), "answer": text}, map[string]any{"question": 2, "answer": p.text(1)}}, "author": map[string]any{"name": p.name(), "address": p.one(bgTowns...) + ", " + p.one(bgStreets...)}}))
	}
	r := p.multipart([][2]string{{"message", text}, {"name", p.name()}, {"town", p.one(bgTowns...)}}, "", "", nil)
	return p.browser(r)
}

// login are the ways back from where people prove who they are.
func (p prose) login() *http.Request {
	switch p.IntN(4) {
	case 0:
		return p.browser(get("/auth/callback?" + url.Values{"code": {p.uuid() + "." + p.uuid()}, "state": {p.token(43)}, "session_state": {p.uuid()}, "iss": {"https://a.example/realms/main"}}.Encode()))
	case 1:
		saml := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><saml2p:Response xmlns:saml2p="urn:oasis:names:tc:SAML:2.0:protocol" Destination="https://a.example/saml/acs" ID="_%s" IssueInstant="2025-06-02T11:03:11.123Z" Version="2.0"><saml2:Issuer xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion">https://eauth.egov.example</saml2:Issuer><saml2p:Status><saml2p:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></saml2p:Status><saml2:EncryptedAssertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion"><xenc:EncryptedData xmlns:xenc="http://www.w3.org/2001/04/xmlenc#"><xenc:CipherData><xenc:CipherValue>%s</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></saml2:EncryptedAssertion><saml2:AttributeValue xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion">%s</saml2:AttributeValue></saml2p:Response>`, p.hex(32), base64.StdEncoding.EncodeToString(p.bytes(600)), p.one(bgNames[:8]...))
		return p.browser(form(url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(saml))}, "RelayState": {p.one("/profile", p.token(24))}}))
	case 2:
		return p.browser(form(url.Values{"grant_type": {"authorization_code"}, "code": {p.token(64)}, "client_id": {"portal"}, "code_verifier": {p.token(64)}, "redirect_uri": {"https://a.example/auth/callback"}}))
	}
	r := get("/api/me?fields=id,name,email&include=roles")
	r.Header.Set("X-Csrf-Token", p.token(40))
	r.Header.Set("X-Requested-With", "XMLHttpRequest")
	r = p.browser(r)
	r.Header.Set("Authorization", "Bearer "+p.jwt())
	return r
}

// multipart is a form with, if it has a name, a file.
func (p prose) multipart(fields [][2]string, file, kind string, content []byte) *http.Request {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.SetBoundary("----WebKitFormBoundary" + p.token(16))
	for _, f := range fields {
		w.WriteField(f[0], f[1])
	}
	if file != "" {
		part, _ := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="upload"; filename="%s"`, file)}, "Content-Type": {kind}})
		part.Write(content)
	}
	w.Close()
	return post(w.FormDataContentType(), b.String())
}

// upload are files, in forms and as they are.
func (p prose) upload() *http.Request {
	var file, kind string
	var content []byte
	switch p.IntN(4) {
	case 0:
		file, kind, content = p.one("бюджет 2025.csv", "schools.csv", "Регистър (окончателен).csv"), "text/csv", p.csv()
	case 1:
		file, kind, content = p.one("граници.geojson", "parcels_68134.geojson"), "application/geo+json", p.geoJSON()
	case 2:
		file, kind, content = p.one("Заявление-подписано.pdf", "skica 15-123456.pdf", "Нотариален акт № 12, том II.pdf"), "application/pdf", p.pdf()
	default:
		file, kind, content = p.one("документи.zip", "shape_2025-06.zip"), "application/zip", p.zip()
	}
	if p.IntN(3) > 0 {
		return p.browser(p.multipart([][2]string{{"_token", p.token(40)}, {"title", p.one(bgSubjects...)}, {"description", p.text(1)}}, file, kind, content))
	}
	r := post(kind, string(content))
	r.Method = p.one("PUT", "POST")
	r.Header.Set("Content-Disposition", "attachment; filename=data."+p.token(4))
	return p.program(r)
}

func (p prose) csv() []byte {
	var b strings.Builder
	b.WriteString("\ufeffид;име;адрес;население;забележка\r\n")
	for i := range 5 + p.IntN(60) {
		fmt.Fprintf(&b, "%d;\"%s\";\"%s, %s\";%d;%s\r\n", i, p.name(), p.one(bgTowns...), strings.ReplaceAll(p.one(bgStreets...), `"`, `""`), p.IntN(100000), p.plain())
	}
	return []byte(b.String())
}

func (p prose) geoJSON() []byte {
	var features []string
	for range 1 + p.IntN(20) {
		name, _ := json.Marshal(p.one(bgTowns...))
		features = append(features, fmt.Sprintf(`{"type":"Feature","id":"parcel.%d","geometry":{"type":"Polygon","coordinates":[[[23.3%d,42.6%d],[23.4,42.7],[23.5,42.8],[23.3%d,42.6%d]]]},"properties":{"ident":"68134.905.%d","name":%s,"area":%d.5,"use":"%s","owner":null}}`, p.IntN(999), p.IntN(999), p.IntN(999), p.IntN(999), p.IntN(999), p.IntN(9999), name, p.IntN(5000), p.one("Нива", "Ливада", "За паркинг/гараж", "Ниско застрояване (до 10 m)")))
	}
	return []byte(`{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::7801"}},"features":[` + strings.Join(features, ",\n") + "]}")
}

func (p prose) pdf() []byte {
	var b, z bytes.Buffer
	w := zlib.NewWriter(&z)
	fmt.Fprintf(w, "BT /F1 12 Tf 72 720 Td (%s) Tj ET\n%s", p.english(2), p.bytes(500+p.IntN(3000)))
	w.Close()
	fmt.Fprintf(&b, "%%PDF-1.7\n%%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R /Lang (bg-BG) >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595.28 841.89] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>\nendobj\n4 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n", z.Len())
	b.Write(z.Bytes())
	b.WriteString("\nendstream\nendobj\nxref\n0 6\n0000000000 65535 f\r\n0000000015 00000 n\r\ntrailer\n<< /Size 6 /Root 1 0 R /ID [<" + p.hex(32) + "><" + p.hex(32) + ">] >>\nstartxref\n1234\n%%EOF\n")
	return b.Bytes()
}

func (p prose) zip() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for range 1 + p.IntN(3) {
		f, _ := z.Create(p.one("parcels.shp", "parcels.dbf", "заявление.docx", "данни/readme.txt") + p.token(2))
		f.Write(p.bytes(200 + p.IntN(2000)))
		f.Write([]byte(p.text(3)))
	}
	z.Close()
	return b.Bytes()
}
