package config

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware"
)

// checkSLO checks what a service promises; it is always written whole.
func (t *tree) checkSLO(n *yaml.Node, where string) {
	profile := n
	if n.Kind == yaml.MappingNode {
		_, profile = get(n, "profile")
		if _, first := get(n, "first_byte"); profile == nil && first == nil {
			t.problem(n, "slo of %s names neither a profile nor first_byte", where)
		}
		for _, key := range []string{"share", "availability"} {
			if _, v := get(n, key); v != nil && strings.Trim(v.Value, "0.%") == "" {
				t.bad(v, "", "slo.%s is nothing; write for example %s", key, "95%")
			}
		}
	}
	if profile != nil && profile.Kind == yaml.ScalarNode {
		t.oneOf(profile, "slo.profile", middleware.SLOProfiles()...)
	}
}
