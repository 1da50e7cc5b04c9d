package routing

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// target is where a route sends requests.
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

// samePlace reports whether requests for one target may as well go to the other.
func (t Target) samePlace(other Target) bool {
	return t.Upstream == other.Upstream && t.UpstreamModel == other.UpstreamModel
}

// same reports whether nobody could tell them apart but by name and patience.
func (t Target) same(other Target) bool {
	return t.samePlace(other) && t.Capabilities.same(other.Capabilities)
}

// chains finds what the routes of a table fall back on.
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

// of is the route's own target and those to fall back on.
func (c chains) of(r *Route) []Target {
	out := []Target{r.target()}
	for _, name := range r.Fallback {
		target, _ := c.named(name, r.Model)
		out = append(out, target)
	}
	return out
}

// How near a version is to the model of a route that falls back on it.
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

// named finds the version that a fallback of a model's route means: one of the
// nearest model, or else the upstream of that name. Rivals are the routes of two
// that are equally near and go to different places.
func (c chains) named(version, model string) (found Target, rivals []int) {
	found = Target{Version: version, Upstream: version}
	nearest, first := noModel, 0
	for _, i := range c.byVersion[version] {
		r := &c.table.Routes[i]
		near := kinship(r.Model, model)
		target := r.target()
		if near == otherModel && target.UpstreamModel == "" && !isShared(r.Model) {
			target.UpstreamModel = r.Model // the request's is not known there
		}
		switch {
		case near < nearest:
			found, nearest, first, rivals = target, near, i, nil
		case near == nearest && rivals == nil && !found.same(target):
			rivals = []int{first, i}
		}
	}
	if nearest == sameModel {
		return found, nil // those are conflicts of their own
	}
	return found, rivals
}

// ambiguous finds fallbacks of which nobody can say what they mean.
func (f *faults) ambiguous(t *Table) {
	c := t.chains()
	for i := range t.Routes {
		r := &t.Routes[i]
		if len(r.Fallback) > maxFallback { // a fault already
			continue
		}
		for j, name := range r.Fallback {
			if _, rivals := c.named(name, r.Model); rivals != nil {
				f.add(fmt.Sprintf("routes[%d].fallback[%d]", i, j), "%q may be that of routes[%d] or of routes[%d], which differ", name, rivals[0], rivals[1])
			}
		}
	}
}

// checkUpstreams finds names that are in no Config.
func (t *Table) checkUpstreams(upstreams map[string]http.RoundTripper) error {
	var f faults
	c := t.chains()
	for i := range t.Routes {
		for j, target := range c.of(&t.Routes[i]) {
			if upstreams[target.Upstream] != nil {
				continue
			}
			at := fmt.Sprintf("routes[%d].", i)
			switch {
			case j > 0:
				at += fmt.Sprintf("fallback[%d]", j-1)
			case t.Routes[i].Upstream != "":
				at += "upstream"
			default:
				at += "version"
			}
			f.add(at, "there is no upstream %q; known: %s", target.Upstream, strings.Join(sortedKeys(upstreams), ", "))
		}
	}
	return errors.Join(f...)
}
