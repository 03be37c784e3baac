package main

import (
	"sync/atomic"
	"time"
)

type scenario struct {
	name, variant, unit, what string
	short                     string // in the summary
	detail                    bool   // not in the brief summary
	run                       func(e *env, px *proxy, d time.Duration, ops *atomic.Int64) (result, error)
	ownCount                  bool   // count operations in the client, not at the backend
	fresh                     bool   // measure memory on a newly started proxy
	proto                     string // of the idle connections
}

type env struct {
	pki     *pki
	backend string
	lua     string
	rate    int
	idleN   int
}

var scenarios = []scenario{
	{name: "h1", short: "HTTPS/1.1 kept alive, 1 KiB", variant: "base", unit: "request", what: "HTTPS/1.1 keep-alive, 64 connections, closed loop, 1 KiB",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return wrk(px.addr, "/1k", 64, d, "")
		}},
	{name: "h1_log", short: "with access log", variant: "log", unit: "request", what: "as h1, access log on",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return wrk(px.addr, "/1k", 64, d, "")
		}},
	{name: "h1_filters", short: "with rate limit and header rewriting", detail: true, variant: "filters", unit: "request", what: "as h1, per-client rate limit and header rewriting on",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return wrk(px.addr, "/1k", 64, d, "")
		}},
	{name: "h1_all", short: "with all of these", variant: "all", unit: "request", what: "as h1, access log, per-client rate limit and header rewriting on",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return wrk(px.addr, "/1k", 64, d, "")
		}},
	{name: "rate", short: "at a fixed rate (2,000/s by default)", variant: "base", unit: "request", what: "HTTPS/1.1 keep-alive, 64 connections, fixed rate",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return fixedRate(e.pki, px.addr, "/1k", 64, e.rate, d, false)
		}},
	{name: "h2", short: "HTTP/2, 1 KiB", variant: "base", unit: "request", what: "HTTP/2, 16 connections x 8 streams, closed loop, 1 KiB",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return h2load(px.addr, "/1k", 16, 8, d)
		}},
	{name: "hs", short: "new TLS 1.3 connection", variant: "base", unit: "connection", what: "new TLS 1.3 connection (ECDSA P-256, X25519) + 1 request, 16 clients", ownCount: true,
		run: func(e *env, px *proxy, d time.Duration, ops *atomic.Int64) (result, error) {
			return handshakes(e.pki, px.addr, 16, d, false, false, false, ops)
		}},
	{name: "hs_mtls", short: "with client certificate", variant: "mtls", unit: "connection", what: "as hs, with client certificate", ownCount: true,
		run: func(e *env, px *proxy, d time.Duration, ops *atomic.Int64) (result, error) {
			return handshakes(e.pki, px.addr, 16, d, true, false, false, ops)
		}},
	{name: "hs_resume", short: "resumed", variant: "base", unit: "connection", what: "as hs, session resumed", ownCount: true,
		run: func(e *env, px *proxy, d time.Duration, ops *atomic.Int64) (result, error) {
			return handshakes(e.pki, px.addr, 16, d, false, true, false, ops)
		}},
	{name: "hs_pq", short: "with X25519MLKEM768", detail: true, variant: "base", unit: "connection", what: "as hs, key exchange X25519MLKEM768", ownCount: true,
		run: func(e *env, px *proxy, d time.Duration, ops *atomic.Int64) (result, error) {
			return handshakes(e.pki, px.addr, 16, d, false, false, true, ops)
		}},
	{name: "dl", short: "1 MiB down", variant: "base", unit: "MiB", what: "1 MiB download, 8 keep-alive connections",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return wrk(px.addr, "/1m", 8, d, "")
		}},
	{name: "ul", short: "1 MiB up", variant: "base", unit: "MiB", what: "1 MiB upload, 8 keep-alive connections",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return wrk(px.addr, "/upload", 8, d, e.lua)
		}},
	{name: "h2_dl", short: "1 MiB down, HTTP/2", detail: true, variant: "base", unit: "MiB", what: "1 MiB download over HTTP/2, 4 connections x 2 streams (Go client)",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return h3load("h2", px.addr, "/1m", 4, 2, 1<<20, d)
		}},
	{name: "h3", short: "HTTP/3, 1 KiB", variant: "base", unit: "request", what: "HTTP/3, 16 connections x 8 streams, closed loop, 1 KiB (Go client)",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return h3load("h3", px.addr, "/1k", 16, 8, 1<<10, d)
		}},
	{name: "h3_dl", short: "1 MiB down, HTTP/3", detail: true, variant: "base", unit: "MiB", what: "1 MiB download over HTTP/3, 4 connections x 2 streams (Go client)",
		run: func(e *env, px *proxy, d time.Duration, _ *atomic.Int64) (result, error) {
			return h3load("h3", px.addr, "/1m", 4, 2, 1<<20, d)
		}},
	{name: "idle", short: "idle connection", variant: "base", unit: "connection", what: "memory of idle keep-alive TLS connections", fresh: true, proto: "http/1.1"},
	{name: "idle_h2", short: "idle HTTP/2 connection", detail: true, variant: "base", unit: "connection", what: "memory of idle HTTP/2 connections", fresh: true, proto: "h2"},
}
