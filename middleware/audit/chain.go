package audit

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// tip is the end of a chain.
type tip struct {
	sequence uint64
	hash     string // of the last record; "" before the first
}

// note is a record about the log itself.
type note struct {
	Event    string    `json:"event"` // opened, closed or dropped
	Time     time.Time `json:"time"`
	Count    uint64    `json:"count,omitempty"`      // of records that were dropped
	Cut      int       `json:"cut_bytes,omitempty"`  // of a record that a crash had left unfinished
	CutHash  string    `json:"cut_sha256,omitempty"` // of those bytes
	Doubtful bool      `json:"doubtful,omitempty"`   // the record before does not fit its hash
}

// head is what each record begins with.
type head struct {
	Sequence uint64 `json:"sequence"`
	Previous string `json:"previous"`
}

// The hash is the last member of each line: `,"hash":"<64 digits>"}`.
const (
	hashBefore = `,"hash":"`
	hashAfter  = `"}`
	hashLength = len(hashBefore) + 2*sha256.Size + len(hashAfter)
)

// append adds a line for v, an *Entry or *note, to b.
func (t tip) append(b []byte, v any, key []byte) ([]byte, tip, error) {
	first, err := json.Marshal(head{t.sequence + 1, t.hash})
	if err != nil {
		return b, t, err
	}
	rest, err := json.Marshal(v)
	if err != nil {
		return b, t, fmt.Errorf("audit: %w", err)
	}
	start := len(b)
	b = append(b, first[:len(first)-1]...)
	b = append(b, ',')
	b = append(b, rest[1:len(rest)-1]...)
	t = tip{t.sequence + 1, hash(b[start:], key)}
	b = append(b, hashBefore...)
	b = append(b, t.hash...)
	b = append(b, hashAfter...)
	return append(b, '\n'), t, nil
}

// hash is that of a line up to its hash.
func hash(line, key []byte) string {
	if len(key) == 0 {
		sum := sha256.Sum256(line)
		return hex.EncodeToString(sum[:])
	}
	m := hmac.New(sha256.New, key)
	m.Write(line)
	return hex.EncodeToString(m.Sum(nil))
}

// read takes a line apart. good reports whether it fits its hash.
func read(line, key []byte) (h head, sum string, good bool, err error) {
	at := len(line) - hashLength
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(hashBefore)) || !bytes.HasSuffix(line, []byte(hashAfter)) || json.Unmarshal(line, &h) != nil || h.Sequence == 0 {
		return h, "", false, fmt.Errorf("not an audit record")
	}
	sum = string(line[at+len(hashBefore) : len(line)-len(hashAfter)])
	return h, sum, hmac.Equal([]byte(sum), []byte(hash(line[:at], key))), nil
}

// Summary is what Verify found.
type Summary struct {
	Records  int    // lines that are whole
	First    uint64 // sequence number of the first record
	Last     uint64 // of the last one
	Hash     string // of the last one
	Previous string // hash that the first one follows; "" for the start of a chain
}

// Verify reads a log and says at which line its chain breaks. after is the
// Summary of the file before this one, or nil for the first. The end of a log
// can't be told from one that was cut off there: compare the last sequence number
// with a copy that is kept elsewhere.
func Verify(in io.Reader, key []byte, after *Summary) (Summary, error) {
	var s Summary
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		n := s.Records + 1
		h, sum, good, err := read(lines.Bytes(), key)
		switch {
		case err != nil:
			return s, fmt.Errorf("line %d is not an audit record", n)
		case !good:
			return s, fmt.Errorf("line %d was changed, or the key is another one", n)
		case n == 1 && after != nil && (h.Previous != after.Hash || h.Sequence != after.Last+1):
			return s, fmt.Errorf("line 1 (record %d) does not follow record %d of the file before", h.Sequence, after.Last)
		case n > 1 && (h.Previous != s.Hash || h.Sequence != s.Last+1):
			return s, fmt.Errorf("line %d (record %d) does not follow record %d: a record was removed or put in", n, h.Sequence, s.Last)
		}
		if n == 1 {
			s.First, s.Previous = h.Sequence, h.Previous
		}
		s.Records, s.Last, s.Hash = n, h.Sequence, sum
	}
	if err := lines.Err(); err != nil {
		return s, fmt.Errorf("line %d: %w", s.Records+1, err)
	}
	return s, nil
}
