package scan

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Clamd is a scanner that is asked by INSTREAM (clamd(8)).
type Clamd struct {
	Address string // unix:/path or host:port
}

// chunk is how much of the content is sent at once.
const chunk = 64 << 10

// Scan implements Scanner.
func (s Clamd) Scan(ctx context.Context, content io.Reader) (string, error) {
	c, end, err := dial(ctx, s.Address)
	if err != nil {
		return "", err
	}
	defer end()
	// Each chunk has its length before it, and one of no length ends the content.
	// When clamd has had enough it answers and stops to read, so that an error in
	// writing is not the whole story: its answer is.
	wrote := func() error {
		if _, err := io.WriteString(c, "zINSTREAM\x00"); err != nil {
			return err
		}
		b := make([]byte, 4+chunk)
		for {
			n, err := io.ReadFull(content, b[4:])
			if n > 0 {
				binary.BigEndian.PutUint32(b, uint32(n))
				if _, err := c.Write(b[:4+n]); err != nil {
					return err
				}
			}
			switch {
			case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
				_, err := c.Write(make([]byte, 4))
				return err
			case err != nil:
				return &contentError{err}
			}
		}
	}()
	if bad := (*contentError)(nil); errors.As(wrote, &bad) {
		return "", bad.err
	}
	line, err := bufio.NewReader(io.LimitReader(c, maxReply)).ReadString(0)
	if line = strings.TrimRight(line, "\x00\n"); line == "" || err != nil {
		return "", fmt.Errorf("clamd gave no answer: %w", errors.Join(wrote, err))
	}
	return verdict(line)
}

// contentError is one of what is scanned, not of the scanner.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }

// verdict reads clamd's answer. Anything but the two that say that the content was
// scanned is an error.
func verdict(line string) (string, error) {
	if line == "stream: OK" {
		return "", nil
	}
	if name, ok := strings.CutPrefix(line, "stream: "); ok {
		if name, ok := strings.CutSuffix(name, " FOUND"); ok {
			return cleanName(name), nil
		}
	}
	if strings.Contains(line, "size limit exceeded") {
		return "", ErrTooLarge
	}
	return "", fmt.Errorf("clamd answered %q", line[:min(len(line), maxName)])
}
