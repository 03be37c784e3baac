package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vazel-gateway/vazel/config/unit"
)

// The values of Settings.OnStoreFailure.
const (
	FailLocal  = "local"
	FailOpen   = "open"
	FailClosed = "closed"
)

// MaxNodes bounds Settings.Nodes.
const MaxNodes = 100

// Settings is the store that the nodes of one installation share.
type Settings struct {
	// Redis is how the Redis or Valkey server is reached.
	Redis Redis `yaml:"redis"`
	// Prefix begins every key, so that installations can use one server; default: vazel.
	Prefix string `yaml:"prefix"`
	// Nodes is how many gateways share the store, from 1 to 100: a node that can't reach the store admits its part of each limit, the limit divided by nodes. Required.
	Nodes int `yaml:"nodes"`
	// OnStoreFailure says what holds for the rate limits of organizations and services and for quotas while the store can't be used: local (each node admits its part of the limit), open (everything is admitted, and counted) or closed (requests get 503 limits_unavailable); default: local. Limits by address are always local.
	OnStoreFailure string `yaml:"on_store_failure"`
}

// Redis is how a server is reached.
type Redis struct {
	// Addresses lists servers as host:port: one, the sentinels if master is set, or some nodes of the cluster if cluster is true. The absolute path of a Unix socket stands for a server on this machine. Required.
	Addresses []string `yaml:"addresses"`
	// Username is the user of the server's access list; default: its default user.
	Username string `yaml:"username"`
	// Password is the user's password.
	Password unit.Secret `yaml:"password"`
	// DB is the number of the database; default: 0.
	DB int `yaml:"db"`
	// TLS has the server proven and what is sent encrypted. Without it everything goes in the clear.
	TLS *TLS `yaml:"tls"`
	// Master is the name under which the sentinels know the server; addresses are the sentinels then.
	Master string `yaml:"master"`
	// SentinelPassword is the password of the sentinels; default: none.
	SentinelPassword unit.Secret `yaml:"sentinel_password"`
	// Cluster says that the servers are a Redis Cluster; default: false.
	Cluster bool `yaml:"cluster"`
}

// TLS is how the server is proven, and how it knows this node.
type TLS struct {
	// CA is a PEM file with the authorities of the server's certificate; default: those of the system.
	CA string `yaml:"ca"`
	// Cert is a PEM file with the certificate that is shown to the server.
	Cert string `yaml:"cert"`
	// Key is the key of cert.
	Key unit.Secret `yaml:"key"`
	// ServerName is the name that the server's certificate must have; default: the host of the address.
	ServerName string `yaml:"server_name"`
}

// Problem is what is wrong with a setting. Key is its place below the settings.
type Problem struct {
	Key []string
	Err error
}

// Problems lists what is wrong, without asking the server.
func (s *Settings) Problems() (l []Problem) {
	bad := func(key, format string, args ...any) {
		l = append(l, Problem{strings.Fields(key), fmt.Errorf(format, args...)})
	}
	if len(s.Redis.Addresses) == 0 {
		bad("redis", "store.redis names no addresses; write for example addresses: [redis.egov.example:6379]")
	}
	for _, a := range s.Redis.Addresses {
		if strings.HasPrefix(a, "/") {
			if r := &s.Redis; r.Cluster || r.Master != "" || r.TLS != nil {
				bad("redis addresses", "store.redis.addresses: a server on a Unix socket needs neither cluster, nor master, nor tls")
			}
		} else if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			bad("redis addresses", "store.redis.addresses: %q is neither host:port nor the absolute path of a socket", a)
		}
	}
	if s.Nodes < 1 || s.Nodes > MaxNodes {
		bad("nodes", "store.nodes must say how many gateways share the store, from 1 to %d", MaxNodes)
	}
	switch s.OnStoreFailure {
	case "", FailLocal, FailOpen, FailClosed:
	default:
		bad("on_store_failure", "store.on_store_failure %q is not known; write local, open, closed", s.OnStoreFailure)
	}
	if strings.ContainsAny(s.Prefix, "{}* \t\r\n") {
		bad("prefix", "store.prefix %q must hold no spaces, braces or asterisks", s.Prefix)
	}
	switch r := &s.Redis; {
	case r.Cluster && r.Master != "":
		bad("redis cluster", "store.redis: cluster and master (Sentinel) exclude each other")
	case len(r.Addresses) > 1 && !r.Cluster && r.Master == "":
		bad("redis addresses", "store.redis.addresses: several are those of sentinels (write master) or of a cluster (write cluster: true)")
	case r.Cluster && r.DB != 0:
		bad("redis db", "store.redis.db: a cluster has only database 0")
	case r.Master == "" && !r.SentinelPassword.IsZero():
		bad("redis sentinel_password", "store.redis.sentinel_password is of no use without master")
	case r.DB < 0 || r.DB > 1<<16:
		bad("redis db", "store.redis.db must be from 0 to 65536")
	case r.Username != "" && r.Password.IsZero():
		bad("redis username", "store.redis.username needs a password")
	}
	if _, _, err := s.Redis.TLS.config(); err != nil {
		bad("redis tls", "store.redis.tls: %w", err)
	}
	return l
}

// config is the configuration of a TLS client, and what was read from files for
// it.
func (c *TLS) config() (t *tls.Config, read []byte, err error) {
	if c == nil {
		return nil, nil, nil
	}
	t = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA != "" {
		if read, err = os.ReadFile(c.CA); err != nil {
			return nil, nil, fmt.Errorf("ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(read) {
			return nil, nil, fmt.Errorf("ca: %s holds no certificate", c.CA)
		}
	}
	if (c.Cert == "") != c.Key.IsZero() {
		return nil, nil, errors.New("cert and key belong together")
	}
	if c.Cert != "" {
		b, err := os.ReadFile(c.Cert)
		if err != nil {
			return nil, nil, fmt.Errorf("cert: %w", err)
		}
		pair, err := tls.X509KeyPair(b, []byte(c.Key.Reveal()))
		if err != nil {
			return nil, nil, fmt.Errorf("cert: %s with its key: %w", c.Cert, err)
		}
		t.Certificates = []tls.Certificate{pair}
		read = append(read, b...)
	}
	return t, read, nil
}
