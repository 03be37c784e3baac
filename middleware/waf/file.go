package waf

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// fileTypes are types of documents, and what their bytes begin with. A body that
// says that it is one, and is, is no more for the rules than a file in a form: in
// bytes that are compressed they find anything.
var fileTypes = []struct {
	prefix string // of the type
	magic  []string
}{
	{"application/pdf", []string{"%PDF-"}},
	{"application/zip", []string{"PK\x03\x04", "PK\x05\x06"}}, {"application/x-zip", []string{"PK\x03\x04", "PK\x05\x06"}}, {"application/vnd.asic-e+zip", []string{"PK\x03\x04"}},
	{"application/vnd.openxmlformats-officedocument.", []string{"PK\x03\x04"}}, {"application/vnd.oasis.opendocument.", []string{"PK\x03\x04"}},
	{"application/geopackage+sqlite3", []string{"SQLite format 3\x00"}},
	{"image/png", []string{"\x89PNG\r\n\x1a\n"}}, {"image/jpeg", []string{"\xff\xd8\xff"}}, {"image/tiff", []string{"II*\x00", "MM\x00*", "II+\x00", "MM\x00+"}},
}

// isFile reports whether a body is a document of the type that it names.
func isFile(contentType string, b []byte) bool {
	t := strings.ToLower(strings.TrimSpace(contentType))
	for _, f := range fileTypes {
		if !strings.HasPrefix(t, f.prefix) {
			continue
		}
		for _, m := range f.magic {
			if bytes.HasPrefix(b, []byte(m)) {
				return true
			}
		}
	}
	return false
}

// csvArguments lists the cells of a table, each under its place: a cell is what a
// field of a form is. Separators are those that spreadsheets write; which one is
// meant makes no difference for what a cell can hold, so the most frequent one of
// the first line counts.
func csvArguments(b []byte) (out []pair, err error) {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return []pair{{"csv", string(b)}}, nil // in an older encoding: as one value
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	first, _, _ := strings.Cut(text, "\n")
	separator := ","
	for _, s := range []string{";", "\t"} {
		if strings.Count(first, s) > strings.Count(first, separator) {
			separator = s
		}
	}
	row := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		for column := 0; line != ""; column++ {
			var cell string
			if cell, line = nextCell(line, separator); cell == "" {
				continue
			}
			if len(out) == maxJSONValues {
				return out, &Refusal{http.StatusRequestEntityTooLarge, ReasonArguments, "more cells of a table than are inspected"}
			}
			out = append(out, pair{"csv." + strconv.Itoa(row) + "." + strconv.Itoa(column), cell})
		}
		row++
	}
	return out, nil
}

// nextCell cuts off the next cell of a line. A quoted one that goes on in the
// next line ends with this one.
func nextCell(line, separator string) (cell, rest string) {
	if !strings.HasPrefix(line, `"`) {
		cell, rest, _ = strings.Cut(line, separator)
		return cell, rest
	}
	for i := 1; i < len(line); i++ {
		if line[i] != '"' {
			continue
		}
		if i+1 < len(line) && line[i+1] == '"' {
			i++
			continue
		}
		cell = strings.ReplaceAll(line[1:i], `""`, `"`)
		after, rest, _ := strings.Cut(line[i+1:], separator)
		return cell + after, rest
	}
	return strings.ReplaceAll(line[1:], `""`, `"`), ""
}
