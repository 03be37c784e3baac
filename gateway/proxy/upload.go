package proxy

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// smallBody is the length up to which a request body is read before the
// upstream is asked: it goes out in one write with the head, needs no
// goroutine, and can be sent again.
const smallBody = 16 << 10

var smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}

// bodyFailure sorts an error of reading a client's body.
func bodyFailure(err error) *failure {
	f := &failure{err: err, gone: true}
	errors.As(err, &f.refusal)
	return f
}

// pulse tells whether an upload goes on. While it waits for the client, who has
// time-outs of his own, the upstream owes nothing; and before it has the whole
// request, its time begins anew with everything that it gets.
type pulse struct {
	began   time.Time
	moved   atomic.Int64 // nanoseconds after began at which something was last done
	reading atomic.Bool  // the client's body, or about to
}

func (p *pulse) read(src io.Reader, b []byte) (int, error) {
	n, err := src.Read(b)
	p.beat()
	return n, err
}

func (p *pulse) beat() { p.moved.Store(int64(time.Since(p.began))) }

// since is when the upstream began to owe an answer, if it did before now.
func (p *pulse) since(now time.Time) time.Time {
	if p.reading.Load() {
		return now
	}
	return p.began.Add(time.Duration(p.moved.Load()))
}

// upload sends a request body that is not at hand, while the handler waits for
// the response, which may begin before the body ends.
type upload struct {
	src     io.Reader
	c       *conn
	limit   time.Duration
	left    int64       // declared; -1 for a chunked body
	trailer http.Header // filled by src at its end

	pulse   pulse
	stopped atomic.Bool
	done    chan struct{}

	// failure is what ended the exchange, if the client's side did. It is set
	// before the connection is aborted.
	failure atomic.Pointer[failure]
	whole   bool // the body was sent to its end; set before done is closed
}

// start sends in a goroutine that the caller must end with finish.
func (u *upload) start() {
	u.done = make(chan struct{})
	u.pulse.began = time.Now()
	go u.run()
}

func (u *upload) run() {
	defer close(u.done)
	defer func() {
		if v := recover(); v != nil { // a policy's body reader
			u.failure.Store(&failure{err: errors.New("panic while the request body was read"), gone: true})
			u.c.abort()
		}
	}()
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(buf)
	// Room for the size of a chunk in front and its end behind.
	const front, back = 8, 2
	for u.left != 0 {
		p := buf[front : largeBuffer-back]
		if u.left > 0 && int64(len(p)) > u.left {
			p = p[:u.left]
		}
		n, err := u.read(p)
		if n > 0 {
			out := p[:n]
			if u.left < 0 {
				out = chunk(buf[:], front, n)
			} else {
				u.left -= int64(n)
			}
			if werr := u.c.write(out, u.limit); werr != nil {
				u.writeFailed(werr)
				return
			}
			u.pulse.beat()
		}
		if err == io.EOF {
			if u.left > 0 {
				u.fail(io.ErrUnexpectedEOF)
				return
			}
			break
		}
		if err != nil {
			u.fail(err)
			return
		}
	}
	if u.left < 0 {
		if err := u.c.write(u.last(), u.limit); err != nil {
			u.writeFailed(err)
			return
		}
	}
	u.whole = true
}

var errStopped = errors.New("the exchange is over")

// read reads unless the exchange is over.
func (u *upload) read(p []byte) (int, error) {
	u.pulse.reading.Store(true)
	defer u.pulse.reading.Store(false)
	if u.stopped.Load() {
		return 0, errStopped
	}
	return u.pulse.read(u.src, p)
}

// fail ends the exchange, for the rest of the body can't be had.
func (u *upload) fail(err error) {
	if !u.stopped.Load() {
		u.failure.Store(bodyFailure(err))
	}
	u.c.abort()
}

// writeFailed leaves the connection open: the server may have answered before
// it stopped reading. Only if it just does not read on, nothing more can come of it.
func (u *upload) writeFailed(err error) {
	if isTimeout(err) {
		u.failure.Store(&failure{reason: reasonBodyTimeout, status: "connection_write_timeout", err: err, wrote: true})
		u.c.abort()
	}
}

// last is the last chunk with the trailers.
func (u *upload) last() []byte {
	b := []byte("0\r\n")
	for name, values := range u.trailer {
		if !goodTrailer(name) {
			continue
		}
		for _, v := range values {
			if validValue(v) && len(b)+len(name)+len(v) < maxHead {
				b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
			}
		}
	}
	return append(b, "\r\n"...)
}

// chunk puts n bytes at b[at:] between a chunk's size and its end.
func chunk(b []byte, at, n int) []byte {
	var size [8]byte
	s := strconv.AppendInt(size[:0], int64(n), 16)
	s = append(s, '\r', '\n')
	from := at - len(s)
	copy(b[from:], s)
	b[at+n], b[at+n+1] = '\r', '\n'
	return b[from : at+n+2]
}

// finish waits for the end of the upload, whatever it is doing, and reports
// whether the whole body was sent.
func (u *upload) finish(w http.ResponseWriter) bool {
	select {
	case <-u.done:
		return u.whole
	default:
	}
	// The response can be here before the goroutine has noticed that its last
	// write is done.
	t := time.NewTimer(2 * time.Millisecond)
	defer t.Stop()
	select {
	case <-u.done:
		return u.whole
	case <-t.C:
	}
	u.stopped.Store(true)
	u.c.abort()
	if u.pulse.reading.Load() {
		// The body must not be read after the handler has returned.
		http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	}
	<-u.done
	return false
}

// readSmall reads a whole body of n bytes, or up to the end if n is -1 and the
// end comes before the buffer is full.
func readSmall(src io.Reader, buf []byte, n int64) (got int, whole bool, err error) {
	want := len(buf)
	if n >= 0 {
		want = int(n)
	}
	for got < want {
		m, err := src.Read(buf[got:want])
		got += m
		if err == io.EOF {
			if n >= 0 && got < want {
				return got, false, io.ErrUnexpectedEOF
			}
			return got, true, nil
		}
		if err != nil {
			return got, false, err
		}
	}
	return got, n >= 0, nil
}
