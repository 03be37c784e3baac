package middleware

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// fileType is one of the types that files may have.
type fileType struct {
	extensions []string
	media      []string // besides application/octet-stream, which says nothing
	// is reports whether content begins as files of the type do. b is at least the
	// first sniffed bytes of it, or all.
	is   func(b []byte) bool
	text bool // all of it is text
}

// sniffed is how much of a file its type is told by.
const sniffed = 4 << 10

// FileTypes lists the types that files may be held to.
func FileTypes() []string { return slices.Sorted(maps.Keys(fileTypes)) }

// fileTypes are the types by name. It is never changed.
var fileTypes = map[string]fileType{
	"pdf":  {ext("pdf"), ext("application/pdf"), begins("%PDF-"), false},
	"png":  {ext("png"), ext("image/png"), begins("\x89PNG\r\n\x1a\n"), false},
	"jpeg": {ext("jpg", "jpeg", "jpe"), ext("image/jpeg", "image/jpg", "image/pjpeg"), begins("\xff\xd8\xff"), false},
	"gif":  {ext("gif"), ext("image/gif"), begins("GIF87a", "GIF89a"), false},
	"webp": {ext("webp"), ext("image/webp"), func(b []byte) bool { return begins("RIFF")(b) && len(b) >= 12 && string(b[8:12]) == "WEBP" }, false},
	"tiff": {ext("tif", "tiff"), ext("image/tiff", "image/geotiff"), begins("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"), false},
	"zip":  {ext("zip", "kmz"), ext("application/zip", "application/x-zip-compressed", "application/x-zip", "application/vnd.google-earth.kmz"), begins("PK\x03\x04", "PK\x05\x06"), false},
	"gzip": {ext("gz", "tgz"), ext("application/gzip", "application/x-gzip", "application/x-compressed-tar"), begins("\x1f\x8b\x08"), false},
	"docx": {ext("docx"), ext("application/vnd.openxmlformats-officedocument.wordprocessingml.document"), office("word/"), false},
	"xlsx": {ext("xlsx"), ext("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"), office("xl/"), false},
	"pptx": {ext("pptx"), ext("application/vnd.openxmlformats-officedocument.presentationml.presentation"), office("ppt/"), false},
	"odt":  {ext("odt"), ext("application/vnd.oasis.opendocument.text"), packaged("application/vnd.oasis.opendocument.text"), false},
	"ods":  {ext("ods"), ext("application/vnd.oasis.opendocument.spreadsheet"), packaged("application/vnd.oasis.opendocument.spreadsheet"), false},
	"odp":  {ext("odp"), ext("application/vnd.oasis.opendocument.presentation"), packaged("application/vnd.oasis.opendocument.presentation"), false},
	"asice": {ext("asice", "sce", "asics", "scs"), ext("application/vnd.etsi.asic-e+zip", "application/vnd.etsi.asic-s+zip"), // signed containers (EN 319 162)
		packaged("application/vnd.etsi.asic-"), false},
	"doc":  {ext("doc"), ext("application/msword"), begins(compound), false},
	"xls":  {ext("xls"), ext("application/vnd.ms-excel"), begins(compound), false},
	"rtf":  {ext("rtf"), ext("application/rtf", "text/rtf"), begins("{\\rtf"), true},
	"gpkg": {ext("gpkg"), ext("application/geopackage+sqlite3", "application/vnd.sqlite3", "application/x-sqlite3"), begins("SQLite format 3\x00"), false},
	// Signatures (RFC 5652): a DER or BER sequence.
	"p7m": {ext("p7m", "p7s", "p7b"), ext("application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-signature", "application/x-pkcs7-certificates"),
		func(b []byte) bool { return len(b) > 1 && b[0] == 0x30 && b[1] >= 0x80 && b[1] <= 0x84 }, false},
	"csv":     {ext("csv", "tsv"), ext("text/csv", "text/plain", "text/tab-separated-values", "application/csv", "application/vnd.ms-excel"), plainText, true},
	"txt":     {ext("txt"), ext("text/plain"), plainText, true},
	"json":    {ext("json"), ext("application/json", "text/json", "text/plain"), func(b []byte) bool { c := firstOf(b); return c == '{' || c == '[' }, true},
	"geojson": {ext("geojson", "json"), ext("application/geo+json", "application/json", "application/vnd.geo+json", "text/plain"), geoJSON, true},
	"xml":     {ext("xml", "xsd", "gpx"), ext("application/xml", "text/xml", "application/gpx+xml"), xmlText(""), true},
	"gml":     {ext("gml", "xml"), ext("application/gml+xml", "application/xml", "text/xml"), xmlText("opengis.net/gml"), true},
	"kml":     {ext("kml"), ext("application/vnd.google-earth.kml+xml", "application/xml", "text/xml"), xmlText("/kml/"), true},
}

// compound is how files of the older office programs begin.
const compound = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

func ext(s ...string) []string { return s }

func begins(with ...string) func([]byte) bool {
	return func(b []byte) bool {
		return slices.ContainsFunc(with, func(w string) bool { return bytes.HasPrefix(b, []byte(w)) })
	}
}

// zipEntry is the name of a ZIP file's first entry, and what follows it.
func zipEntry(b []byte) (name, rest string) {
	if !bytes.HasPrefix(b, []byte("PK\x03\x04")) || len(b) < 30 {
		return "", ""
	}
	n, extra := int(b[26])|int(b[27])<<8, int(b[28])|int(b[29])<<8
	if 30+n+extra > len(b) {
		return "", ""
	}
	return string(b[30 : 30+n]), string(b[30+n+extra:])
}

// office tells Office Open XML by its first entry. Where that is one that all of
// them have, an entry in the folder of the type has to be near; programs that write
// it late are taken at their word.
func office(folder string) func([]byte) bool {
	return func(b []byte) bool {
		name, _ := zipEntry(b)
		switch {
		case strings.HasPrefix(name, folder):
			return true
		case name == "[Content_Types].xml", strings.HasPrefix(name, "_rels/"), strings.HasPrefix(name, "docProps/"), strings.HasPrefix(name, "customXml/"):
		default:
			return false
		}
		for _, other := range []string{"word/", "xl/", "ppt/"} {
			if other != folder && bytes.Contains(b, []byte(other)) && !bytes.Contains(b, []byte(folder)) {
				return false
			}
		}
		return true
	}
}

// packaged tells formats whose first entry is their type, uncompressed.
func packaged(media string) func([]byte) bool {
	return func(b []byte) bool {
		name, rest := zipEntry(b)
		return name == "mimetype" && strings.HasPrefix(rest, media)
	}
}

// plainText is text that no program takes for another type.
func plainText(b []byte) bool {
	if !textBytes(b) || firstOf(b) == '<' || bytes.HasPrefix(b, []byte("#!")) {
		return false
	}
	for _, f := range disguises {
		if f(b) {
			return false
		}
	}
	return !bytes.Contains(bytes.ToLower(b), []byte("<?php")) && !bytes.Contains(bytes.ToLower(b), []byte("<script"))
}

// disguises are other types that begin with what could be text.
var disguises = []func([]byte) bool{begins("%PDF-", "GIF8", "{\\rtf", "PK\x03\x04", "MZ", "SQLite format 3", "%!PS", "RIFF")}

// textBytes reports whether bytes may be text in any encoding that extends ASCII.
func textBytes(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b || c == 0x7f {
			return false
		}
	}
	return true
}

// firstOf is the first character that is no space, or 0.
func firstOf(b []byte) byte {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func geoJSON(b []byte) bool {
	return firstOf(b) == '{' && (bytes.Contains(b, []byte(`"type"`)) || len(b) >= sniffed) && utf8.Valid(trimRune(b))
}

// trimRune is b without a character that its end cuts off.
func trimRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// xmlText is XML that is no page for browsers, and that names a namespace.
func xmlText(space string) func([]byte) bool {
	return func(b []byte) bool {
		low := bytes.ToLower(b)
		for _, bad := range []string{"<html", "<!doctype html", "<script", "<svg", "<?php", "http://www.w3.org/1999/xhtml"} {
			if bytes.Contains(low, []byte(bad)) {
				return false
			}
		}
		return firstOf(b) == '<' && bytes.Contains(b, []byte(space))
	}
}

// runnable are extensions that make servers run a file, also where another one
// follows.
var runnable = map[string]bool{
	"php": true, "php3": true, "php4": true, "php5": true, "php7": true, "php8": true, "phtml": true, "phar": true, "phps": true, "pht": true,
	"jsp": true, "jspx": true, "asp": true, "aspx": true, "ashx": true, "asa": true, "cer": true, "cgi": true, "fcgi": true, "cfm": true, "shtml": true, "htaccess": true,
}

// fileExtension is the extension of a file's name, in lower case. It reports false
// for a name that could be more than one: of a folder, or of a program.
func fileExtension(name string) (string, bool) {
	if !utf8.ValidString(name) || len(name) > 255 || strings.ContainsAny(name, "/\\:*?\"<>|") || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 // controls, also of direction
	}) {
		return "", false
	}
	parts := strings.Split(strings.ToLower(name), ".")
	last := parts[len(parts)-1]
	if len(parts) == 1 {
		return "", true
	}
	for _, p := range parts[1:] {
		if runnable[strings.TrimSpace(p)] {
			return "", false
		}
	}
	return last, last != "" && strings.TrimSpace(last) == last
}
