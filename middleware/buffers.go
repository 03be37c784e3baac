package middleware

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Buffers bounds the memory of all request bodies together that are held whole,
// to be inspected before they are passed on.
type Buffers struct {
	most, used atomic.Int64
	refused    prometheus.Counter
}

const (
	// firstBuffer is what a body gets at first, and most bodies need.
	firstBuffer = 16 << 10
	// reserve is the share of the memory that only small bodies may take, so that
	// large ones which come slowly don't keep everybody out: 1/reserve.
	reserve = 4
)

func newBuffers(reg prometheus.Registerer) *Buffers {
	b := &Buffers{refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vazel_buffer_refusals_total", Help: "Requests refused because the memory for bodies that are inspected was used up.",
	})}
	reg.MustRegister(b.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vazel_buffer_bytes", Help: "Memory that bodies under inspection take."}, func() float64 { return float64(b.used.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vazel_buffer_capacity_bytes", Help: "Memory that bodies under inspection may take."}, func() float64 { return float64(b.most.Load()) }))
	return b
}

// SetMost sets how much memory may be taken.
func (b *Buffers) SetMost(n int64) { b.most.Store(n) }

// take takes n more bytes for a body that has had some already, or none.
func (b *Buffers) take(n, had int64) bool {
	most := b.most.Load()
	if had+n > firstBuffer {
		most -= most / reserve
	}
	if b.used.Add(n) > most {
		b.used.Add(-n)
		return false
	}
	return true
}

// lease is what one request has taken.
type lease struct {
	from *Buffers
	n    atomic.Int64 // whoever reads the body ends it, or whoever serves the request
	// modest, if not 0, is how much of a body is enough where memory is short: read
	// stops there, as if the body were too long, once a quarter of it is taken.
	modest int
}

func (l *lease) more(n int64) bool {
	if !l.from.take(n, l.n.Load()) {
		return false
	}
	l.n.Add(n)
	return true
}

// end gives everything back.
func (l *lease) end() { l.from.used.Add(-l.n.Swap(0)) }

// errNoBuffer is a body that finds no memory.
var errNoBuffer = &BodyRefusal{http.StatusServiceUnavailable, Denial{
	By: "waf", Reason: "overload", Detail: "the memory for bodies under inspection is used up", RetryAfter: 2 * time.Second, Close: true,
}}

// read reads a body of at most that many bytes, in memory that is taken as it
// comes, not as it was announced. over reports that it is longer.
func (l *lease) read(body io.Reader, most int) (b []byte, over bool, err error) {
	for {
		if len(b) == cap(b) {
			n := min(max(2*cap(b), firstBuffer), most+1)
			if l.modest > 0 && len(b) >= l.modest && l.from.used.Load()+int64(n) > l.from.most.Load()/4 {
				return b, true, nil
			}
			if !l.more(int64(n)) {
				l.from.refused.Inc()
				return b, false, errNoBuffer
			}
			grown := make([]byte, len(b), n)
			copy(grown, b)
			l.less(int64(cap(b)))
			b = grown
		}
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > most:
			return b, true, nil
		case err == io.EOF:
			return b, false, nil
		case err != nil:
			return b, false, err
		}
	}
}

// less gives n bytes back.
func (l *lease) less(n int64) {
	l.from.used.Add(-n)
	l.n.Add(-n)
}
