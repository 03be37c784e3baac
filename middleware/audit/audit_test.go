package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
)

func newLog(t *testing.T, o Options) *Log {
	t.Helper()
	o.Log, o.Registerer = zap.NewNop(), prometheus.NewPedanticRegistry()
	l := New(o)
	t.Cleanup(l.Close)
	return l
}

func entry(i int) Entry {
	return Entry{
		Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 7200)), Incident: fmt.Sprintf("%032x", i), Organization: "nra",
		Client: "192.0.2.1", Service: "parcels", Route: "parcels", Method: "GET", Path: "/wfs", Status: 200, Decision: "allow",
	}
}

func open(t *testing.T, l *Log, path string) {
	t.Helper()
	if err := l.Open(path); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func verify(t *testing.T, path string, key []byte, after *Summary) Summary {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Verify(bytes.NewReader(b), key, after)
	if err != nil {
		t.Errorf("%s: %v\n%s", filepath.Base(path), err, b)
	}
	return s
}

func TestRecords(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l := newLog(t, Options{})
	if l.Ready() || l.Reserve() {
		t.Error("a log that is not open is ready")
	}
	open(t, l, path)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				if i%2 == 0 {
					if !l.Reserve() {
						t.Error("no place")
						return
					}
					l.Record(entry(g*1000 + i))
				} else if err := l.Append(entry(g*1000 + i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	l.Close()
	s := verify(t, path, nil, nil)
	if s.Records != 2002 || s.First != 1 || s.Last != 2002 || s.Previous != "" {
		t.Errorf("got %+v, want 2000 records between opened and closed", s)
	}
	all := lines(t, path)
	if !strings.Contains(all[0], `"event":"opened"`) || !strings.Contains(all[2001], `"event":"closed"`) {
		t.Errorf("got %s and %s at the ends", all[0], all[2001])
	}
	seen := map[string]bool{}
	for _, line := range all[1:2001] {
		var e Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		seen[e.Incident] = true
	}
	if len(seen) != 2000 {
		t.Errorf("%d incidents are recorded, want 2000", len(seen))
	}
	if got := testutil.ToFloat64(l.written); got != 2000 {
		t.Errorf("counted %v written", got)
	}
	if l.Append(entry(1)) != ErrDropped || l.Reserve() {
		t.Error("a closed log takes records")
	}
}

// TestLine holds the form of a record, which other programs read.
func TestLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l := newLog(t, Options{})
	open(t, l, path)
	e := entry(1)
	e.Certificate, e.Serial, e.Issuer, e.Decision, e.Policy, e.Reason, e.Status = "ab", "1f", "CN=CA", "deny", "allow", "not_allowed", 403
	e.Path = "/a\"\n<b>"
	l.Append(e)
	l.Close()
	want := `{"sequence":2,"previous":"` + hashOf(lines(t, path)[0]) + `","time":"2026-03-01T10:00:00Z","incident_id":"00000000000000000000000000000001","organization":"nra",` +
		`"certificate_sha256":"ab","certificate_serial":"1f","certificate_issuer":"CN=CA","client_address":"192.0.2.1","service":"parcels","route":"parcels","method":"GET",` +
		`"path":"/a\"\n\u003cb\u003e","status":403,"decision":"deny","policy":"allow","reason":"not_allowed","request_bytes":0,"response_bytes":0,"duration_ns":0,"hash":"`
	if got := lines(t, path)[1]; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func hashOf(line string) string { return line[len(line)-66 : len(line)-2] }

func TestVerify(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	key := []byte("secret")
	l := newLog(t, Options{Key: key})
	open(t, l, path)
	for i := range 3 {
		l.Append(entry(i))
	}
	l.Close()
	all := lines(t, path)
	rehashed := strings.Replace(all[2], `"status":200`, `"status":403`, 1)
	rehashed = rehashed[:len(rehashed)-hashLength] + hashBefore + hash([]byte(rehashed[:len(rehashed)-hashLength]), nil) + hashAfter
	last := append([]string{}, all...)
	last[4] = strings.Replace(all[4], "closed", "opened", 1)
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"whole", all, ""},
		{"end cut off", all[:3], ""},
		{"start cut off", all[2:], ""},
		{"changed", []string{all[0], strings.Replace(all[1], "nra", "meu", 1), all[2]}, "line 2 was changed, or the key is another one"},
		{"changed by one without the key", []string{all[0], all[1], rehashed}, "line 3 was changed, or the key is another one"},
		{"last one changed", last, "line 5 was changed, or the key is another one"},
		{"removed", []string{all[0], all[2]}, "line 2 (record 3) does not follow record 1: a record was removed or put in"},
		{"doubled", []string{all[0], all[1], all[1]}, "line 3 (record 2) does not follow record 2: a record was removed or put in"},
		{"swapped", []string{all[0], all[2], all[1]}, "line 2 (record 3) does not follow record 1: a record was removed or put in"},
		{"foreign", []string{all[0], "{}"}, "line 2 is not an audit record"},
		{"empty line", []string{all[0], "", all[1]}, "line 2 is not an audit record"},
	} {
		_, err := Verify(strings.NewReader(strings.Join(c.lines, "\n")+"\n"), key, nil)
		if got := fmt.Sprint(err); err == nil && c.want != "" || err != nil && got != c.want {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Verify(strings.NewReader(all[0]+"\n"), nil, nil); err == nil {
		t.Error("another key: got no error")
	}
}

// TestRestart continues the chain of a file, also after a crash in mid-record.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]string{"clean": "", "cut short": `{"sequence":4,"prev`, "zeros": "\x00\x00\x00\x00"} {
		path := filepath.Join(t.TempDir(), "audit.log")
		l := newLog(t, Options{})
		open(t, l, path)
		l.Append(entry(1))
		l.Close()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(rest)
		f.Close()
		l = newLog(t, Options{})
		open(t, l, path)
		l.Append(entry(2))
		l.Close()
		if s := verify(t, path, nil, nil); s.Records != 6 || s.Last != 6 {
			t.Errorf("%s: got %+v, want 6 records", name, s)
		}
		if got := strings.Contains(lines(t, path)[3], fmt.Sprintf(`"cut_bytes":%d,"cut_sha256":"`, len(rest))); got != (rest != "") {
			t.Errorf("%s: got %s", name, lines(t, path)[3])
		}
	}
}

func TestRestartDoubtful(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l := newLog(t, Options{Key: []byte("a")})
	open(t, l, path)
	l.Close()
	l = newLog(t, Options{Key: []byte("b")})
	open(t, l, path)
	if got := lines(t, path)[2]; !strings.Contains(got, `"doubtful":true`) {
		t.Errorf("got %s", got)
	}
}

func TestForeignFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"text": "hello\n", "no line feed": "hello", "json": "{}\n", "long": strings.Repeat("x", 2<<20),
	} {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l := newLog(t, Options{})
		if err := l.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got error %v", name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
	l := newLog(t, Options{})
	if err := l.Open(filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("a missing folder: got no error")
	}
	if err := l.Open(dir); err == nil {
		t.Error("a folder: got no error")
	}
}

// TestOneWriter keeps a second process out.
func TestOneWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l := newLog(t, Options{})
	open(t, l, path)
	other := newLog(t, Options{})
	if err := other.Open(path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got error %v", err)
	}
	l.Close()
	open(t, other, path)
}

// TestRotate moves the file away, as logrotate does: the chain goes on from one
// to the next.
func TestRotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, old := filepath.Join(dir, "audit.log"), filepath.Join(dir, "audit.log.1")
	l := newLog(t, Options{})
	open(t, l, path)
	l.Append(entry(1))
	if err := l.Reopen(); err != nil { // nothing was moved
		t.Fatal(err)
	}
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Append(entry(2))
	other := filepath.Join(dir, "other.log")
	open(t, l, other)
	if !l.Ready() {
		t.Error("not ready after a reload with another path")
	}
	l.Close()
	first := verify(t, old, nil, nil)
	second := verify(t, path, nil, &first)
	third := verify(t, other, nil, &second)
	if first.First != 1 || third.Last != uint64(first.Records+second.Records+third.Records) || third.Records < 2 {
		t.Errorf("got %+v, %+v, %+v", first, second, third)
	}
}

// TestOff has services that require records refuse.
func TestOff(t *testing.T) {
	t.Parallel()
	l := newLog(t, Options{})
	open(t, l, filepath.Join(t.TempDir(), "audit.log"))
	open(t, l, "off")
	if l.Ready() || l.Reserve() || l.Append(entry(1)) != ErrDropped {
		t.Error("a log that is off takes records")
	}
	if got := testutil.ToFloat64(l.dropped); got != 1 {
		t.Errorf("counted %v dropped, want 1", got)
	}
}

// TestFull fills the queue: nothing blocks, what has a reservation is kept, and
// the log tells how many records it lacks.
func TestFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l := newLog(t, Options{Queue: 3})
	open(t, l, path)
	l.mu.Lock() // a disk that hangs
	for i := range 3 {
		if !l.Reserve() {
			t.Fatalf("no place for request %d", i)
		}
	}
	if l.Ready() || l.Reserve() {
		t.Error("there is place for a fourth request")
	}
	if err := l.Append(entry(9)); err != ErrDropped {
		t.Errorf("Append: got %v, want ErrDropped", err)
	}
	for i := range 3 {
		l.Record(entry(i)) // must not block
	}
	l.mu.Unlock()
	l.Close()
	if s := verify(t, path, nil, nil); s.Records != 6 {
		t.Errorf("got %+v, want opened, dropped, three requests and closed", s)
	}
	if all := strings.Join(lines(t, path), "\n"); !strings.Contains(all, `"event":"dropped"`) || !strings.Contains(all, `"count":1`) {
		t.Errorf("got %s", all)
	}
}

// TestFailure breaks the disk and mends it: no record is lost or doubled.
func TestFailure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, Options{})
		open(t, l, path)
		l.Append(entry(1))
		synctest.Wait()
		l.mu.Lock()
		broken, err := os.Open(path) // writing to it fails
		if err != nil {
			t.Fatal(err)
		}
		whole := l.sink.f
		l.sink.f = broken
		l.mu.Unlock()
		if !l.Reserve() {
			t.Fatal("no place before the failure was noticed")
		}
		l.Record(entry(2))
		synctest.Wait()
		if l.Ready() || l.Reserve() {
			t.Error("ready with a broken disk")
		}
		if err := l.Append(entry(3)); err != nil {
			t.Errorf("a record that could wait was dropped: %v", err)
		}
		time.Sleep(3 * time.Second) // of the fake clock: some attempts
		if l.Ready() {
			t.Error("ready with a broken disk")
		}
		l.mu.Lock()
		l.sink.f = whole
		l.mu.Unlock()
		broken.Close()
		time.Sleep(retryAtMost)
		synctest.Wait()
		if !l.Ready() {
			t.Error("not ready again")
		}
		if n := testutil.ToFloat64(l.sinkErrors.WithLabelValues("file")); n < 2 {
			t.Errorf("%v errors are counted, want some", n)
		}
		l.Close()
	})
	if s := verify(t, path, nil, nil); s.Records != 5 {
		t.Errorf("got %+v, want opened, three requests and closed", s)
	}
}

// TestTorn removes what a failed attempt left in the file.
func TestTorn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l := newLog(t, Options{})
	open(t, l, path)
	l.mu.Lock()
	l.sink.size = 0
	info, _ := l.sink.f.Stat()
	l.sink.size = info.Size()
	l.sink.f.WriteString(`{"sequence":2,`)
	l.sink.torn = true
	l.mu.Unlock()
	l.Append(entry(1))
	l.Close()
	if s := verify(t, path, nil, nil); s.Records != 3 {
		t.Errorf("got %+v, want 3 records", s)
	}
}

// TestGiveUp counts what can't be written at the end.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l := newLog(t, Options{})
	open(t, l, path)
	l.mu.Lock()
	broken, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l.sink.f.Close()
	l.sink.f = broken
	l.mu.Unlock()
	for i := range 5 {
		l.Append(entry(i))
	}
	l.Close() // comes back
	if got := testutil.ToFloat64(l.failed); got != 5 {
		t.Errorf("counted %v failed, want 5", got)
	}
}

func FuzzVerify(f *testing.F) {
	path := filepath.Join(f.TempDir(), "audit.log")
	l := New(Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry()})
	if err := l.Open(path); err != nil {
		f.Fatal(err)
	}
	l.Append(entry(1))
	l.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"sequence":1,"hash":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Verify(bytes.NewReader(b), nil, nil)
		if err == nil && s.Records > 0 && s.Last != s.First+uint64(s.Records)-1 {
			t.Errorf("got %+v", s)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l := New(Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry()})
	if err := l.Open(filepath.Join(b.TempDir(), "audit.log")); err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := entry(1)
	b.ReportAllocs()
	for b.Loop() {
		for l.Append(e) != nil { // as fast as the file takes them
			<-time.After(time.Millisecond)
		}
	}
}
