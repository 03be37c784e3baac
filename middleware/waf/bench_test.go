package waf

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// classes are requests of the kinds that the gateway is for.
func classes() []struct {
	name string
	r    *Request
} {
	sentence := "Заявление за издаване на удостоверение за наследници, ул. Иван Вазов № 12, "
	record := func(i int) string {
		return fmt.Sprintf(`{"id":%d,"name":"Иван Петров %d","city":"Sofia","address":"bul. Vitosha %d, ap. 4","active":true,"amount":%d.25,"date":"2026-03-%02d","note":"Needs review by the department (second floor)"}`, i, i, i, i*3, i%28+1)
	}
	var records []string
	for i := range 400 {
		records = append(records, record(i))
	}
	small, large := "["+strings.Join(records[:11], ",")+"]", "["+strings.Join(records[:330], ",")+"]"
	soap := `<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><r:Request xmlns:r="urn:registry">` +
		strings.Repeat("<r:Person><r:Name>Мария Иванова</r:Name><r:Number>1234</r:Number><r:Address>гр. Пловдив, ул. Гладстон 3</r:Address></r:Person>", 45) + `</r:Request></soap:Body></soap:Envelope>`
	wfs := `<wfs:GetFeature service="WFS" version="2.0.0" xmlns:wfs="http://www.opengis.net/wfs/2.0" xmlns:fes="http://www.opengis.net/fes/2.0"><wfs:Query typeNames="app:Parcel"><fes:Filter><fes:And><fes:PropertyIsEqualTo><fes:ValueReference>municipality</fes:ValueReference><fes:Literal>Самоков</fes:Literal></fes:PropertyIsEqualTo><fes:PropertyIsGreaterThan><fes:ValueReference>area</fes:ValueReference><fes:Literal>1000</fes:Literal></fes:PropertyIsGreaterThan></fes:And></fes:Filter></wfs:Query></wfs:GetFeature>`
	const boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
	multi := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n" + sentence + "\r\n--" + boundary +
		"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"plan.pdf\"\r\nContent-Type: application/pdf\r\n\r\n" + strings.Repeat("%PDF binary \x00\x01\x02", 65_000) + "\r\n--" + boundary + "--\r\n"
	return []struct {
		name string
		r    *Request
	}{
		{"GET_3_parameters", testRequest("/api/3/action/package_search?q=budget+2026&rows=20&sort=metadata_modified+desc", "", "")},
		{"GET_3_parameters_Cyrillic", testRequest("/api/3/action/package_search?q=%D0%B1%D1%8E%D0%B4%D0%B6%D0%B5%D1%82&rows=20&organization=%D0%A1%D0%BE%D1%84%D0%B8%D1%8F", "", "")},
		{"WMS_GetMap", testRequest("/wms?SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS=cadastre%3Aparcels,roads&STYLES=&CRS=EPSG%3A4326&BBOX=42.60,23.20,42.75,23.45&WIDTH=768&HEIGHT=512&FORMAT=image%2Fpng&TRANSPARENT=TRUE", "", "")},
		{"JSON_2_KiB", testRequest("/api/records", "application/json", small)},
		{"JSON_64_KiB", testRequest("/api/records", "application/json", large)},
		{"form_1_KiB", testRequest("/apply", "application/x-www-form-urlencoded", "name=Maria+Ivanova&text="+strings.Repeat(strings.ReplaceAll("I would like to apply for a certificate, ", " ", "+"), 22)+"&agree=1")},
		{"form_1_KiB_Cyrillic", testRequest("/apply", "application/x-www-form-urlencoded", "name=Мария+Иванова&text="+strings.Repeat(strings.ReplaceAll(sentence, " ", "+"), 7)+"&agree=1")},
		{"SOAP_8_KiB", testRequest("/soap", "text/xml; charset=utf-8", soap)},
		{"WFS_filter", testRequest("/wfs", "application/xml", wfs)},
		{"CKAN_SQL", testRequest("/api/3/action/datastore_search_sql?sql=SELECT+name,+amount+from+%22budget%22+LIMIT+10", "", "")},
		{"multipart_1_MiB", testRequest("/upload", "multipart/form-data; boundary="+boundary, multi)},
	}
}

// TestScreenChangesNothing: each class has the same result either way, at every
// level of paranoia.
func TestScreenChangesNothing(t *testing.T) {
	t.Parallel()
	for _, paranoia := range []int{1, 4} {
		rs := testRuleset(t, Settings{Paranoia: paranoia})
		for _, c := range classes() {
			if c.name != "JSON_64_KiB" { // the engine alone takes seconds
				same(t, rs, c.r)
			}
		}
	}
}

// BenchmarkInspection compares the engine behind the screen with the engine alone
// in one run: the ratio for each class, and the geometric mean.
func BenchmarkInspection(b *testing.B) {
	for paranoia := 1; paranoia <= 2; paranoia++ {
		rs := testRuleset(b, Settings{Paranoia: paranoia})
		sum, n := 0.0, 0
		for _, c := range classes() {
			b.Run(fmt.Sprintf("paranoia_%d/%s", paranoia, c.name), func(b *testing.B) {
				b.ReportAllocs()
				var with, without time.Duration
				rs.run(c.r, rs.screened)
				start := time.Now()
				rs.run(c.r, nil)
				rounds := max(1, int(40*time.Millisecond/(time.Since(start)+1)))
				for b.Loop() {
					start := time.Now()
					for range rounds {
						rs.run(c.r, rs.screened)
					}
					middle := time.Now()
					for range rounds {
						rs.run(c.r, nil)
					}
					with, without = with+middle.Sub(start), without+time.Since(middle)
				}
				per := float64(b.N * rounds)
				b.ReportMetric(float64(with.Microseconds())/per, "µs-screened")
				b.ReportMetric(float64(without.Microseconds())/per, "µs-plain")
				b.ReportMetric(float64(with)/float64(without), "ratio")
				sum, n = sum+math.Log(float64(with)/float64(without)), n+1
			})
		}
		b.Logf("paranoia %d: geometric mean of the ratios %.3f", paranoia, math.Exp(sum/float64(n)))
	}
}
