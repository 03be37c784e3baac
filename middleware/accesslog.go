package middleware

import (
	"errors"
	"fmt"
	"net/http"
)

// LogOutputs says where requests are logged, and how.
type LogOutputs struct {
	Access   RequestLog // every request
	Security RequestLog // refused requests only
}

// Logs are where the requests of a configuration are logged.
type Logs struct {
	access, security *requestLog // nil if off
}

// requestLog is a log of requests: where its lines go, and how they are written.
type requestLog struct {
	sink     *logSink
	key      string // of what the sink was made from
	format   logFormat
	frame    *syslogFrame // nil unless the sink is a syslog receiver
	whole    bool         // addresses
	security bool
}

// OpenLogs opens the access log alone.
func (o *Observer) OpenLogs(access RequestLog) (*Logs, error) {
	return o.Open(LogOutputs{Access: access})
}

// Open opens logs. A sink that is in force already is taken over as it is, so
// that a reload loses no line of it.
func (o *Observer) Open(out LogOutputs) (*Logs, error) {
	now := o.in.Load().logs
	l := &Logs{}
	var err error
	if l.access, err = o.openLog("access", &out.Access, now.access); err != nil {
		return nil, fmt.Errorf("access_log: %w", err)
	}
	if l.security, err = o.openLog("security", &out.Security, now.security); err != nil {
		l.closeExcept(now)
		return nil, fmt.Errorf("security_log: %w", err)
	}
	return l, nil
}

func (o *Observer) openLog(name string, s *RequestLog, former *requestLog) (*requestLog, error) {
	if s.Output == "" || s.Output == "off" {
		return nil, nil
	}
	l := &requestLog{format: formatOf(s.Format), whole: s.whole(name), security: name == "security"}
	address, conf, read, err := s.receiver()
	if err != nil {
		return nil, err
	}
	l.key = s.Output + "\x00" + read
	if address != "" {
		l.frame = newSyslogFrame(name)
	}
	switch {
	case former != nil && former.key == l.key:
		l.sink = former.sink
	case address != "":
		l.sink = newSyslogSink(address, conf, o.log, o.metrics, name)
	default:
		l.sink, err = newLogSink(s.Output, o.metrics.logDropped.WithLabelValues(name))
	}
	return l, err
}

// Discard closes logs that were opened but never used.
func (o *Observer) Discard(l *Logs) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.closeExcept(o.in.Load().logs)
}

// Reopen opens log files anew, after they were moved away.
func (l *Logs) Reopen() error {
	var errs []error
	for _, s := range []*requestLog{l.access, l.security} {
		if s != nil {
			errs = append(errs, s.sink.reopen())
		}
	}
	return errors.Join(errs...)
}

// Close writes out what is held and closes files.
func (l *Logs) Close() { l.closeExcept(&Logs{}) }

// closeExcept closes the sinks that kept does not use.
func (l *Logs) closeExcept(kept *Logs) {
	for _, pair := range [][2]*requestLog{{l.access, kept.access}, {l.security, kept.security}} {
		if mine, theirs := pair[0], pair[1]; mine != nil && (theirs == nil || mine.sink != theirs.sink) {
			mine.sink.close()
		}
	}
}

// request writes the lines of a finished request.
func (l *Logs) request(o *Observer, rec *Record, r *http.Request) {
	security := l.security != nil && rec.refused()
	if l.access == nil && !security {
		return
	}
	line := o.lines.Get().(*jsonLine)
	e := logEntry{rec: rec, version: o.version}
	if l.access != nil {
		l.access.write(line, &e, r)
	}
	if security {
		l.security.write(line, &e, r)
	}
	if cap(*line) <= logLargest {
		o.lines.Put(line)
	}
}

// write writes one line into the log, with line as its buffer.
func (l *requestLog) write(line *jsonLine, e *logEntry, r *http.Request) {
	most := logLongest
	if l.frame != nil {
		most = syslogLongest
	}
	e.fill(r.TLS, l.security, l.whole, most)
	e.certificate()
	l.format(e, line)
	if l.frame != nil {
		l.frame.wrap(line, e)
	}
	l.sink.log(*line)
}

// refused reports whether the request belongs into the security log: refused
// for who sent it, where it went or how it was made.
func (rec *Record) refused() bool {
	if rec.Denial == nil {
		return false
	}
	switch rec.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed,
		http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType,
		http.StatusMisdirectedRequest, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	switch rec.Denial.By {
	case "waf", "scan", "content_types", "files", "operations", "openapi", "leaks":
		return true
	}
	return false
}
