package scan

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// fake is clamd as far as one scan goes. It answers with what answer returns once
// the content has come, or half of it; "" is no answer.
func fake(t *testing.T, answer func(content []byte) string, most int) Clamd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				io.WriteString(c, answer(instream(c, most)))
			})
		}
	})
	return Clamd{"unix:" + path}
}

// instream reads what is scanned, or the beginning of it.
func instream(c io.Reader, most int) (content []byte) {
	command := make([]byte, len("zINSTREAM\x00"))
	if _, err := io.ReadFull(c, command); err != nil || string(command) != "zINSTREAM\x00" {
		return nil
	}
	for {
		var n uint32
		if binary.Read(c, binary.BigEndian, &n) != nil || n == 0 || len(content)+int(n) > most {
			return content
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			return content
		}
		content = append(content, b...)
	}
}

// TestClamd: only what clamd says is clean is clean.
func TestClamd(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), 3<<20+17)
	for _, tt := range []struct {
		name, answer  string
		content       []byte
		most          int
		malware, fail string
	}{
		{"clean", "stream: OK\x00", large, 1 << 30, "", ""},
		{"empty", "stream: OK\x00", nil, 1 << 30, "", ""},
		{"infected", "stream: Win.Test.EICAR_HDB-1 FOUND\x00", large, 1 << 30, "Win.Test.EICAR_HDB-1", ""},
		{"an odd name", "stream: a b\n\xff FOUND\x00", []byte("x"), 1 << 30, "a_b__", ""},
		{"too large", "INSTREAM size limit exceeded. ERROR\x00", large, 1 << 20, "", "larger than the scanner takes"},
		{"dead in mid-stream", "", large, 1 << 20, "", "clamd gave no answer"},
		{"dead at the end", "", []byte("x"), 1 << 30, "", "clamd gave no answer"},
		{"half an answer", "stream: OK", []byte("x"), 1 << 30, "", "clamd gave no answer"},
		{"garbage", "HTTP/1.1 200 OK\x00", []byte("x"), 1 << 30, "", "clamd answered"},
		{"an error of clamd", "stream: Can't allocate memory ERROR\x00", []byte("x"), 1 << 30, "", "clamd answered"},
		{"clean, it seems", "stream: OK FOUND\x00", []byte("x"), 1 << 30, "OK", ""},
		{"endless", strings.Repeat("y", 1<<20), []byte("x"), 1 << 30, "", "clamd gave no answer"},
	} {
		var got []byte
		s := fake(t, func(content []byte) string { got = content; return tt.answer }, tt.most)
		malware, err := s.Scan(t.Context(), iotest.HalfReader(bytes.NewReader(tt.content)))
		if malware != tt.malware || (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
			t.Errorf("%s: %q, %v", tt.name, malware, err)
		}
		if tt.most == 1<<30 && !bytes.Equal(got, tt.content) {
			t.Errorf("%s: clamd got %d bytes of %d", tt.name, len(got), len(tt.content))
		}
	}
}

// TestClamdTime: a scanner that is slow, or not there, costs no more than the time
// that it has.
func TestClamdTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := fake(t, func([]byte) string { <-ctx.Done(); return "stream: OK\x00" }, 1<<30)
	if malware, err := s.Scan(ctx, strings.NewReader("x")); malware != "" || err == nil {
		t.Errorf("slow: %q, %v", malware, err)
	}
	if _, err := (Clamd{"unix:" + filepath.Join(t.TempDir(), "none")}).Scan(t.Context(), strings.NewReader("x")); err == nil {
		t.Error("nobody: no error")
	}
	broken := errors.New("broken")
	s = fake(t, func([]byte) string { return "stream: OK\x00" }, 1<<30)
	if _, err := s.Scan(t.Context(), iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("content that breaks off: %v", err)
	}
}

// TestAddress: addresses that can't be meant are told.
func TestAddress(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"unix:/run/clamav/clamd.ctl": true, "127.0.0.1:3310": true, "[::1]:3310": true, "clamav.internal:3310": true,
		"": false, "clamav": false, "unix:clamd.ctl": false, ":3310": false, "clamav:0": false, "clamav:70000": false, "tcp://clamav:3310": false,
	} {
		if err := CheckAddress(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
