package middleware

import "bytes"

// traceMarks are what stack traces and messages of databases have, and pages for
// people don't. In JSON, line breaks stand as \n.
var traceMarks = [][]byte{
	[]byte("Traceback (most recent call last)"),  // Python
	[]byte("Exception in thread \""),             // Java
	[]byte("Caused by: "),                        // likewise, with a name behind: see traceAt
	[]byte("\tat "),                              // likewise: a frame
	[]byte(`\tat `),                              // likewise in JSON
	[]byte("goroutine "),                         // Go
	[]byte("Stack trace:\n#0 "),                  // PHP
	[]byte(`Stack trace:\n#0 `),                  // likewise in JSON
	[]byte("Fatal error: Uncaught "),             // likewise
	[]byte("   at System."),                      // .NET
	[]byte(".cs:line "),                          // likewise
	[]byte("    at Object.<anonymous> ("),        // Node.js
	[]byte("    at process.processTicksAndReje"), // likewise
	[]byte("ORA-0"),                              // Oracle
	[]byte("SQLSTATE["),                          // PDO
	[]byte("org.postgresql.util.PSQLException"),
	[]byte("com.microsoft.sqlserver.jdbc."),
}

// marksBy are the marks by their first byte.
var marksBy = func() (out [256][][]byte) {
	for _, m := range traceMarks {
		out[m[0]] = append(out[m[0]], m)
	}
	return out
}()

// traceAt reports whether a mark, which ends at i, is what it seems. more says that
// what follows has to come first.
func traceAt(b []byte, mark []byte, i int, end bool) (ok, more bool) {
	at := func(k int) byte {
		if k < len(b) {
			return b[k]
		}
		return 0
	}
	named := func(k int) bool { // as classes are, within packages
		dots := 0
		for ; alphanumeric(at(k)) || at(k) == '.' || at(k) == '$'; k++ {
			if at(k) == '.' && alphanumeric(at(k+1)) {
				dots++
			}
		}
		return dots > 0
	}
	if i+32 > len(b) && !end {
		return false, true
	}
	switch string(mark) {
	case "\tat ", `\tat `:
		return named(i), false
	case "goroutine ":
		k := i
		for digit(at(k)) {
			k++
		}
		return k > i && at(k) == ' ' && at(k+1) == '[', false
	case "Caused by: ":
		return named(i), false
	case "ORA-0":
		return digit(at(i)) && digit(at(i+1)) && digit(at(i+2)) && digit(at(i+3)) && !digit(at(i+4)), false
	}
	return true, false
}

// traces looks for stack traces. One is counted once, and masked from its first mark
// on: to the end of the string in JSON, otherwise to an empty line or a tag's end.
func (f *leakFinder) traces(end bool) {
	if f.kinds[leakTrace] == "" {
		return
	}
	i := f.trace
	for i < len(f.b) {
		if f.tracing {
			n := f.traceEnd(i)
			if f.kinds[leakTrace] == leakMask {
				f.hide(i, n)
			}
			f.tracing = n == len(f.b)
			i = n
			continue
		}
		mark, cut := markAt(f.b[i:])
		if mark == nil && (!cut || end) {
			i++
			continue
		}
		ok, more := false, true
		if mark != nil {
			ok, more = traceAt(f.b, mark, i+len(mark), end)
		}
		if more {
			break
		}
		if !ok {
			i++
			continue
		}
		f.found(leakTrace)
		f.blocked = f.blocked || f.kinds[leakTrace] == leakBlock
		f.tracing = true
	}
	f.trace = i
}

// markAt is the mark that b begins with. cut says that b may be the beginning of one.
func markAt(b []byte) (mark []byte, cut bool) {
	for _, m := range marksBy[b[0]] {
		if bytes.HasPrefix(b, m) {
			return m, false
		}
		cut = cut || bytes.HasPrefix(m, b)
	}
	return nil, cut
}

// traceEnd is where a stack trace ends that goes on at i.
func (f *leakFinder) traceEnd(i int) int {
	b := f.b
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case f.json && c == '"' && !escapedAt(b, i):
			return i
		case !f.json && c == '\n' && (i > 0 && b[i-1] == '\n' || i > 2 && b[i-1] == '\r' && b[i-2] == '\n'), !f.json && c == '/' && i > 0 && b[i-1] == '<':
			return i
		}
	}
	return i
}

// escapedAt reports whether an odd number of backslashes stands before a place.
func escapedAt(b []byte, i int) bool {
	n := 0
	for i > n && b[i-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// hide masks what is not sent yet, and leaves escapes whole.
func (f *leakFinder) hide(from, to int) {
	for i := max(from, f.sent); i < to; i++ {
		if !alphanumeric(f.b[i]) {
			continue
		}
		k := bytes.LastIndexByte(f.b[max(0, i-5):i], '\\')
		if at := max(0, i-5) + k; f.json && k >= 0 && !escapedAt(f.b, at) && (i == at+1 || f.b[at+1] == 'u') {
			continue
		}
		f.b[i] = '*'
	}
}
