package scan

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
)

// Documents carry files as Base64 (RFC 4648): in values of JSON, elements of XML,
// fields of forms. Scanners see letters there, so files are taken out for them.

// ErrManyEmbedded is a document with more of them than are scanned.
var ErrManyEmbedded = errors.New("more embedded files than are scanned")

const (
	minEmbedded = 80   // letters; fewer are names and numbers, and hold no file
	maxEmbedded = 1000 // in one document
	minLine     = 40   // letters of a line that may go on in the next one
)

// Embedded calls each with every file that text holds in Base64, decoded, in either
// alphabet, in lines and as JSON, XML and forms write it. What is not read of a file
// is passed over. Text is never held whole.
func Embedded(text io.Reader, each func(file io.Reader) error) error {
	b := bufio.NewReaderSize(text, 64<<10)
	for n := 0; ; {
		ahead, err := b.Peek(8 * minEmbedded)
		if len(ahead) == 0 {
			if err == io.EOF {
				return nil
			}
			return err
		}
		// A file begins with a letter behind something else, or at the beginning.
		if c, size := unit(ahead); !isLetter(c) {
			b.Discard(size)
			continue
		}
		if !promising(ahead) {
			skipWord(b, ahead)
			continue
		}
		if n++; n > maxEmbedded {
			return ErrManyEmbedded
		}
		f := &embedded{from: b}
		if err := each(f); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			return err
		}
	}
}

// letters are the values of Base64's letters, of both alphabets; others are 0xff.
var letters = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

func isLetter(c byte) bool { return letters[c] != 0xff }

// skipWord passes over letters that are no file.
func skipWord(b *bufio.Reader, ahead []byte) {
	n := 0
	for n < len(ahead) {
		c, size := unit(ahead[n:])
		if !isLetter(c) {
			break
		}
		n += size
	}
	b.Discard(max(n, 1))
}

// unit is the next character of a document, and how many bytes it is written in: as
// it stands, or as forms, JSON and XML write it.
func unit(b []byte) (c byte, size int) {
	switch b[0] {
	case '%':
		if len(b) > 2 && hexOf(b[1:3]) >= 0 {
			return byte(hexOf(b[1:3])), 3
		}
	case '\\':
		if len(b) > 5 && b[1] == 'u' && b[2] == '0' && b[3] == '0' && hexOf(b[4:6]) >= 0 {
			return byte(hexOf(b[4:6])), 6
		}
		if len(b) > 1 {
			switch b[1] {
			case 'n', 'r':
				return '\n', 2
			case 't':
				return '\t', 2
			case '/':
				return '/', 2
			}
		}
	case '&':
		if len(b) > 3 && b[1] == '#' {
			if end := bytes.IndexByte(b[:min(len(b), 10)], ';'); end > 2 {
				digits, base := string(b[2:end]), 10
				if digits[0]|0x20 == 'x' {
					digits, base = digits[1:], 16
				}
				if n, err := strconv.ParseUint(digits, base, 8); err == nil {
					return byte(n), end + 1
				}
			}
		}
	}
	return b[0], 1
}

func hexOf(b []byte) int {
	n, err := strconv.ParseUint(string(b), 16, 8)
	if err != nil {
		return -1
	}
	return int(n)
}

// promising looks ahead: enough letters for a file, and not only digits of hex.
func promising(ahead []byte) bool {
	f := &embedded{ahead: ahead}
	hex := true
	for range minEmbedded {
		c, ok := f.letter()
		if !ok {
			return false
		}
		hex = hex && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
	}
	return !hex
}

// embedded is one file: letters, decoded as they are read.
type embedded struct {
	from  *bufio.Reader // or, to look ahead only,
	ahead []byte
	line  int // letters since the last break
	quad  [4]byte
	n     int
	ended bool
	err   error
}

// Read implements io.Reader.
func (f *embedded) Read(p []byte) (n int, err error) {
	for n+3 <= len(p) && !f.ended {
		c, ok := f.letter()
		if ok {
			f.quad[f.n] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[letters[c]]
			if f.n++; f.n < 4 {
				continue
			}
		}
		f.ended = !ok
		k, _ := base64.RawStdEncoding.Decode(p[n:], f.quad[:f.n])
		n += k
		f.n = 0
	}
	switch {
	case n > 0:
		return n, nil
	case f.err != nil:
		return 0, f.err
	case f.ended:
		return 0, io.EOF
	}
	return 0, io.ErrShortBuffer
}

// peek is what comes next, at least n bytes of it if there are.
func (f *embedded) peek(n int) []byte {
	if f.from == nil {
		return f.ahead
	}
	b, err := f.from.Peek(n)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return b
}

func (f *embedded) skip(n int) {
	if f.from == nil {
		f.ahead = f.ahead[n:]
		return
	}
	f.from.Discard(n)
}

// letter is the next letter of the file.
func (f *embedded) letter() (byte, bool) {
	b := f.peek(1)
	if len(b) == 0 {
		return 0, false
	}
	if isLetter(b[0]) {
		f.skip(1)
		f.line++
		return b[0], true
	}
	switch b[0] {
	case '%', '\\', '\r', '\n', '&', ' ', '\t':
	default:
		return 0, false
	}
	b = f.peek(64)
	c, size := unit(b)
	if isLetter(c) {
		f.skip(size)
		f.line++
		return c, true
	}
	// Perhaps the end of a line; what follows has to be a letter.
	breaks, n := false, 0
	for n < len(b) && (c == '\n' || c == '\r' || c == ' ' || c == '\t') {
		breaks = breaks || c == '\n' || c == '\r'
		if n += size; n < len(b) {
			c, size = unit(b[n:])
		}
	}
	if !breaks || f.line < minLine || n == len(b) || !isLetter(c) {
		return 0, false
	}
	f.skip(n + size)
	f.line = 1
	return c, true
}
