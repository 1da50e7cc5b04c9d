package routing

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

// target returns the destination of a route.
func (r *Route) target() Target {
	t := Target{
		Version: r.Version, Upstream: r.Upstream, UpstreamModel: r.UpstreamModel,
		Capabilities: r.Capabilities, Patience: time.Duration(r.FallbackAfter),
	}
	if t.Upstream == "" {
		t.Upstream = r.Version
	}
	return t
}

// samePlace reports whether two targets have the same upstream and model name.
func (t Target) samePlace(other Target) bool {
	return t.Upstream == other.Upstream && t.UpstreamModel == other.UpstreamModel
}

// same reports whether two targets differ in nothing but name and patience.
func (t Target) same(other Target) bool {
	return t.samePlace(other) && t.Capabilities.same(other.Capabilities)
}

// chains resolves the fallbacks of a table.
type chains struct {
	table     *Table
	byVersion map[string][]int // indexes of routes
}

func (t *Table) chains() chains {
	c := chains{t, make(map[string][]int)}
	for i := range t.Routes {
		version := t.Routes[i].Version
		c.byVersion[version] = append(c.byVersion[version], i)
	}
	return c
}

// of returns the route's own target and its fallbacks.
func (c chains) of(r *Route) []Target {
	out := []Target{r.target()}
	for _, name := range r.Fallback {
		target, _ := c.named(name, r.Model)
		out = append(out, target)
	}
	return out
}

// The kinship of a version with the model of a route that falls back on it, nearest first.
const (
	sameModel = iota
	sharedModel
	otherModel
	noModel
)

func kinship(of, model string) int {
	switch {
	case of == model:
		return sameModel
	case covers(of, model):
		return sharedModel
	}
	return otherModel
}

// named resolves a fallback of a model's route: the version of the nearest model, or else
// the upstream of that name. The rivals are two routes that are equally near and have
// different destinations.
func (c chains) named(version, model string) (found Target, rivals []int) {
	found = Target{Version: version, Upstream: version}
	nearest, first := noModel, 0
	for _, i := range c.byVersion[version] {
		r := &c.table.Routes[i]
		near := kinship(r.Model, model)
		target := r.target()
		if near == otherModel && target.UpstreamModel == "" && !isShared(r.Model) {
			target.UpstreamModel = r.Model // the request's model is unknown there
		}
		switch {
		case near < nearest:
			found, nearest, first, rivals = target, near, i, nil
		case near == nearest && rivals == nil && !found.same(target):
			rivals = []int{first, i}
		}
	}
	if nearest == sameModel {
		return found, nil // conflicts reports these
	}
	return found, rivals
}

// ambiguous reports fallbacks and mirrors that may mean two versions.
func (f *faults) ambiguous(t *Table) {
	c := t.chains()
	for i := range t.Routes {
		r := &t.Routes[i]
		if len(r.Fallback) > maxFallback { // reported by fallback
			continue
		}
		for at, name := range r.others() {
			if _, rivals := c.named(name, r.Model); rivals != nil {
				f.add(fmt.Sprintf("routes[%d].%s", i, at), "%q may be that of routes[%d] or of routes[%d], which differ", name, rivals[0], rivals[1])
			}
		}
	}
}

// others yields the versions that a route names besides its own, with their JSON path.
func (r *Route) others() iter.Seq2[string, string] {
	return func(yield func(at, name string) bool) {
		for j, name := range r.Fallback {
			if !yield(fmt.Sprintf("fallback[%d]", j), name) {
				return
			}
		}
		if r.Mirror != nil {
			yield("mirror.version", r.Mirror.Version)
		}
	}
}

// checkUpstreams reports upstreams that Config does not have.
func (t *Table) checkUpstreams(upstreams map[string]http.RoundTripper) error {
	var f faults
	c := t.chains()
	known := strings.Join(sortedKeys(upstreams), ", ")
	need := func(i int, at, upstream string) {
		if upstreams[upstream] == nil {
			f.add(fmt.Sprintf("routes[%d].%s", i, at), "there is no upstream %q; known: %s", upstream, known)
		}
	}
	for i := range t.Routes {
		r := &t.Routes[i]
		own := "version"
		if r.Upstream != "" {
			own = "upstream"
		}
		need(i, own, r.target().Upstream)
		for at, name := range r.others() {
			target, _ := c.named(name, r.Model)
			need(i, at, target.Upstream)
		}
	}
	return fault.Join(f...)
}
