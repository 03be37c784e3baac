package middleware

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/vazel-gateway/vazel/middleware/addresses"
)

// buildNetworks decides by where a request comes from: the settled client
// address, which behind trusted proxies is what they say.
func buildNetworks(deny, allow []string, env Env) (Func, error) {
	rules, err := env.Addresses.Rules(deny, allow)
	if err != nil || rules == nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status, d := JudgeNetwork(rules, RecordOf(r.Context()).Client); status != 0 {
				Deny(w, r, status, d)
				return
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// The reasons of refusals by network. They don't say which list decided: whoever
// is on one would learn how to get around it.
const (
	ReasonNetwork     = "denied_network"
	ReasonNetworkList = "network_list_unavailable"
)

// JudgeNetwork is how a request from an address is to be refused; the status is 0
// if it is not.
func JudgeNetwork(rules *addresses.Rules, client netip.Addr) (status int, d Denial) {
	switch judged := rules.Judge(client); judged.Verdict {
	case addresses.Denied:
		return http.StatusForbidden, Denial{By: judged.By, Reason: ReasonNetwork, Detail: judged.Why}
	case addresses.Unknown:
		return http.StatusServiceUnavailable, Denial{By: judged.By, Reason: ReasonNetworkList, Detail: judged.Why, RetryAfter: 30 * time.Second}
	}
	return 0, Denial{}
}
