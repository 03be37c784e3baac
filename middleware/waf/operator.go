package waf

import (
	"sync"
	_ "unsafe" // for the operator

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/libinjection-go"

	"github.com/vazel-gateway/vazel/middleware/waf/screen"
)

// engineRX is the engine's own @rx, which the linker finds, or the build fails.
//
//go:linkname engineRX github.com/corazawaf/coraza/v3/internal/operators.newRX
func engineRX(options plugintypes.OperatorOptions) (plugintypes.Operator, error)

// rx is the engine's @rx behind the condition of its pattern.
type rx struct {
	plugintypes.Operator
	filter *screen.Filter
}

func (o *rx) Evaluate(tx plugintypes.TransactionState, value string) bool {
	return o.filter.MayMatch(value) && o.Operator.Evaluate(tx, value)
}

// compiling is held while a rule set is compiled; plain says that its patterns
// get no filters, and bytes that Cyrillic is not taken for letters.
var compiling struct {
	sync.Mutex
	plain bool
	bytes bool // Settings.Bytes
}

// filters are those of patterns. Rule sets have most of them in common.
var filters sync.Map

// specials bounds the memory of all filters together.
var specials = screen.NewBudget(32, 600)

// register puts filters in front of patterns, in all rule sets that are compiled
// from now on.
var register = sync.OnceFunc(func() {
	plugins.RegisterOperator("rx", func(o plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		op, err := engineRX(o)
		if err != nil {
			return op, err
		}
		if t := tolerancePatterns()[o.Arguments]; t != nil && !compiling.bytes {
			op = &tolerant{op, t}
		}
		if compiling.plain {
			return op, nil
		}
		f, ok := filters.Load(o.Arguments)
		if !ok {
			f, _ = filters.LoadOrStore(o.Arguments, screen.NewFilter(o.Arguments, specials))
		}
		return &rx{op, f.(*screen.Filter)}, nil
	})
	plugins.RegisterOperator("detectXSS", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		if compiling.bytes {
			return scripts{}, nil
		}
		return &tolerant{scripts{}, markup}, nil
	})
})

// scripts is the engine's own @detectXSS.
type scripts struct{}

func (scripts) Evaluate(_ plugintypes.TransactionState, value string) bool {
	return libinjection.IsXSS(value)
}
