package middleware

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// spoolMemory is how much of a body stays in memory; more goes to a file.
const spoolMemory = 256 << 10

// Spool holds whole request bodies until it is known whether they may go on:
// small ones in the memory of Buffers, and others in files, which have no name and
// so end with the process at the latest. Memory and disk are bounded.
type Spool struct {
	buffers    *Buffers
	most, used atomic.Int64 // bytes of disk
	refused    prometheus.Counter
}

func newSpool(buffers *Buffers, reg prometheus.Registerer) *Spool {
	s := &Spool{buffers: buffers, refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vazel_spool_refusals_total", Help: "Requests refused because the disk for bodies that are scanned was used up, or could not be written.",
	})}
	s.SetMost(1 << 30)
	reg.MustRegister(s.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vazel_spool_bytes", Help: "Disk that bodies take while they are scanned."}, func() float64 { return float64(s.used.Load()) }))
	return s
}

// SetMost sets how much disk may be taken.
func (s *Spool) SetMost(n int64) { s.most.Store(n) }

// errNoSpool is a body that finds no disk.
var errNoSpool = &BodyRefusal{http.StatusServiceUnavailable, Denial{
	By: "scan", Reason: "overload", Detail: "the disk for bodies that are scanned is used up or can't be written", RetryAfter: 5 * time.Second, Close: true,
}}

// spooled is a whole body.
type spooled struct {
	spool *Spool
	lease lease
	bytes []byte
	file  *os.File // instead of bytes
	size  int64
	disk  int64
}

// read takes a whole body of at most that many bytes. over reports that it is
// longer. What it returns has to be ended in any case.
func (s *Spool) read(body io.Reader, most int64) (out *spooled, over bool, err error) {
	out = &spooled{spool: s, lease: lease{from: s.buffers}}
	b, more, err := out.lease.read(body, int(min(most, spoolMemory)))
	out.bytes, out.size = b, int64(len(b))
	if err != nil || !more || out.size > most {
		return out, more && err == nil, err
	}
	file, err := os.CreateTemp("", "vazel-body-*")
	if err != nil {
		s.refused.Inc()
		return out, false, errNoSpool
	}
	out.file = file
	os.Remove(file.Name())
	if err := out.write(b); err != nil {
		return out, false, err
	}
	out.bytes = nil
	out.lease.end()
	chunk := make([]byte, 64<<10)
	for {
		n, err := body.Read(chunk)
		if out.size += int64(n); out.size > most {
			return out, true, nil
		}
		if e := out.write(chunk[:n]); e != nil {
			return out, false, e
		}
		switch {
		case err == io.EOF:
			return out, false, nil
		case err != nil:
			return out, false, err
		}
	}
}

func (b *spooled) write(p []byte) error {
	n := int64(len(p))
	if b.spool.used.Add(n) > b.spool.most.Load() {
		b.spool.used.Add(-n)
		b.spool.refused.Inc()
		return errNoSpool
	}
	b.disk += n
	if _, err := b.file.Write(p); err != nil {
		b.spool.refused.Inc()
		return errNoSpool
	}
	return nil
}

// reader reads the body from its beginning.
func (b *spooled) reader() io.Reader {
	if b.file != nil {
		return io.NewSectionReader(b.file, 0, b.size)
	}
	return bytes.NewReader(b.bytes)
}

// end gives everything back.
func (b *spooled) end() {
	b.lease.end()
	if b.file != nil {
		b.file.Close()
	}
	b.spool.used.Add(-b.disk)
	b.disk = 0
}
