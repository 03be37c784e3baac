package proxy

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// watchHealth checks s at an interval until ctx ends.
func (p *Pool) watchHealth(ctx context.Context, s *server) {
	every, timeout := p.check.Every.Or(5*time.Second), p.check.Timeout.Or(2*time.Second)
	unhealthy, healthy := p.check.Unhealthy, p.check.Healthy
	if unhealthy <= 0 {
		unhealthy = 2
	}
	if healthy <= 0 {
		healthy = 2
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := p.checkOnce(ctx, s, timeout)
		if ctx.Err() != nil {
			return
		}
		if isShortage(err) { // says nothing about the server
			t.Reset(jitter(every))
			continue
		}
		result := "success"
		if err != nil {
			result = "failure"
		}
		p.metrics().all.checks.WithLabelValues(p.name, s.addr, result).Inc()
		if s.health.checked(err == nil, unhealthy, healthy, p.now()) {
			if err != nil {
				p.log.Warn("server is taken out, for its health checks fail", zap.String("server", s.addr), zap.Error(err))
			} else {
				p.log.Info("server is back, for its health checks succeed", zap.String("server", s.addr))
			}
		}
		t.Reset(jitter(every))
	}
}

// checkOnce asks s for the health path on a connection of its own, so that a
// server which accepts no more connections is noticed.
func (p *Pool) checkOnce(ctx context.Context, s *server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	path := p.check.Path
	if path == "" {
		path = "/"
	}
	o := &outbound{method: http.MethodGet, target: path, host: p.checkHost, header: http.Header{"User-Agent": {"vazel-health"}}, close: true}
	if err := o.check(); err != nil {
		return err
	}
	status := 0
	if h2 := s.origin.h2; h2 != nil {
		req, err := h2.request(ctx, o, s.addr)
		if err != nil {
			return err
		}
		resp, err := h2.transport.RoundTrip(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		status = resp.StatusCode
	} else {
		c, err := s.dial(ctx)
		if err != nil {
			return err
		}
		defer c.net.Close()
		b, err := o.append(nil)
		if err != nil {
			return err
		}
		c.begin(ctx, time.Now(), timeout)
		c.watch()
		defer c.end()
		if err := c.write(b, timeout); err != nil {
			return err
		}
		var hd head
		for i := 0; ; i++ {
			if err := c.readHead(&hd); err != nil {
				return err
			}
			if hd.status >= 200 {
				break
			}
			if i == maxInform || hd.status == http.StatusSwitchingProtocols {
				return protocolError("unexpected interim responses")
			}
		}
		status = hd.status
	}
	if status < 200 || status > 399 {
		return failedf(reasonProtocol, "health check answered with status %d", status)
	}
	return nil
}
