package config

import (
	"github.com/vazel-gateway/vazel/certs"
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
}

// Service is one service with the settings of all its levels merged.
type Service struct {
	Name      string
	Owner     string
	Hosts     []string // lower case, without trailing dot
	Upstreams []string
	Policy    Policy
	Routes    []*Route // at least one
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
}

// Position is a place in a file; Line and Column count from 1.
type Position struct {
	File         string
	Line, Column int
}

// Problem is one error or warning, with where it is and what to do.
type Problem struct {
	Position
	Warning    bool
	Message    string
	Snippet    string
	Suggestion string
}
