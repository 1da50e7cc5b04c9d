package routing

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ginfer/ginfer/internal/hash"
)

// maxSplits bounds the splits that one plan remembers.
const maxSplits = 1024

// compiled is a table made ready for requests. It does not change, but for
// what it remembers.
type compiled struct {
	table  Table
	models bool             // the model of a request matters
	exact  map[string]*plan // by model named in a route
	others *plan            // for any other model, and none
}

// plan is the routes that a model's requests may meet, in order.
type plan struct {
	outright []*entry // conditions, no weight
	weighted []*entry
	rest     []*entry // neither

	splits sync.Map // of the weighted ones that a request may have, by mask
	count  atomic.Int32
}

type entry struct {
	route *Route
	chain []Target
	picky bool // some target of a longer chain says what it can do
}

func compile(t Table) *compiled {
	c := &compiled{table: t, exact: make(map[string]*plan), others: new(plan)}
	entries, chains := make([]*entry, len(t.Routes)), t.chains()
	for i := range t.Routes {
		r := &t.Routes[i]
		chain := chains.of(r)
		picky := len(chain) > 1 && slices.ContainsFunc(chain, func(t Target) bool { return t.Capabilities != nil })
		entries[i] = &entry{r, chain, picky}
		c.models = c.models || r.Model != "" || r.UpstreamModel != ""
		if r.Model != "" && !strings.HasSuffix(r.Model, "*") {
			c.exact[r.Model] = new(plan)
		}
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

// find returns the entry for a request, or nil. The key is only asked for when
// more than one version could answer.
func (c *compiled) find(s *subject, key func() string) *entry {
	p := c.exact[s.model]
	if p == nil {
		p = c.others
	}
	for _, e := range p.outright {
		if e.meets(s) {
			return e
		}
	}
	if e := c.draw(p, s, key); e != nil {
		return e
	}
	for _, e := range p.rest {
		if e.meets(s) {
			return e
		}
	}
	return nil
}

func (e *entry) meets(s *subject) bool {
	return e.route.forModel(s.model) && e.route.Conditions.met(s)
}

// draw picks one of the weighted routes by the user's key.
func (c *compiled) draw(p *plan, s *subject, key func() string) *entry {
	var mask uint64
	for i, e := range p.weighted {
		if e.meets(s) {
			mask |= 1 << i
		}
	}
	spans := p.spans(mask)
	switch len(spans) {
	case 0:
		return nil
	case 1:
		return p.weighted[spans[0].owner]
	}
	seed := hash.String(hash.String(0, c.table.Salt), s.model)
	u := float64(hash.String(seed, key())>>11) / (1 << 53)
	return p.weighted[ownerOf(spans, u)]
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
			weights[i] = *e.route.Weight
		}
	}
	spans := split(weights)
	if p.count.Add(1) <= maxSplits {
		p.splits.Store(mask, spans)
	}
	return spans
}
