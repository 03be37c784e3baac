// Package cache keeps responses of upstreams in memory, as RFC 9111 lets a
// shared cache. It owns the entries, how long they count, and how much memory
// they take; it does not decide whose requests may be answered from it.
package cache

import (
	"container/list"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store is a bounded set of responses. The one used least recently goes first.
type Store struct {
	// Capturing is how many bytes are being copied by requests under way.
	Capturing atomic.Int64

	mu      sync.Mutex
	most    int64
	used    int64
	keys    map[string]*resource
	order   list.List // of *Entry, the one used last in front
	evicted uint64
	flights map[string]*flight
}

// resource is all that is kept under a key: for each backend, one response for
// each combination of the request fields that Vary names.
type resource struct {
	vary    []string // as the newest response names them
	entries []*Entry
}

// maxVariants bounds the responses under one key, which clients choose among.
const maxVariants = 16

// New makes a Store of at most that many bytes.
func New(most int64) *Store {
	return &Store{most: most, keys: map[string]*resource{}, flights: map[string]*flight{}}
}

// Resize changes how many bytes are kept.
func (s *Store) Resize(most int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = most
	s.shrinkLocked()
}

// Stats is what the store holds.
type Stats struct {
	Bytes, Most int64
	Entries     int
	Evicted     uint64
}

// Stats reports what the store holds.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{s.used, s.most, s.order.Len(), s.evicted}
}

// Entry is one kept response. It is immutable; what changes is replaced.
type Entry struct {
	Response
	key     string
	variant string
	size    int64
	place   *list.Element
}

// Response is a response with what is needed to judge its age.
type Response struct {
	Status    int
	Header    http.Header // without hop-by-hop fields
	Body      []byte
	Requested time.Time // when the request was sent
	Received  time.Time // when its head came
	// Policy is what the header says of keeping it.
	Policy Policy
}

// Find is the response that a backend gave to a request and that is kept, fresh
// or not; nil if there is none.
func (s *Store) Find(key, backend string, request http.Header) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.keys[key]
	if r == nil {
		return nil
	}
	want := variantOf(backend, r.vary, request)
	for _, e := range r.entries {
		if e.variant == want {
			s.order.MoveToFront(e.place)
			return e
		}
	}
	return nil
}

// Put keeps the response of a backend to a request. It replaces the one of the
// same variant.
func (s *Store) Put(key, backend string, request http.Header, resp Response) {
	vary := varyOf(resp.Header)
	e := &Entry{Response: resp, key: key, variant: variantOf(backend, vary, request)}
	e.size = sizeOf(key, &resp) + int64(len(e.variant))
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.size > s.most/8 { // one response must not push out all others
		s.removeLocked(key)
		return
	}
	r := s.keys[key]
	if r != nil && !slices.Equal(r.vary, vary) {
		// The resource now depends on other fields: what was kept was kept under
		// rules that don't hold any more.
		s.removeLocked(key)
		r = nil
	}
	if r == nil {
		r = &resource{vary: vary}
		s.keys[key] = r
	}
	for _, old := range r.entries {
		if old.variant == e.variant {
			s.dropLocked(old)
			break
		}
	}
	if s.keys[key] == nil { // that was the last one
		s.keys[key] = r
	}
	if len(r.entries) >= maxVariants {
		s.dropLocked(r.entries[0])
		s.evicted++
	}
	r.entries = append(r.entries, e)
	e.place = s.order.PushFront(e)
	s.used += e.size
	s.shrinkLocked()
}

// Remove forgets all that is kept under a key.
func (s *Store) Remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(key)
}

func (s *Store) removeLocked(key string) {
	r := s.keys[key]
	if r == nil {
		return
	}
	for _, e := range slices.Clone(r.entries) {
		s.dropLocked(e)
	}
}

func (s *Store) dropLocked(e *Entry) {
	s.order.Remove(e.place)
	s.used -= e.size
	r := s.keys[e.key]
	r.entries = slices.DeleteFunc(r.entries, func(o *Entry) bool { return o == e })
	if len(r.entries) == 0 {
		delete(s.keys, e.key)
	}
}

func (s *Store) shrinkLocked() {
	for s.used > s.most && s.order.Len() > 0 {
		s.dropLocked(s.order.Back().Value.(*Entry))
		s.evicted++
	}
}

// sizeOf is about what an entry takes in memory.
func sizeOf(key string, r *Response) int64 {
	n := int64(len(key)) + int64(cap(r.Body)) + 512
	for name, values := range r.Header {
		n += int64(len(name)) + 48
		for _, v := range values {
			n += int64(len(v)) + 16
		}
	}
	return n
}

// varyOf lists the request fields that a response depends on, in their order.
func varyOf(h http.Header) []string {
	var l []string
	for _, v := range h["Vary"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" && !slices.Contains(l, name) {
				l = append(l, name)
			}
		}
	}
	slices.Sort(l)
	return l
}

// variantOf is whom a request goes to, and what it says in the fields that vary.
func variantOf(backend string, vary []string, request http.Header) string {
	if len(vary) == 0 {
		return backend
	}
	var b strings.Builder
	b.WriteString(backend)
	b.WriteByte(0)
	for _, name := range vary {
		values, ok := request[name]
		if !ok {
			b.WriteByte(1) // not there, which is not the same as empty
		}
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			for j, part := range strings.Split(v, ",") {
				if j > 0 {
					b.WriteByte(',')
				}
				b.WriteString(strings.Trim(part, " \t"))
			}
		}
		b.WriteByte(0)
	}
	return b.String()
}

// flight is a request for a key whose answer others wait for.
type flight struct{ done chan struct{} }

// Flight is the right, and the duty, to fetch the response for a key.
type Flight struct {
	s   *Store
	key string
	f   *flight
}

// Join makes the caller the one that fetches the response for a key (f is not
// nil, and Land must be called), or gives it something to wait for.
func (s *Store) Join(key string) (f *Flight, wait <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.flights[key]; other != nil {
		return nil, other.done
	}
	fl := &flight{done: make(chan struct{})}
	s.flights[key] = fl
	return &Flight{s, key, fl}, nil
}

// Land ends the flight. It may be called more than once.
func (f *Flight) Land() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.s.flights[f.key] == f.f {
		delete(f.s.flights, f.key)
		close(f.f.done)
	}
}
