package waf

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Messages of gRPC are Protocol Buffers, whose wire format tells where texts are
// without the description of a service: they are listed under the numbers of their
// fields, such as grpc.1.3.

// IsGRPC reports whether a body is a stream of messages, each with its length before
// it.
func IsGRPC(contentType string) bool {
	main, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch strings.TrimSpace(main) {
	case "application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpc-web+proto":
		return true
	}
	return false
}

// Wire types of Protocol Buffers. Groups are long gone.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// messageArguments lists the texts of one message. What a field of bytes is, text, a
// message or neither, is not told by the wire: it is taken for all that it can be.
func messageArguments(b []byte) ([]pair, error) {
	m := &messageReader{path: []byte("grpc")}
	if len(b) > 0 && printable(string(b)) { // for an upstream that speaks something else
		m.out = append(m.out, pair{"grpc", string(b)})
	}
	if !m.fields(b, 0) {
		return m.out, badBody(ReasonGRPC, "not a message")
	}
	switch {
	case m.over:
		return m.out, badBody(ReasonArguments, "more fields of a message than are inspected")
	case m.deep:
		return m.out, badBody(ReasonDepth, "a message deeper than %d", maxMessageDepth)
	}
	return m.out, nil
}

type messageReader struct {
	path []byte
	out  []pair
	over bool
	deep bool
}

// maxMessageDepth bounds messages within messages.
const maxMessageDepth = 32

// fields reads a message. It reports false for what is none.
func (m *messageReader) fields(b []byte, depth int) bool {
	base := len(m.path)
	defer func() { m.path = m.path[:base] }()
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return false
		}
		b = b[n:]
		size := 0
		switch tag & 7 {
		case wireVarint:
			if _, size = binary.Uvarint(b); size <= 0 {
				return false
			}
		case wire64:
			size = 8
		case wire32:
			size = 4
		case wireBytes:
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return false
			}
			b = b[n:]
			size = int(length)
			m.path = strconv.AppendUint(append(m.path[:base], '.'), tag>>3, 10)
			m.field(b[:size], depth)
			m.path = m.path[:base]
		default:
			return false
		}
		if size > len(b) {
			return false
		}
		b = b[size:]
	}
	return true
}

// field lists what a field of bytes holds: as text, and as a message if it can be one.
func (m *messageReader) field(b []byte, depth int) {
	if len(b) == 0 {
		return
	}
	if len(m.out) >= maxJSONValues {
		m.over = true
		return
	}
	if depth == maxMessageDepth {
		m.deep = true
		return
	}
	before := len(m.out)
	message := m.fields(b, depth+1)
	if !message {
		m.out = m.out[:before]
	}
	// Numbers alone look like control characters, but a message of them is no text.
	if printable(string(b)) || !message && utf8.Valid(b) {
		m.out = append(m.out, pair{string(m.path), string(b)})
	}
}
