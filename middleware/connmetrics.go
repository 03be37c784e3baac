package middleware

import (
	"crypto/tls"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type handshakeKey struct {
	listener string
	version  uint16
	group    tls.CurveID
	resumed  bool
}

type connHandles struct {
	total     prometheus.Counter
	open      prometheus.Gauge
	handshake prometheus.Observer
}

type shakeKey struct{ organization, group string }

// ConnectionRejected counts a connection that was closed at once.
func (m *Metrics) ConnectionRejected(listener, reason string) {
	m.byTurnedAway.get(pair{listener, reason}).Inc()
}

// ConnectionOpened counts a connection; closed must be called when it ends.
func (m *Metrics) ConnectionOpened(listener, transport string) (closed func()) {
	h := m.byListener.get(pair{listener, transport})
	h.total.Inc()
	h.open.Inc()
	return h.open.Dec
}

// HandshakeError counts a failed TLS handshake.
func (m *Metrics) HandshakeError(listener, reason string) {
	m.byFailure.get(pair{listener, reason}).Inc()
}

// QUICEvent counts what happened on a packet socket.
func (m *Metrics) QUICEvent(listener, event string) {
	m.quicEvents.WithLabelValues(listener, event).Inc()
}

// Handshake counts a completed TLS handshake; took is 0 if unknown.
func (m *Metrics) Handshake(listener, transport string, cs *tls.ConnectionState, took time.Duration) {
	m.byHandshake.get(handshakeKey{listener, cs.Version, cs.CurveID, cs.DidResume}).Inc()
	if took > 0 {
		m.byListener.get(pair{listener, transport}).handshake.Observe(took.Seconds())
	}
}

// OrganizationHandshake counts the handshake of a connection on which an
// organization was proven.
func (m *Metrics) OrganizationHandshake(organization string, cs *tls.ConnectionState) {
	m.byShake.get(shakeKey{organization, groupName(cs.CurveID)}).Inc()
}

// groupName names the key exchange; there was none in a resumption of TLS 1.2.
func groupName(id tls.CurveID) string {
	if id == 0 {
		return "none"
	}
	return id.String()
}
