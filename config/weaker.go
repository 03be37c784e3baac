package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/gateway/store"
	"github.com/vazel-gateway/vazel/middleware"
)

// rule says why a new value lets more through than the old one, or "". Either
// may be nil: not set.
type rule func(old, new any) string

// because is a rule that holds for every change to what is set.
func because(why string) rule {
	return func(_, new any) string { return why }
}

// added is a rule for lists of what is let through.
func added(what string) rule {
	return func(old, new any) string {
		var more []string
		for _, w := range words(new) {
			if !slices.Contains(words(old), w) {
				more = append(more, w)
			}
		}
		if len(more) == 0 {
			return ""
		}
		return fmt.Sprintf("%s: %s", what, strings.Join(more, ", "))
	}
}

// listed is a rule for lists of what alone is let through; none lets all through.
func listed(what string) rule {
	more := added(what)
	return func(old, new any) string {
		switch {
		case old == nil:
			return ""
		case new == nil:
			return what
		}
		return more(old, new)
	}
}

// removed is a rule for lists of what is refused.
func removed(what string) rule {
	more := added(what)
	return func(old, new any) string { return more(new, old) }
}

// lowered is a rule for words that fall in strength; what is not set is the
// last.
func lowered(what string, order ...string) rule {
	rank := func(v any) int {
		i := slices.Index(order, fmt.Sprint(v))
		if i < 0 {
			i = len(order)
		}
		return i
	}
	return func(old, new any) string {
		if rank(new) > rank(old) {
			return what
		}
		return ""
	}
}

// raised is a rule for bounds: a larger one is weaker, and so is none, which
// unset stands for.
func raised(what string, unset float64) rule {
	return func(old, new any) string {
		size := func(v any) float64 {
			if v == nil {
				return unset
			}
			return quantity(v)
		}
		if size(new) > size(old) {
			return what
		}
		return ""
	}
}

// falls is a rule for numbers of which a smaller one is weaker.
func falls(what string, unset float64) rule {
	up := raised(what, unset)
	return func(old, new any) string { return up(new, old) }
}

// quantity is a number of any unit.
func quantity(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case string:
		var d unit.Duration
		var z unit.Size
		var r unit.Rate
		var p unit.Percent
		var w unit.Bandwidth
		switch b := []byte(v); {
		case z.UnmarshalText(b) == nil:
			return float64(z)
		case d.UnmarshalText(b) == nil:
			return float64(d)
		case r.UnmarshalText(b) == nil:
			return r.PerSecond()
		case p.UnmarshalText(b) == nil:
			return float64(p)
		case w.UnmarshalText(b) == nil:
			return float64(w)
		}
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	}
	return 0
}

const unbounded = 1e300

var globalRules = map[string]rule{
	"trusted_proxies":               added("more networks are believed about whom a request is from"),
	"deny_from":                     removed("networks are no longer refused"),
	"address_sets":                  because("a list of networks is another one, or is judged otherwise"),
	"tls.profile":                   lowered("the TLS profile is weaker", "modern", "ncsc-nl-2025-05", "bsi-tr-02102-2", "intermediate"),
	"limits.header_timeout":         raised("a limit is raised", 0),
	"limits.body_timeout":           raised("a limit is raised", 0),
	"limits.write_timeout":          raised("a limit is raised", 0),
	"limits.idle_timeout":           raised("a limit is raised", 0),
	"limits.max_header":             raised("a limit is raised", 0),
	"limits.max_headers":            raised("a limit is raised", 0),
	"limits.max_uri":                raised("a limit is raised", 0),
	"limits.max_streams":            raised("a limit is raised", 0),
	"limits.max_connections":        raised("a limit is raised", 0),
	"limits.max_connections_per_ip": raised("a limit is raised", 0),
	"limits.max_in_flight":          raised("a limit is raised", 0),
	"limits.min_rate":               falls("a limit is lowered", 0),
	"limits.http1": func(_, new any) string {
		if new == "standard" {
			return "heads with two readings may pass"
		}
		return ""
	},
	"admin.operators": added("more may operate the gateway"),
	"admin.hosts":     added("the admin listener answers to more names"),
	"admin.listen": func(_, new any) string {
		if a, err := netip.ParseAddrPort(fmt.Sprint(new)); err == nil && !a.Addr().IsLoopback() {
			return "the admin listener is not on a loopback address"
		}
		return ""
	},
	"access_log.output": off("requests are no longer logged"),
	"access_log.addresses": func(_, new any) string {
		if new == middleware.AddressesFull {
			return "whole addresses of clients are logged"
		}
		return ""
	},
	"security_log.output": func(old, new any) string {
		if new == nil || new == "off" {
			return "refused requests are no longer in a log of their own"
		}
		return ""
	},
	"audit_log.output": off("audit records are no longer kept"),
	"delegate":         because("others may define more"),
	"store.nodes": func(old, new any) string {
		switch {
		case new == nil:
			return "each gateway counts for itself, so that several admit more"
		case old != nil && quantity(new) < quantity(old):
			return "each gateway admits more while the store is lost"
		}
		return ""
	},
	"store.on_store_failure": func(old, new any) string {
		switch {
		case new == store.FailOpen:
			return "nothing is limited while the store is lost"
		case old == store.FailClosed:
			return "requests are admitted while the store is lost"
		}
		return ""
	},
	"store.redis.tls": gone("what is sent to the store is no longer encrypted"),
}

func off(why string) rule {
	return func(_, new any) string {
		if new == "off" {
			return why
		}
		return ""
	}
}

var organizationRules = map[string]rule{
	"ca":      added("more authorities prove the organization"),
	"id":      identifies,
	"subject": identifies,
	"san":     identifies,
	"spki":    identifies,
	"eku": func(_, new any) string {
		if new == "any" {
			return "certificates for servers count as well"
		}
		return ""
	},
	"qc": gone("qualified statements are no longer demanded"),
	"crl": func(old, new any) string {
		switch {
		case old == nil:
			return ""
		case new == nil:
			return "revocation lists are no longer read"
		}
		return "revocation is known by other means, or for longer"
	},
	"ocsp": gone("the revocation status is no longer asked for"),
	"revocation.mode": func(old, new any) string {
		modes := []string{"require", "grace", "observe"} // not set is require, too
		if slices.Index(modes, fmt.Sprint(new)) > max(0, slices.Index(modes, fmt.Sprint(old))) {
			return "an unknown revocation status is treated more lightly"
		}
		return ""
	},
	"revocation.grace": raised("a stale revocation list counts for longer", 0),
	"rate_limit.rate":  raised("the ceiling is raised", unbounded),
	"rate_limit.burst": burst,
	"rate_limit.mode":  detected,
	"quota.day":        raised("the quota is raised", unbounded),
	"quota.month":      raised("the quota is raised", unbounded),
	"quota.mode":       detected,
	"concurrency":      raised("the ceiling is raised", unbounded),
	"concurrency.max":  raised("the ceiling is raised", unbounded),
	"concurrency.mode": detected,
	"require_pq":       gone("connections without a post-quantum key exchange are let in"),
	"valid_until": func(old, new any) string {
		if new == nil || old != nil && fmt.Sprint(new) > fmt.Sprint(old) {
			return "the agreement lasts longer"
		}
		return ""
	},
}

// burst is the rule for bursts. One that is not set follows the rate.
func burst(old, new any) string {
	if old != nil && new != nil && quantity(new) > quantity(old) {
		return "the limit is raised"
	}
	return ""
}

// detected is the rule for modes of limits.
func detected(_, new any) string {
	if new == "detect" {
		return "the limit refuses nothing any more"
	}
	return ""
}

// otherwise is the rule for whom a limit counts by.
func otherwise(old, new any) string {
	if old != nil && new != nil {
		return "the limit counts by something else"
	}
	return ""
}

// identifies: another identifier is another organization under the same name.
func identifies(old, new any) string {
	return "other certificates prove the organization"
}

func gone(why string) rule {
	return func(old, new any) string {
		if old != nil && new == nil {
			return why
		}
		return ""
	}
}

// policyRules are the rules of services and routes. A nil service or route lets
// nothing through.
func policyRules(was, is map[string]any) map[string]rule {
	if is == nil || was == nil && is["deny"] == true {
		return nil
	}
	if was == nil {
		return map[string]rule{"paths": because("paths are served that were not")}
	}
	if is["deny"] == true {
		return nil
	}
	return map[string]rule{
		"mtls": lowered("a client certificate is asked for less", "required", "optional"),
		"allow": func(old, new any) string {
			switch {
			case new == nil && old != nil:
				return "anyone is let in"
			case old == nil || slices.Contains(words(old), "*"):
				return ""
			}
			return added("let in")(old, new)
		},
		"deny_from": removed("networks are no longer refused"),
		"allow_from": func(old, new any) string {
			switch {
			case new == nil && old != nil:
				return "every network is let in"
			case old == nil:
				return ""
			}
			return added("networks are let in")(old, new)
		},
		"methods":          added("methods are let through"),
		"rate_limit.rate":  raised("the limit is raised", unbounded),
		"rate_limit.burst": burst,
		"rate_limit.per":   otherwise,
		"rate_limit.mode":  detected,
		"quota.day":        raised("the quota is raised", unbounded),
		"quota.month":      raised("the quota is raised", unbounded),
		"quota.per":        otherwise,
		"quota.mode":       detected,
		"bandwidth.down":   raised("the limit is raised", unbounded),
		"bandwidth.up":     raised("the limit is raised", unbounded),
		"bandwidth.per":    otherwise,
		"bandwidth.mode":   detected,
		"costs": func(old, _ any) string {
			if old != nil {
				return "requests may count less"
			}
			return ""
		},
		"concurrency":      raised("the limit is raised", unbounded),
		"concurrency.max":  raised("the limit is raised", unbounded),
		"concurrency.per":  otherwise,
		"concurrency.mode": detected,
		"require_pq":       gone("connections without a post-quantum key exchange are let in"),
		"max_body":         raised("the limit is raised", 0),
		"timeout":          raised("the limit is raised", 0),
		"waf.mode":         lowered("inspection is lowered", "block", "detect"),
		"waf.responses":    lowered("responses are no longer inspected as before", "block", "detect"),
		"waf.paranoia":     falls("inspection is lowered", 1),
		"waf.threshold":    raised("inspection is lowered", 5),
		"waf.exclude":      added("rules are left out"),
		"waf.accept":       added("dangerous XML is let through"),
		"waf.app":          because("inspection takes another application's requests for granted"),
		"waf.tables":       added("SQL may read more tables"),
		"waf.cyrillic":     because("escapes are read differently by inspection"),
		"waf.body_over_limit": func(_, new any) string {
			if new == "inspect_head" {
				return "only the beginning of large bodies is inspected"
			}
			return ""
		},
		"content_types":     listed("bodies of more types are let in"),
		"files.types":       listed("files of more types are let in"),
		"files.max_size":    raised("the limit is raised", unbounded),
		"files.max_count":   raised("the limit is raised", unbounded),
		"openapi":           gone("requests are no longer held to a description"),
		"leaks.egn":         lowered("leaks are treated more lightly", "block", "mask", "count"),
		"leaks.iban":        lowered("leaks are treated more lightly", "block", "mask", "count"),
		"leaks.card":        lowered("leaks are treated more lightly", "block", "mask", "count"),
		"leaks.stack_trace": lowered("leaks are treated more lightly", "block", "mask", "count"),
		"operations":        listed("more operations are let in"),
		"scan":              gone("uploads are no longer scanned"),
		"scan.on_scanner_failure": func(_, new any) string {
			if new == "allow" {
				return "unscanned uploads pass while the scanner fails"
			}
			return ""
		},
		"waf.rules":    because("other rules of the operator's apply"),
		"audit":        lowered("fewer audit records are left", "full", "refusals"),
		"cors.origins": added("origins may read responses"),
		"websocket": func(_, new any) string {
			if new == true {
				return "connections may be upgraded"
			}
			return ""
		},
		"upstream_tls.ca":          because("the upstream is verified otherwise"),
		"upstream_tls.server_name": because("the upstream is verified otherwise"),
		"headers.response.remove":  added("header fields are removed"),
		"match":                    because("the route's conditions differ"),
		"security_headers": func(_, new any) string {
			if new == nil || new == "off" || new == false {
				return "a security header is left out"
			}
			return ""
		},
		"deny": func(old, _ any) string {
			if old == true {
				return "what was refused is let through"
			}
			return ""
		},
		"upstreams": func(old, new any) string {
			plain := func(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "srv+http://") }
			if !slices.ContainsFunc(words(old), plain) && slices.ContainsFunc(words(new), plain) {
				return "an upstream is reached without TLS"
			}
			return ""
		},
	}
}
