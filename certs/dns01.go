package certs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
	mdns "github.com/miekg/dns"
)

// dnsProvider puts TXT records into a zone. Names are fully qualified. Several
// records may stand under one name at the same time; each call is about one.
type dnsProvider interface {
	Add(ctx context.Context, name, value string) error
	Remove(ctx context.Context, name, value string) error
	Servers() []string // that have to show a record, as host:port
}

const (
	dnsExchange = 5 * time.Second  // one question or update
	dnsCleanup  = 10 * time.Second // the removal of a record, also while the process stops
)

// dnsSolver proves hosts by DNS-01 (RFC 8555, 8.4).
type dnsSolver struct {
	provider dnsProvider
	servers  []string
	timeout  time.Duration
}

func newDNSSolver(c *ACMEDNS) *dnsSolver {
	s := &dnsSolver{provider: newUpdater(c.RFC2136), servers: c.Check, timeout: c.Timeout.Or(2 * time.Minute)}
	if len(s.servers) == 0 {
		s.servers = s.provider.Servers()
	}
	return s
}

func (c *ACMEDNS) check() error {
	if c.RFC2136 == nil {
		return errors.New("rfc2136 is missing")
	}
	for _, s := range c.Check {
		if err := checkHostPort(s); err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	if err := c.RFC2136.check(); err != nil {
		return fmt.Errorf("rfc2136: %w", err)
	}
	return nil
}

func checkHostPort(s string) error {
	if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is not host:port", s)
	}
	return nil
}

// Present implements acmez.Solver.
func (s *dnsSolver) Present(ctx context.Context, c acme.Challenge) error {
	if err := s.provider.Add(ctx, mdns.Fqdn(c.DNS01TXTRecordName()), c.DNS01KeyAuthorization()); err != nil {
		return fmt.Errorf("the record of dns-01 could not be written: %w", err)
	}
	return nil
}

// Wait implements acmez.Waiter: it returns once every server shows the record.
func (s *dnsSolver) Wait(ctx context.Context, c acme.Challenge) error {
	name, value := mdns.Fqdn(c.DNS01TXTRecordName()), c.DNS01KeyAuthorization()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var err error
		for _, server := range s.servers {
			if err = shows(ctx, server, name, value); err != nil {
				break
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the record of dns-01 could not be seen: %w", err)
		}
	}
}

// CleanUp implements acmez.Solver. It is called while everything else ends.
func (s *dnsSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(context.Background(), dnsCleanup)
	defer cancel()
	return s.provider.Remove(ctx, mdns.Fqdn(c.DNS01TXTRecordName()), c.DNS01KeyAuthorization())
}

// shows asks a server for a record.
func shows(ctx context.Context, server, name, value string) error {
	answer, err := exchange(ctx, server, new(mdns.Msg).SetQuestion(name, mdns.TypeTXT), nil)
	if err != nil {
		return err
	}
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*mdns.TXT); ok && strings.Join(txt.Txt, "") == value {
			return nil
		}
	}
	return fmt.Errorf("%s does not show it (%s)", server, mdns.RcodeToString[answer.Rcode])
}

// exchange asks over TCP, where an answer can't be forged from elsewhere and
// does not get lost.
func exchange(ctx context.Context, server string, m *mdns.Msg, keys map[string]string) (*mdns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsExchange)
	defer cancel()
	client := &mdns.Client{Net: "tcp", Timeout: dnsExchange, TsigSecret: keys}
	answer, _, err := client.ExchangeContext(ctx, m, server)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server, err)
	}
	return answer, nil
}
