package waf

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// Refusal is a body that is refused before any rule is asked, for it could be
// read in more than one way, or not be inspected whole. Reason is a stable word.
type Refusal struct {
	Status         int
	Reason, Detail string
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }

// Reasons of refusals. Each has a text for people in package middleware.
const (
	ReasonArguments = "inspection_arguments" // more arguments than are inspected
	ReasonJSON      = "inspection_json"      // not JSON, or JSON with two readings
	ReasonXML       = "inspection_xml"       // not XML that is well-formed
	ReasonXMLUnsafe = "inspection_xml_unsafe"
	ReasonMultipart = "inspection_multipart"
	ReasonDepth     = "inspection_depth"
	ReasonEncoding  = "inspection_encoding" // a content coding that is not inspected
	ReasonExpansion = "inspection_expansion"
	ReasonGRPC      = "inspection_grpc" // not messages of gRPC
)

func badBody(reason, format string, args ...any) *Refusal {
	return &Refusal{http.StatusBadRequest, reason, fmt.Sprintf(format, args...)}
}

// kind is how a body is read.
type kind string

// The kinds, by the names that the rules know them by.
const (
	kindForm      kind = "URLENCODED"
	kindMultipart kind = "MULTIPART"
	kindJSON      kind = "JSON"
	kindXML       kind = "XML"
	kindGRPC      kind = "GRPC" // one message
	kindOther     kind = ""     // bytes; the rules see them as a form as well
)

// kindOf is the kind that a Content-Type stands for. Type names are matched
// loosely, so that what an upstream might still parse is parsed here.
func kindOf(contentType string) kind {
	t := strings.ToLower(strings.TrimSpace(contentType))
	switch {
	case IsGRPC(t):
		return kindGRPC
	case strings.HasPrefix(t, "application/x-www-form-urlencoded"):
		return kindForm
	case strings.HasPrefix(t, "multipart/"):
		return kindMultipart
	}
	main, _, _ := strings.Cut(t, ";")
	main = strings.TrimSpace(main)
	family, sub, _ := strings.Cut(main, "/")
	if family != "application" && family != "text" && family != "model" && family != "image" {
		return kindOther
	}
	switch {
	case strings.HasPrefix(sub, "json"), strings.HasSuffix(sub, "+json"), sub == "x-json", sub == "csp-report":
		return kindJSON
	case strings.HasPrefix(sub, "xml"), strings.HasSuffix(sub, "+xml"):
		return kindXML
	}
	return kindOther
}

// Accept lists constructs of XML that a route lets through although they are
// dangerous in many parsers.
type Accept struct {
	Doctype, SchemaLocation, XInclude bool
	Latin                             bool   // of ASCII alone
	Host                              string // the service's own, as the client calls it
}

// body is what was read of one body, for the rules' variables.
type body struct {
	kind      kind
	args      []pair
	attrs     []string // of XML
	texts     []string // of XML
	parts     []part   // of multipart
	form      string   // what REQUEST_BODY holds
	plainSize int      // bytes after decompression
	head      bool     // more follows
}

type pair struct{ key, value string }

// readBody reads b as what contentType says. What it returns holds, also with an
// error, what could be read until then. head says that b is only the beginning of
// a body, which ends anywhere; what stands before has to be in order all the same.
func readBody(contentType string, b []byte, accept Accept, head bool) (*body, error) {
	out := &body{kind: kindOf(contentType), plainSize: len(b), head: head}
	var err error
	switch out.kind {
	case kindOther:
		if isFile(contentType, b) {
			break // what a form's files are: not for the rules
		}
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), "text/csv") {
			out.args, err = csvArguments(b)
			break
		}
		fallthrough
	case kindForm:
		out.form = string(b)
		if n := bytes.Count(b, []byte("&")) + 1; out.kind == kindForm && n > MaxArguments {
			err = tooManyArguments(n)
		} else if n <= MaxArguments {
			out.args = formArguments(out.form)
		}
	case kindMultipart:
		err = out.readMultipart(contentType, b)
	case kindJSON:
		out.args, err = jsonArguments(b, head)
	case kindXML:
		err = out.readXML(b, accept)
	case kindGRPC:
		out.args, err = messageArguments(b)
	}
	return out, err
}

// wholeRunes is b without a character that its end cuts off.
func wholeRunes(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

func tooManyArguments(n int) *Refusal {
	return badBody(ReasonArguments, "%d arguments; at most %d are inspected", n, MaxArguments)
}

// formArguments reads a form or a query. What is wrongly encoded stands as it
// is, which is what lenient upstreams make of it.
func formArguments(s string) []pair {
	out := make([]pair, 0, strings.Count(s, "&")+1)
	for one := range strings.SplitSeq(s, "&") {
		if one == "" {
			continue
		}
		key, value, _ := strings.Cut(one, "=")
		out = append(out, pair{unescape(key), unescape(value)})
	}
	return out
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

// fill sets the rules' variables.
func (b *body) fill(v plugintypes.TransactionVariables) {
	set(v.RequestBodyProcessor(), string(b.kind))
	switch b.kind {
	case kindForm, kindOther:
		if b.kind == kindOther && b.form == "" {
			break // a file, or a table
		}
		set(v.RequestBodyProcessor(), string(kindForm))
		set(v.RequestBody(), b.form)
		set(v.RequestBodyLength(), strconv.Itoa(len(b.form)))
	case kindMultipart:
		b.fillParts(v)
	}
	for _, a := range b.attrs {
		v.RequestXML().Add(apart("//@*"), a)
	}
	for _, t := range b.texts { // also of XML that a value decoded to
		v.RequestXML().Add(apart("/*"), t)
	}
	args := v.ArgsPost()
	for _, a := range b.args {
		args.Add(apart(a.key), a.value)
	}
}

// set sets a variable of one value. The engine's interface only reads; its types
// have had Set in every release, and a test holds them to it.
func set(v any, value string) {
	v.(interface{ Set(string) }).Set(value)
}

// asRefusal is err if it is a Refusal.
func asRefusal(err error) *Refusal {
	var r *Refusal
	errors.As(err, &r)
	return r
}
