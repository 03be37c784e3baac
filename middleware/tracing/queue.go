package tracing

import (
	"context"
	"sync"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// Bounds of the queue.
const (
	queueRequests = 2048 // of about 600 bytes each, and what their texts take
	batchSpans    = 512
	batchTime     = time.Second
	exportTime    = 10 * time.Second // for a batch, with its retries
	closeTime     = 3 * time.Second  // for what waits at the end
)

// queue holds finished requests, as many as find room, makes spans of them and
// exports those. Who puts a request into it never waits. It is the span processor
// as well: spans are made and ended by its goroutine alone.
type queue struct {
	m        *Manager
	exporter sdk.SpanExporter
	requests chan Request
	batch    []sdk.ReadOnlySpan
	quit     chan struct{}
	once     sync.Once
	done     chan struct{}
	ctx      context.Context // of exports
	cancel   context.CancelFunc
	down     bool // the collector did not take the last batch
}

func newQueue(m *Manager, exporter sdk.SpanExporter) *queue {
	q := &queue{m: m, exporter: exporter, requests: make(chan Request, queueRequests), quit: make(chan struct{}), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// OnStart implements sdk.SpanProcessor.
func (q *queue) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor.
func (q *queue) OnEnd(s sdk.ReadOnlySpan) { q.batch = append(q.batch, s) }

// put puts a request into the queue, or counts its spans as dropped.
func (q *queue) put(r *Request) {
	select {
	case q.requests <- *r:
	default:
		q.m.dropped.Add(float64(r.spans()))
	}
}

// Shutdown implements sdk.SpanProcessor.
func (q *queue) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdk.SpanProcessor.
func (q *queue) ForceFlush(context.Context) error { return nil }

// run makes spans by spans, until the queue is closed.
func (q *queue) run(spans func(*Request)) {
	defer close(q.done)
	tick := time.NewTicker(batchTime)
	defer tick.Stop()
	for {
		select {
		case r := <-q.requests:
			spans(&r)
			if len(q.batch) >= batchSpans {
				q.export()
			}
		case <-tick.C:
			q.export()
		case <-q.quit:
			for len(q.requests) > 0 {
				r := <-q.requests
				spans(&r)
				if len(q.batch) >= batchSpans {
					q.export()
				}
			}
			q.export()
			return
		}
	}
}

// export sends what there is.
func (q *queue) export() {
	batch := q.batch
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(q.ctx, exportTime)
	defer cancel()
	err := q.exporter.ExportSpans(ctx, batch)
	if err != nil {
		q.m.failed.Add(float64(len(batch)))
		if !q.down {
			q.m.log.Warn("the collector of traces takes no spans; they are lost", zap.Error(err))
		}
	} else {
		q.m.exported.Add(float64(len(batch)))
		if q.down {
			q.m.log.Info("the collector of traces takes spans again")
		}
	}
	q.down = err != nil
	clear(batch)
	q.batch = batch[:0]
}

// close exports what waits, in bounded time.
func (q *queue) close() {
	q.once.Do(func() { close(q.quit) })
	t := time.AfterFunc(closeTime, q.cancel)
	defer t.Stop()
	<-q.done
	q.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	q.exporter.Shutdown(ctx)
}
