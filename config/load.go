package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware"
)

// Config is a checked configuration with every default and profile applied.
// It is never changed after Load.
type Config struct {
	File // the settings outside organizations and services, defaults filled in

	Dir      string     // folder of the main file; relative paths start here
	Hash     string     // of the effective configuration: the same on every node that has the same
	Services []*Service // in the order of their names; shadows File.Services
	Callers  map[string]middleware.Caller
	Trust    map[string]certs.Organization // with absolute paths
	Warnings []Problem
	Files    []FileStatus

	Read *Files // what it was read from

	good map[string][]byte // content of each file that was valid, for LoadWith

	places map[string]Setting // see Place
}

// FileStatus is how a file of the configuration fared.
type FileStatus struct {
	Path  string // relative to Dir
	Valid bool   // false: its last good version is in force
}

// Sources lists the files, with their full paths.
func (c *Config) Sources() []string {
	l := make([]string, len(c.Files))
	for i, f := range c.Files {
		if l[i] = f.Path; !filepath.IsAbs(f.Path) {
			l[i] = filepath.Join(c.Dir, f.Path)
		}
	}
	return l
}

// Service is one service with the settings of all its levels merged.
type Service struct {
	Name      string
	Owner     string
	Hosts     []string // lower case, without trailing dot
	Upstreams []string
	Policy    Policy
	Routes    []*Route // at least one

	At Position `json:"-"` // where it is defined
}

// Route is one route with the settings of all its levels merged.
type Route struct {
	Name     string // unique in the node
	Paths    []string
	Match    *Match
	Deny     bool
	Redirect *Redirect
	Rewrite  *Rewrite
	Policy   Policy
	// These say that rate_limit, quota, bandwidth and concurrency stand in the
	// route itself, so that their counts are its own.
	OwnRateLimit, OwnQuota, OwnBandwidth, OwnConcurrency bool

	At       Position  `json:"-"` // where it is defined
	Settings []Setting `json:"-"` // its policy, and where each part comes from
}

// Load reads the node's configuration at path: a file, or a folder with
// vazel.yaml. Every mistake of every file is in the error, an *Errors.
func Load(path string) (*Config, error) { return load(path, nil, nil, newFiles(), nil) }

// LoadWith is Load for a reload: a drop-in file with a mistake keeps its last
// good version, which previous holds, and the rest goes live; Config.Files
// says which. A new file with a mistake is left out. Of two files that do not
// fit together the one that changed gives way. A mistake in the main file is an
// error, and so is one that remains. Files of a server certificate that can't be
// used, as while they are being replaced, are a warning: the former certificate
// is served.
func LoadWith(previous *Config, path string) (*Config, error) {
	if previous == nil {
		return Load(path)
	}
	replaced, files := map[string][]byte{}, newFiles()
	for {
		c, err := load(path, replaced, previous, files, nil)
		if err == nil {
			for i, f := range c.Files {
				if _, ok := replaced[f.Path]; ok {
					c.Files[i].Valid = false
				}
			}
			return c, nil
		}
		all, ok := err.(*Errors)
		if !ok {
			return nil, err
		}
		// Put the last good version of each file with a mistake in its place.
		progress := false
		for _, p := range all.Problems {
			file := p.File
			if p.other != "" && !all.changed(file, previous) && all.changed(p.other, previous) {
				file = p.other
			}
			if _, done := replaced[file]; p.Warning || done || file == "" || file == previous.Files[0].Path {
				continue
			}
			replaced[file], progress = previous.good[file], true
		}
		if !progress {
			return nil, err
		}
	}
}

// changed reports whether a file is not what it was in previous.
func (e *Errors) changed(file string, previous *Config) bool {
	good, had := previous.good[file]
	return !had || !bytes.Equal(good, e.raw[file])
}

// mainFile is the full path of the main file of the configuration at path.
func mainFile(path string) (string, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "vazel.yaml")
	}
	return filepath.Abs(path)
}

// Dir is the folder of the main file of the configuration at path.
func Dir(path string) (string, error) {
	main, err := mainFile(path)
	return filepath.Dir(main), err
}

// load takes the files in replaced instead of those on disk, and if kept is set
// no others.
func load(path string, replaced map[string][]byte, previous *Config, files *Files, kept *Kept) (*Config, error) {
	path, err := mainFile(path)
	if err != nil {
		return nil, err
	}
	l := &loader{dir: filepath.Dir(path), files: files, file: map[*yaml.Node]*source{}}
	read := func(path string) *source {
		name := l.name(path)
		if good, ok := replaced[name]; ok {
			s := &source{path: name, valid: true}
			l.sources = append(l.sources, s)
			l.parse(s, good)
			return s
		}
		return l.read(path)
	}
	main := read(path)
	c := &Config{Dir: l.dir, Read: files, good: map[string][]byte{}}
	if main.root == nil {
		if main.valid {
			l.fileProblem(main, 0, 0, "the file is empty; it must begin with \"version: 1\"")
		}
		return nil, l.finish()
	}
	l.decode(main.root, reflect.ValueOf(&c.File).Elem(), "the file")
	l.checkVersion(main)
	var included []string
	if kept == nil {
		included = l.include(main, c.Include)
	} else {
		included = kept.included(l.dir)
	}
	for _, s := range included {
		if s != path { // a pattern may cover the main file as well
			read(s)
		}
	}
	t := &tree{loader: l, config: c, previous: previous, lastGood: kept != nil, main: main, organizations: map[string]*yaml.Node{}, profiles: map[string]*yaml.Node{}, services: map[string]*yaml.Node{}}
	for _, s := range l.sources {
		if s.root != nil {
			t.collect(s)
		}
	}
	t.fill()
	t.build()
	if err := l.finish(); err != nil {
		return nil, err
	}
	for _, s := range l.sources {
		c.Files = append(c.Files, FileStatus{s.path, true})
		c.good[s.path] = s.raw
	}
	for _, p := range l.errs.Problems {
		if p.Warning {
			c.Warnings = append(c.Warnings, p)
		}
	}
	c.Hash = c.hash()
	return c, nil
}

// finish is the report, if anything is wrong.
func (l *loader) finish() error {
	l.errs.Files, l.errs.Read = len(l.sources)+l.lists, l.files
	l.errs.raw = map[string][]byte{}
	for _, s := range l.sources {
		l.errs.raw[s.path] = s.raw
		for i := range l.errs.Problems {
			if p := &l.errs.Problems[i]; p.File == s.path && s.secret[p.Line] {
				p.Snippet, p.Suggestion = "", ""
			}
		}
	}
	l.errs.sort()
	if n, _, _ := l.errs.count(); n > 0 {
		return &l.errs
	}
	return nil
}

func (l *loader) checkVersion(main *source) {
	_, v := get(main.root, "version")
	switch {
	case v == nil:
		l.fileProblem(main, 0, 0, "\"version: 1\" is missing")
	case v.Value != "1" && !l.noted(v):
		l.problem(v, "version %s is not known; this program reads version 1", v.Value)
	}
}

// include lists the files that the main file names, in the order of their names.
func (l *loader) include(main *source, patterns []string) (paths []string) {
	_, n := get(main.root, "include")
	for _, p := range patterns {
		full := p
		if !filepath.IsAbs(p) {
			full = filepath.Join(l.dir, p)
		}
		l.files.notePattern(full)
		found, err := filepath.Glob(full)
		if err != nil {
			l.problem(n, "include %q is not a pattern of file names", p)
			continue
		}
		if strings.Contains(p, "**") {
			l.problem(n, "include %q: ** is not supported; name each folder", p)
			continue
		}
		// A folder that can't be read would look like an empty one.
		if dir := filepath.Dir(full); !strings.ContainsAny(dir, "*?[") {
			if _, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.problem(n, "include %q: the folder %s can't be read: %v", p, dir, unwrapPath(err))
				continue
			}
		}
		if len(found) == 0 {
			if strings.ContainsAny(p, "*?[") {
				l.warn(n, "include %q matches no file", p)
			} else {
				l.problem(n, "include %q: there is no such file", p)
			}
		}
		for _, f := range found {
			if base := filepath.Base(f); !strings.HasPrefix(base, ".") && !slices.Contains(paths, f) && !strings.HasSuffix(base, "~") {
				paths = append(paths, f)
			}
		}
	}
	slices.Sort(paths)
	return paths
}

// hash is over what is in force, not over how it is spread over files. Secrets
// stand in it by reference.
func (c *Config) hash() string {
	effective := struct {
		File     File
		Services []*Service
		Trust    map[string]certs.Organization
		Callers  map[string]middleware.Caller
	}{c.File, c.Services, c.Trust, c.Callers}
	effective.File.Include, effective.File.Services, effective.File.Organizations, effective.File.Profiles = nil, nil, nil, nil
	b, err := json.Marshal(effective)
	if err != nil {
		b = fmt.Append(nil, effective)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// AdminAddress is where the gateway that runs with the configuration at path
// has its admin listener, beginning with https:// if it asks for a certificate. It reads no more than it must, so that it works while
// something else is wrong.
func AdminAddress(path string) (string, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "vazel.yaml")
	}
	b, err := readBounded(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	var f struct {
		Admin struct {
			Listen string    `yaml:"listen"`
			TLS    yaml.Node `yaml:"tls"`
		} `yaml:"admin"`
	}
	if err := yaml.Unmarshal(b, &f); err != nil {
		// The gateway itself says what is wrong with the file, if it is found.
		if m := adminListen.FindSubmatch(b); m != nil {
			return string(m[1]), nil
		}
		return defaultAdmin, nil
	}
	if f.Admin.Listen == "" {
		f.Admin.Listen = defaultAdmin
	}
	if f.Admin.TLS.Kind == yaml.MappingNode {
		return "https://" + f.Admin.Listen, nil
	}
	return f.Admin.Listen, nil
}

// adminListen finds the address in a file that is not YAML.
var adminListen = regexp.MustCompile(`(?m)^admin:\s*(?:\{\s*)?(?:[a-z_]+:[^\n}]*\n\s+)*?listen:\s*["']?([^"'\s,}]+)`)

const defaultAdmin = "127.0.0.1:9180"

// fill sets the defaults that the fields document.
func (t *tree) fill() {
	f := &t.config.File
	def := func(d *unit.Duration, v time.Duration) {
		if *d == 0 {
			*d = unit.Duration(v)
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	l := &f.Limits
	def(&l.HeaderTimeout, 10*time.Second)
	def(&l.BodyTimeout, 30*time.Second)
	def(&l.WriteTimeout, 30*time.Second)
	if l.HTTP1 == "" {
		l.HTTP1 = "strict"
	}
	if l.MinRate == 0 {
		l.MinRate = 500
	}
	def(&l.IdleTimeout, 2*time.Minute)
	def(&l.DrainTimeout, 30*time.Second)
	def(&l.WithdrawalTimeout, 300*time.Millisecond)
	if l.Withdrawal == "" {
		l.Withdrawal = WithdrawalFinish
	}
	if l.MaxHeader == 0 {
		l.MaxHeader = 32 << 10
	}
	if l.MaxURI == 0 {
		l.MaxURI = 8 << 10
	}
	num(&l.MaxHeaders, 100)
	num(&l.MaxStreams, 128)
	if l.CacheSize == 0 {
		l.CacheSize = 64 << 20
	}
	if l.BufferMemory == 0 {
		l.BufferMemory = 256 << 20
	}
	if l.SpoolDisk == 0 {
		l.SpoolDisk = 1 << 30
	}
	num(&l.MaxInFlight, 10000)
	num(&l.MaxRequests, 1_000_000)
	num(&l.MaxConnections, 20000)
	num(&l.MaxConnectionsPerIP, 512)
	if f.Admin.Listen == "" {
		f.Admin.Listen = defaultAdmin
	}
	if f.AccessLog.Output == "" {
		f.AccessLog.Output = "stdout"
	}
	if f.SecurityLog.Output == "" {
		f.SecurityLog.Output = "off"
	}
	for _, l := range []struct {
		log       *middleware.RequestLog
		addresses string
	}{{&f.AccessLog, middleware.AddressesTruncated}, {&f.SecurityLog, middleware.AddressesFull}} {
		if l.log.Format == "" {
			l.log.Format = middleware.FormatJSON
		}
		if l.log.Addresses == "" {
			l.log.Addresses = l.addresses
		}
	}
	if f.AuditLog.Output == "" {
		f.AuditLog.Output = "stdout"
	}
	if f.TLS.Profile == "" {
		f.TLS.Profile = "intermediate"
	}
	for i := range f.Listen {
		if e := &f.Listen[i]; e.Redirect == "" && len(e.Protocols) == 0 {
			e.Protocols = []string{"h1", "h2"}
		}
		if e := &f.Listen[i]; e.Redirect != "" && e.RedirectPort == 0 {
			e.RedirectPort = 443
		}
	}
}

// fillPolicy sets the defaults of a merged policy.
func fillPolicy(p *Policy) {
	if len(p.Methods) == 0 {
		p.Methods = unit.List{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	}
	if p.MaxBody == 0 {
		p.MaxBody = 10 << 20
	}
	if p.Timeout == 0 {
		p.Timeout = unit.Duration(30 * time.Second)
	}
	if p.MTLS == "" {
		p.MTLS = certs.MTLSOff
	}
	if p.SecurityHeaders == nil {
		p.SecurityHeaders = &middleware.SecurityHeaders{}
	}
}
