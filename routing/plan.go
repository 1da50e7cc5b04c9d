package routing

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ginfer/ginfer/internal/hash"
	"github.com/ginfer/ginfer/routing/rollout"
)

// maxSplits bounds the cached splits of a plan.
const maxSplits = 1024

// compiled is a table prepared for requests. It does not change, apart from its cache of
// splits.
type compiled struct {
	table  Table
	steps  []*rollout.Step  // of the router's rollouts at compile time
	models bool             // routing depends on the model
	exact  map[string]*plan // by model named in a route
	others *plan            // for any other model, or none
}

// plan is the routes that a model's requests may match, in order.
type plan struct {
	outright []*entry // conditions, no weight
	weighted []*entry
	rest     []*entry // neither

	splits sync.Map // of the weighted routes that a request matches, by mask
	count  atomic.Int32
}

type entry struct {
	route  *Route
	weight float64 // of a route that has one
	arm    arm     // its part in a rollout
	chain  []Target
	picky  bool // a target of a longer chain has capabilities
	mirror *mirror
}

func compile(t Table, steps []*rollout.Step) *compiled {
	c := &compiled{table: t, steps: steps, exact: make(map[string]*plan), others: new(plan)}
	entries, chains := make([]*entry, len(t.Routes)), t.chains()
	for i := range t.Routes {
		r := &t.Routes[i]
		entries[i] = newEntry(r, chains.of(r))
		entries[i].mirror = chains.mirror(r)
		c.models = c.models || r.Model != "" || r.UpstreamModel != ""
		if r.Model != "" && !strings.HasSuffix(r.Model, "*") {
			c.exact[r.Model] = new(plan)
		}
	}
	for _, s := range steps {
		divide(s, entries)
	}
	for _, e := range entries {
		if p := c.exact[e.route.Model]; p != nil {
			p.add(e)
			continue
		}
		c.others.add(e)
		for model, p := range c.exact {
			if e.route.forModel(model) {
				p.add(e)
			}
		}
	}
	return c
}

func newEntry(r *Route, chain []Target) *entry {
	e := &entry{route: r, chain: chain}
	e.picky = len(chain) > 1 && slices.ContainsFunc(chain, func(t Target) bool { return t.Capabilities != nil })
	if r.Weight != nil {
		e.weight = *r.Weight
	}
	return e
}

func (p *plan) add(e *entry) {
	switch {
	case e.route.Weight != nil:
		p.weighted = append(p.weighted, e)
	case !e.route.Conditions.empty():
		p.outright = append(p.outright, e)
	default:
		p.rest = append(p.rest, e)
	}
}

// find returns the entry for a request, or nil. It computes the key only when more than one
// version could serve the request; drawn is then its hash.
func (c *compiled) find(s *subject, key func() string) (found *entry, drawn uint64) {
	p := c.exact[s.model]
	if p == nil {
		p = c.others
	}
	for _, e := range p.outright {
		if e.meets(s) {
			return e, 0
		}
	}
	if e, drawn := c.draw(p, s, key); e != nil {
		return e, drawn
	}
	for _, e := range p.rest {
		if e.meets(s) {
			return e, 0
		}
	}
	return nil, 0
}

func (e *entry) meets(s *subject) bool {
	return e.route.forModel(s.model) && e.route.Conditions.met(s)
}

// draw selects one of the weighted routes by the user's key, and returns the key's hash if
// there was a choice.
func (c *compiled) draw(p *plan, s *subject, key func() string) (picked *entry, drawn uint64) {
	var mask uint64
	for i, e := range p.weighted {
		if e.meets(s) {
			mask |= 1 << i
		}
	}
	spans := p.spans(mask)
	switch len(spans) {
	case 0:
		return nil, 0
	case 1:
		return p.weighted[spans[0].owner], 0
	}
	seed := hash.String(hash.String(0, c.table.Salt), s.model)
	drawn = hash.String(seed, key()) | 1 // 0 means no choice
	u := float64(drawn>>11) / (1 << 53)
	return p.weighted[ownerOf(spans, u)], drawn
}

// spans returns the split among the routes of a mask.
func (p *plan) spans(mask uint64) []span {
	if mask == 0 {
		return nil
	}
	if v, ok := p.splits.Load(mask); ok {
		return v.([]span) //nolint:forcetypeassert // nothing else is stored
	}
	weights := make([]float64, len(p.weighted))
	for i, e := range p.weighted {
		weights[i] = -1
		if mask>>i&1 == 1 {
			weights[i] = e.weight
		}
	}
	spans := split(weights)
	if p.count.Add(1) <= maxSplits {
		p.splits.Store(mask, spans)
	}
	return spans
}
