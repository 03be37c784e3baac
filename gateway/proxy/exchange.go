package proxy

import (
	"net/http"
	"time"
)

// attempt sends the request to s over HTTP/1.1 and relays the response. The
// failure is nil if the client has its answer.
func (ex *exchange) attempt(s *server, fresh bool, now time.Time) *failure {
	ctx := ex.r.Context()
	c, f := s.acquire(ctx, fresh, now)
	if f != nil {
		return f
	}
	s.active.Add(1)
	ex.conn, ex.keep = c, false
	if !c.used {
		now = time.Now()
	}
	c.begin(ctx, now, ex.h.timeout)
	if f := ex.send(); f != nil {
		return f
	}
	s.letOthersRun()
	if f := ex.receive(now); f != nil {
		return f
	}
	if ex.head.status == http.StatusSwitchingProtocols {
		return ex.tunnel()
	}
	ex.body.begin(c, &ex.head, ex.out.method)
	f = ex.relay()
	if f == nil {
		ex.keep = ex.body.done && ex.head.minor == 1 && !ex.head.close && !ex.out.close && ex.body.kind != bodyUntilClose
		s.health.succeeded()
		return nil
	}
	return ex.broken(f)
}

// send writes the head, and a body that is at hand.
func (ex *exchange) send() *failure {
	c := ex.conn
	b, err := ex.out.append(ex.buf[:0])
	if err != nil {
		return &failure{err: err, gone: true}
	}
	b = append(b, ex.small...)
	ex.buf = b[:0]
	if err := c.write(b, ex.h.timeout); err != nil {
		if isTimeout(err) {
			return &failure{reason: reasonHeaderTimeout, status: "connection_write_timeout", err: err, wrote: true}
		}
		return ex.cut(err)
	}
	if ex.stream != nil {
		ex.streaming = true
		// The response may begin before the body has been read.
		http.NewResponseController(ex.w).EnableFullDuplex()
		c.watch()
		ex.upload = &upload{src: ex.stream, c: c, limit: ex.h.timeout, left: ex.out.length, trailer: ex.out.trailer}
		c.upload = &ex.upload.pulse
		ex.upload.start()
	}
	return nil
}

// cut is the failure of an exchange whose connection ended before its response.
func (ex *exchange) cut(err error) *failure {
	c := ex.conn
	if up := ex.upload; up != nil && c.broken.Load() {
		if f := up.failure.Load(); f != nil {
			return f
		}
	}
	if cerr := ex.r.Context().Err(); cerr != nil {
		return &failure{err: cerr, gone: true, wrote: true}
	}
	f := readFailure(err, reasonHeaderTimeout)
	f.wrote = true
	f.dead = c.used && !c.received && f.reason == reasonReset
	return f
}

// receive reads heads up to the final one.
func (ex *exchange) receive(sent time.Time) *failure {
	c := ex.conn
	for {
		if err := c.readHead(&ex.head); err != nil {
			return ex.cut(err)
		}
		hd := &ex.head
		if hd.status >= 200 {
			break
		}
		if hd.status == http.StatusSwitchingProtocols {
			if err := ex.checkUpgrade(hd); err != nil {
				return ex.cut(err)
			}
			break
		}
		if ex.informs++; ex.informs > maxInform {
			return ex.cut(protocolError("too many interim responses"))
		}
		if hd.status != http.StatusContinue {
			ex.inform(hd)
		}
	}
	now := time.Now()
	took := now.Sub(sent)
	ex.rec.UpstreamDuration = now.Sub(ex.start)
	ex.server.took.Store(int64(took))
	m := ex.h.pool.metrics()
	m.firstByte.Observe(took.Seconds())
	m.classes[ex.head.status/100].Inc()
	if ex.rec.Attempts > 1 {
		m.retryAnswered.Inc()
	}
	ex.rec.UpstreamError = ""
	return nil
}
