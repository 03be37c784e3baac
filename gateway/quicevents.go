package gateway

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware"
)

// quicHandshake is a QUIC connection from its first packet until it is accepted
// or fails, of which Accept tells nothing.
type quicHandshake struct {
	begun time.Time
	ended atomic.Bool
}

type quicHandshakeKey struct{}

// watchHandshakes counts handshakes that fail, and refuses connections that turnAway
// has a reason against before they begin.
func watchHandshakes(m *middleware.Metrics, listener string, turnAway func(netip.Addr) string) func(context.Context, *quic.ClientInfo) (context.Context, error) {
	return func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
		if reason := turnAway(addrOf(client.RemoteAddr).Addr()); reason != "" {
			m.ConnectionRejected(listener, reason)
			return nil, errTurnedAway
		}
		h := &quicHandshake{begun: time.Now()}
		context.AfterFunc(ctx, func() {
			if !h.ended.Swap(true) {
				m.HandshakeError(listener, quicReason(context.Cause(ctx)))
			}
		})
		return context.WithValue(ctx, quicHandshakeKey{}, h), nil
	}
}

var errTurnedAway = errors.New("the connection is turned away")

// handshakeTook ends the handshake of an accepted connection and says how long
// it took; 0 if that is not known.
func handshakeTook(qc *quic.Conn) time.Duration {
	h, _ := qc.Context().Value(quicHandshakeKey{}).(*quicHandshake)
	if h == nil || h.ended.Swap(true) {
		return 0
	}
	return time.Since(h.begun)
}

// quicReason is handshakeReason for QUIC, whose errors carry a TLS alert
// (RFC 9001, 4.8).
func quicReason(err error) string {
	var transport *quic.TransportError
	var timeout *quic.HandshakeTimeoutError
	var idle *quic.IdleTimeoutError
	switch {
	case errors.As(err, &timeout), errors.As(err, &idle):
		return "timeout"
	case !errors.As(err, &transport):
		return "other"
	case transport.Remote:
		return "client_alert"
	}
	switch transport.ErrorCode - 0x100 {
	case 40, 120: // handshake_failure, no_application_protocol
		return "no_shared_cipher"
	case 51: // decrypt_error
		return "bad_signature"
	case 70: // protocol_version
		return "unsupported_version"
	}
	if strings.Contains(err.Error(), certs.ErrNoCertificate.Error()) {
		return "no_certificate"
	}
	return "other"
}

// quicEvents counts what happens on a packet socket outside of connections.
// What happens within them is not traced: that would cost each packet.
type quicEvents struct {
	metrics  *middleware.Metrics
	listener string
}

// RecordEvent implements qlogwriter.Recorder.
func (e *quicEvents) RecordEvent(event qlogwriter.Event) {
	switch event := event.(type) {
	case qlog.PacketSent:
		if event.Header.PacketType == qlog.PacketTypeRetry {
			e.metrics.QUICEvent(e.listener, "retry_sent")
		}
	case qlog.VersionNegotiationSent:
		e.metrics.QUICEvent(e.listener, "version_negotiation")
	case qlog.PacketDropped:
		if event.Header.PacketType == qlog.PacketType0RTT {
			e.metrics.QUICEvent(e.listener, "zero_rtt_rejected")
		}
	}
}

// Close implements io.Closer.
func (e *quicEvents) Close() error { return nil }
