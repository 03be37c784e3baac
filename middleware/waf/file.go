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
	row, column := 0, 0
	for text != "" {
		var cell string
		var last bool
		if cell, text, last = nextCell(text, separator[0]); cell != "" {
			if len(out) == maxJSONValues {
				return out, &Refusal{http.StatusRequestEntityTooLarge, ReasonArguments, "more cells of a table than are inspected"}
			}
			out = append(out, pair{"csv." + strconv.Itoa(row) + "." + strconv.Itoa(column), cell})
		}
		if column++; last {
			row, column = row+1, 0
		}
	}
	return out, nil
}

// nextCell cuts off the next cell; last reports that its row ends with it. A
// quotation that does not end goes on to the end of the table.
func nextCell(text string, separator byte) (cell, rest string, last bool) {
	quoted := ""
	if text[0] == '"' {
		i := 1
		for ; i < len(text); i++ {
			if text[i] != '"' {
				continue
			}
			if i+1 == len(text) || text[i+1] != '"' {
				break
			}
			i++
		}
		quoted = strings.ReplaceAll(text[1:min(i, len(text))], `""`, `"`)
		text = text[min(i+1, len(text)):]
	}
	i := strings.IndexAny(text, string(separator)+"\n")
	if i < 0 {
		return quoted + strings.TrimRight(text, "\r"), "", true
	}
	if text[i] == separator {
		return quoted + text[:i], text[i+1:], false
	}
	return quoted + strings.TrimRight(text[:i], "\r"), text[i+1:], true
}
