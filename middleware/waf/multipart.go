package waf

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// part is one part of a multipart body, as the rules know it.
type part struct {
	name, file string
	headers    []string // "Name: value"
	size       int
}

// readMultipart lists the fields and files of a multipart body. Parsers of
// frameworks differ widely in what they make of anything unusual, so only the
// plain form of RFC 7578 passes.
func (b *body) readMultipart(contentType string, raw []byte) error {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return badBody(ReasonMultipart, "the Content-Type can't be read")
	}
	if media != "multipart/form-data" {
		return badBody(ReasonMultipart, "%s is not inspected", media)
	}
	boundary := params["boundary"]
	if !plainBoundary(boundary) || strings.Contains(strings.ToLower(contentType), "boundary*") {
		return badBody(ReasonMultipart, "the boundary is missing or unusual")
	}
	if b.head {
		raw = wholeHeaders(raw, "--"+boundary)
	}
	strict := frames(raw, "--"+boundary, b.head)
	r := multipart.NewReader(bytes.NewReader(raw), boundary)
	for {
		p, err := r.NextRawPart()
		if err == io.EOF || b.head && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			break
		}
		if err != nil {
			return badBody(ReasonMultipart, "malformed")
		}
		name, file, err := disposition(p.Header["Content-Disposition"])
		if err != nil && strict == nil {
			strict = err
		}
		one := part{name: name, file: file}
		for key, values := range p.Header {
			for _, v := range values {
				one.headers = append(one.headers, key+": "+v)
			}
			if err := partHeader(key, values); err != nil && strict == nil {
				strict = err
			}
		}
		var content bytes.Buffer
		var into io.Writer = &content
		if file != "" { // no rule looks into files
			into = io.Discard
		}
		size, err := io.Copy(into, p)
		if err != nil && !(b.head && errors.Is(err, io.ErrUnexpectedEOF)) {
			return badBody(ReasonMultipart, "a part does not end")
		}
		one.size = int(size)
		if b.parts = append(b.parts, one); len(b.parts) > MaxArguments {
			return tooManyArguments(len(b.parts))
		}
		if file == "" {
			b.args = append(b.args, pair{name, content.String()})
		}
	}
	if strict == nil && len(b.parts) == 0 {
		strict = badBody(ReasonMultipart, "no part")
	}
	return strict
}

// wholeHeaders is the beginning of a body without the header of a part that it is
// cut off in.
func wholeHeaders(raw []byte, delimiter string) []byte {
	i := bytes.LastIndex(raw, []byte(delimiter))
	if i < 0 || bytes.Contains(raw[i:], []byte("\r\n\r\n")) || bytes.HasPrefix(raw[i+len(delimiter):], []byte("--")) {
		return raw
	}
	return raw[:i]
}

// plainBoundary: RFC 2046 5.1.1, without what some parsers trim or unquote.
func plainBoundary(s string) bool {
	if s == "" || len(s) > 70 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("'()+_,-./:=?", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// frames holds the lines between parts to the standard: no preamble, CRLF before
// and after each boundary, an end, and nothing behind it. The beginning of a body
// may end anywhere.
func frames(raw []byte, delimiter string, cut bool) error {
	if !bytes.HasPrefix(raw, []byte(delimiter)) {
		return badBody(ReasonMultipart, "it does not begin with the boundary")
	}
	rest := raw
	for first := true; ; first = false {
		i := bytes.Index(rest, []byte(delimiter))
		switch {
		case i < 0 && cut && !first:
			return nil
		case i < 0:
			return badBody(ReasonMultipart, "the last boundary is missing")
		case !first && (i < 2 || rest[i-1] != '\n' || rest[i-2] != '\r'):
			return badBody(ReasonMultipart, "a boundary that is not at the beginning of a line")
		}
		rest = rest[i+len(delimiter):]
		switch {
		case bytes.HasPrefix(rest, []byte("\r\n")):
		case bytes.HasPrefix(rest, []byte("--")):
			if tail := rest[2:]; len(tail) != 0 && string(tail) != "\r\n" && !(cut && string(tail) == "\r") {
				return badBody(ReasonMultipart, "something after the last boundary")
			}
			return nil
		default:
			return badBody(ReasonMultipart, "something behind a boundary")
		}
		head, _, ok := bytes.Cut(rest, []byte("\r\n\r\n"))
		if !ok {
			return badBody(ReasonMultipart, "the header of a part does not end")
		}
		for line := range bytes.SplitSeq(bytes.TrimPrefix(head, []byte("\r\n")), []byte("\r\n")) {
			if bytes.ContainsAny(line, "\r\n\x00") || len(line) == 0 || line[0] == ' ' || line[0] == '\t' {
				return badBody(ReasonMultipart, "an odd line in the header of a part")
			}
		}
	}
}

// disposition reads the name and file name of a part.
func disposition(values []string) (name, file string, err error) {
	if len(values) != 1 {
		if len(values) > 0 {
			_, params, _ := mime.ParseMediaType(values[0])
			name, file = params["name"], params["filename"]
		}
		return name, file, badBody(ReasonMultipart, "a part has not exactly one Content-Disposition")
	}
	v, long, err := withoutLongName(values[0])
	if err != nil {
		return name, file, err
	}
	kind, params, err := mime.ParseMediaType(v)
	name, file = params["name"], params["filename"]
	_, named := params["name"]
	low := strings.ToLower(v)
	switch {
	case err != nil:
		return name, file, badBody(ReasonMultipart, "a Content-Disposition that can't be read")
	case kind != "form-data" || !named:
		return name, file, badBody(ReasonMultipart, "a part without a name")
	case strings.Contains(low, "filename*") || strings.Contains(low, "name*"):
		return name, file, badBody(ReasonMultipart, "a file name in an encoding that programs read differently")
	case !plainParameters(v):
		return name, file, badBody(ReasonMultipart, "a Content-Disposition that programs read differently")
	case long != "" && long != file && long != decodedWords(file):
		return name, file, badBody(ReasonMultipart, "a file with two names")
	case strings.ContainsRune(file, 0) || strings.ContainsRune(name, 0):
		return name, file, badBody(ReasonMultipart, "a NUL in a name")
	case long != "":
		file = long
	}
	return name, file, nil
}

// longName is a file's name once more, as .NET's clients send it (RFC 5987).
var longName = regexp.MustCompile(`(?i); ?filename\*=utf-8''([^;\s"']+)$`)

// withoutLongName takes it off, for it has to be the same name: some programs know
// only the one, others prefer the other.
func withoutLongName(v string) (rest, name string, err error) {
	m := longName.FindStringSubmatchIndex(v)
	if m == nil {
		return v, "", nil
	}
	if name, err = url.PathUnescape(v[m[2]:m[3]]); err != nil || !strings.Contains(strings.ToLower(v[:m[0]]), "filename=") {
		return v, "", badBody(ReasonMultipart, "a file name in an encoding that programs read differently")
	}
	return v[:m[0]], name, nil
}

// decodedWords is a name without the encoding of RFC 2047.
func decodedWords(s string) string {
	out, err := new(mime.WordDecoder).DecodeHeader(s)
	if err != nil {
		return s
	}
	return out
}

// plainParameters: each parameter once, and a quoted value without a backslash,
// which parsers unescape or keep, and not before other text.
func plainParameters(v string) bool {
	_, rest, _ := strings.Cut(v, ";")
	seen := map[string]bool{}
	for rest = strings.TrimSpace(rest); rest != ""; {
		key, after, ok := strings.Cut(rest, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !ok || seen[key] || key != "name" && key != "filename" {
			return false
		}
		seen[key] = true
		if quoted, found := strings.CutPrefix(after, `"`); found {
			value, tail, ok := strings.Cut(quoted, `"`)
			if !ok || strings.Contains(value, `\`) {
				return false
			}
			rest = strings.TrimSpace(tail)
			if rest == "" {
				return true
			}
			if rest[0] != ';' {
				return false
			}
			rest = strings.TrimSpace(rest[1:])
			continue
		}
		_, rest, _ = strings.Cut(after, ";")
		rest = strings.TrimSpace(rest)
	}
	return true
}

// partHeader holds the other fields of a part to what RFC 7578 4.8 leaves.
func partHeader(key string, values []string) error {
	switch {
	case len(values) != 1:
		return badBody(ReasonMultipart, "a field stands twice in the header of a part")
	case key == "Content-Transfer-Encoding":
		switch strings.ToLower(values[0]) {
		case "7bit", "8bit", "binary":
			return nil
		}
		return badBody(ReasonMultipart, "a part with a transfer encoding")
	case key == "Content-Type" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(values[0])), "multipart/"):
		return badBody(ReasonMultipart, "a part that is multipart itself") // RFC 7578 4.3
	case key == "Content-Disposition", key == "Content-Type", key == "Content-Length":
		return nil
	}
	return badBody(ReasonMultipart, "an unusual field in the header of a part")
}

func (b *body) fillParts(v plugintypes.TransactionVariables) {
	total := 0
	for _, p := range b.parts {
		for _, h := range p.headers {
			v.MultipartPartHeaders().Add(apart(p.name), h)
		}
		v.MultipartName().Add(p.name, p.name)
		total += p.size
		if p.file == "" {
			continue
		}
		v.MultipartFilename().Add(p.name, p.file)
		v.Files().Add("", p.file)
		v.FilesNames().Add("", p.name)
		v.FilesSizes().SetIndex(p.file, 0, strconv.Itoa(p.size))
	}
	set(v.FilesCombinedSize(), strconv.Itoa(total))
}
