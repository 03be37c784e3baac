package main

import (
	"fmt"
	"net/url"
	"strings"
)

// class is a kind of request that government services get.
type class struct {
	name, path, kind, body string
}

// classes are those that inspection is measured with, in Latin and in Cyrillic.
func classes() (out []class) {
	for _, script := range []struct{ name, word, sentence, person string }{
		{"Latin", "budget", "I would like to apply for a certificate of residence, 12 Main Street. ", "Maria Ivanova"},
		{"Cyrillic", "бюджет", "Заявление за издаване на удостоверение за наследници, ул. Иван Вазов № 12. ", "Мария Иванова"},
	} {
		q := url.QueryEscape
		record := func(i int) string {
			return fmt.Sprintf(`{"id":%d,"name":"%s","address":"%s","active":true,"amount":%d.25,"date":"2026-03-%02d"}`, i, script.person, script.sentence, i*3, i%28+1)
		}
		json := func(size int) string {
			var records []string
			for i, n := 0, 0; n < size; i++ {
				records = append(records, record(i))
				n += len(records[i]) + 1
			}
			return "[" + strings.Join(records, ",") + "]"
		}
		soap := `<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><r:Request xmlns:r="urn:registry">`
		for len(soap) < 8<<10 {
			soap += "<r:Person><r:Name>" + script.person + "</r:Name><r:Number>1234</r:Number><r:Address>" + script.sentence + "</r:Address></r:Person>"
		}
		soap += "</r:Request></soap:Body></soap:Envelope>"
		filter := `<wfs:GetFeature service="WFS" version="2.0.0" xmlns:wfs="http://www.opengis.net/wfs/2.0" xmlns:fes="http://www.opengis.net/fes/2.0"><wfs:Query typeNames="app:Parcel"><fes:Filter><fes:And><fes:PropertyIsEqualTo>` +
			`<fes:ValueReference>municipality</fes:ValueReference><fes:Literal>` + script.word + `</fes:Literal></fes:PropertyIsEqualTo><fes:PropertyIsGreaterThan><fes:ValueReference>area</fes:ValueReference><fes:Literal>1000</fes:Literal></fes:PropertyIsGreaterThan></fes:And></fes:Filter></wfs:Query></wfs:GetFeature>`
		form := "name=" + q(script.person) + "&agree=1&text="
		for len(form) < 1<<10 {
			form += q(script.sentence)
		}
		const boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
		upload := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n" + script.sentence + "\r\n--" + boundary +
			"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"plan.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.7\n" + strings.Repeat("0123456789abcdef\n", 1<<20/17) + "\r\n--" + boundary + "--\r\n"
		for _, c := range []class{
			{"GET, 3 parameters", "/api/3/action/package_search?q=" + q(script.word) + "&rows=20&sort=metadata_modified+desc", "", ""},
			{"WMS GetMap", "/wms?SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS=" + q(script.word) + ",roads&STYLES=&CRS=EPSG%3A4326&BBOX=42.60,23.20,42.75,23.45&WIDTH=768&HEIGHT=512&FORMAT=image%2Fpng&TRANSPARENT=TRUE", "", ""},
			{"JSON 2 KiB", "/api/records", "application/json", json(2 << 10)},
			{"JSON 64 KiB", "/api/records", "application/json", json(64 << 10)},
			{"form 1 KiB", "/apply", "application/x-www-form-urlencoded", form},
			{"SOAP 8 KiB", "/soap", "text/xml; charset=utf-8", soap},
			{"WFS filter", "/wfs", "application/xml", filter},
			{"CKAN SQL", "/api/3/action/datastore_search_sql?sql=" + q(`SELECT name, amount from "`+script.word+`" LIMIT 10`), "", ""},
			{"multipart 1 MiB", "/upload", "multipart/form-data; boundary=" + boundary, upload},
		} {
			c.name += ", " + script.name
			out = append(out, c)
		}
	}
	return out
}

// raw is the request, byte for byte.
func (c class) raw() []byte {
	if c.body == "" {
		return rawRequest(c.path)
	}
	return []byte("POST " + c.path + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(reqHeaders, "\r\n") +
		fmt.Sprintf("\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", c.kind, len(c.body), c.body))
}
