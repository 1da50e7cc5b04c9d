package balance

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrUnknownEndpoint is returned when no endpoint of the pool has that name.
var ErrUnknownEndpoint = errors.New("balance: unknown endpoint")

// Add adds an endpoint. It begins with a reduced share if Config.SlowStart is set.
func (p *Pool) Add(e Endpoint) error {
	n, err := e.node(p.cfg.Transport)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.set.Load().nodes
	if slices.ContainsFunc(old, func(o *node) bool { return o.name == n.name }) {
		p.mu.Unlock()
		return fmt.Errorf("balance: endpoint %q: the name is taken", n.name)
	}
	p.cfg.SlowStart.begin(n, time.Now())
	p.install(append(slices.Clone(old), n))
	p.mu.Unlock()
	p.notify(Event{Kind: Added, Endpoint: n.name})
	return nil
}

// Remove removes an endpoint at once. Its exchanges in progress continue.
func (p *Pool) Remove(name string) error {
	p.mu.Lock()
	old := p.set.Load().nodes
	i := slices.IndexFunc(old, func(n *node) bool { return n.name == name })
	if i < 0 {
		p.mu.Unlock()
		return fmt.Errorf("%w: %q", ErrUnknownEndpoint, name)
	}
	p.install(slices.Delete(slices.Clone(old), i, i+1))
	p.mu.Unlock()
	p.notify(Event{Kind: Removed, Endpoint: name})
	return nil
}

// SetEndpoints replaces the set of endpoints. Endpoints that stay, with the same name and URL,
// keep their state; their weight may change.
func (p *Pool) SetEndpoints(endpoints []Endpoint) error {
	next, err := nodes(endpoints, p.cfg.Transport)
	if err != nil {
		return err
	}
	var events, added []Event
	p.mu.Lock()
	old := p.set.Load().nodes
	for i, n := range next {
		j := slices.IndexFunc(old, func(o *node) bool { return o.name == n.name && o.url.String() == n.url.String() })
		if j < 0 {
			p.cfg.SlowStart.begin(n, time.Now())
			added = append(added, Event{Kind: Added, Endpoint: n.name})
			continue
		}
		old[j].weight.Store(n.weight.Load())
		next[i] = old[j]
	}
	for _, o := range old {
		if !slices.Contains(next, o) {
			events = append(events, Event{Kind: Removed, Endpoint: o.name})
		}
	}
	events = append(events, added...) // after: one with a new URL is removed and added
	p.install(next)
	p.mu.Unlock()
	for _, e := range events {
		p.notify(e)
	}
	return nil
}

// SetWeight changes the weight of an endpoint.
func (p *Pool) SetWeight(name string, weight int) error {
	if weight < 1 || weight > maxWeight {
		return fmt.Errorf("balance: weight %d is not within 1 and %d", weight, maxWeight)
	}
	return p.change(name, func(n *node) {
		n.weight.Store(int64(weight))
		p.install(p.set.Load().nodes)
	})
}

// Drain stops new requests to an endpoint; those in progress continue.
func (p *Pool) Drain(name string) error {
	err := p.change(name, func(n *node) {
		n.draining.Store(true)
		p.changed()
	})
	if err == nil {
		p.notify(Event{Kind: Drained, Endpoint: name})
	}
	return err
}

// Undrain reverts Drain.
func (p *Pool) Undrain(name string) error {
	err := p.change(name, func(n *node) {
		n.draining.Store(false)
		p.changed()
	})
	if err == nil {
		p.notify(Event{Kind: Undrained, Endpoint: name})
	}
	return err
}

// change calls f with one node, while nothing else changes.
func (p *Pool) change(name string, f func(*node)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.set.Load().nodes
	i := slices.IndexFunc(list, func(n *node) bool { return n.name == name })
	if i < 0 {
		return fmt.Errorf("%w: %q", ErrUnknownEndpoint, name)
	}
	f(list[i])
	return nil
}
