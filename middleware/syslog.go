package middleware

import (
	"os"
	"strconv"
	"strings"
)

// Facilities and severities of syslog (RFC 5424 6.2.1).
const (
	facilityLocal0   = 16
	facilityAuthPriv = 10 // security and authorization, not for everybody

	severityError   = 3
	severityWarning = 4
	severityInfo    = 6
)

// syslogFrame makes messages of lines.
type syslogFrame struct {
	facility int
	middle   string // between time and text: host, program, process and kind
}

func newSyslogFrame(log string) *syslogFrame {
	f := &syslogFrame{facility: facilityLocal0}
	if log == "security" {
		f.facility = facilityAuthPriv
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	host = strings.Map(func(r rune) rune { // printable ASCII (RFC 5424 6)
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, host)
	f.middle = " " + host[:min(len(host), 255)] + " vazel " + strconv.Itoa(os.Getpid()) + " " + log + " - "
	return f
}

// wrap turns a line into a message (RFC 5424 6) behind its length, by which a
// receiver knows where the next begins (RFC 5425 4.3). There is no byte order
// mark before the text, which few receivers take out again.
func (f *syslogFrame) wrap(line *jsonLine, e *logEntry) {
	severity := severityInfo
	switch {
	case e.rec.Denial != nil:
		severity = severityWarning
	case e.rec.Status >= 500:
		severity = severityError
	}
	var room [512]byte
	head := append(room[:0], '<')
	head = strconv.AppendInt(head, int64(f.facility*8+severity), 10)
	head = append(head, ">1 "...)
	head = e.rec.Start.UTC().AppendFormat(head, "2006-01-02T15:04:05.000000Z")
	head = append(head, f.middle...)
	text := (*line)[:len(*line)-1] // a message has no end of line
	var digits [24]byte
	before := append(strconv.AppendInt(digits[:0], int64(len(head)+len(text)), 10), ' ')
	before = append(before, head...)
	n := len(text)
	*line = append(text, before...) // to make room, before everything moves
	copy((*line)[len(before):], (*line)[:n])
	copy(*line, before)
}

// messages counts the messages of a batch.
func messages(buf []byte) (n int) {
	for len(buf) > 0 {
		size, i := 0, 0
		for ; i < len(buf) && digit(buf[i]); i++ {
			size = size*10 + int(buf[i]-'0')
		}
		n++
		buf = buf[min(i+1+size, len(buf)):]
	}
	return n
}
