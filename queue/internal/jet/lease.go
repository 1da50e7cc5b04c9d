package jet

import (
	"context"
	"sync"
	"time"
)

// Leases extends the leases of the deliveries that are worked on.
type Leases struct {
	every time.Duration

	mu  sync.Mutex
	all map[*Delivery]struct{}
}

// NewLeases returns Leases for deliveries of s.
func (s *Store) NewLeases() *Leases {
	return &Leases{every: s.cfg.Lease / 3, all: map[*Delivery]struct{}{}} // a lost extension is followed by another
}

// Add extends the lease of a delivery until Remove is called.
func (l *Leases) Add(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[d] = struct{}{}
}

// Remove lets the lease of a delivery run out.
func (l *Leases) Remove(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, d)
}

// Run extends all leases, three times within each, until ctx ends.
func (l *Leases) Run(ctx context.Context) {
	t := time.NewTicker(l.every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		for _, d := range l.list() {
			_ = d.Extend()
		}
	}
}

func (l *Leases) list() []*Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Delivery, 0, len(l.all))
	for d := range l.all {
		all = append(all, d)
	}
	return all
}

const (
	// receiverPause is the wait after a receiver failed.
	receiverPause = time.Second
	// receiverWait is how long a receiver waits for a message.
	receiverWait = 5 * time.Second
)

// Receive calls work with each message of a channel, up to limit at once, and extends
// its lease meanwhile. When ctx ends it waits for the calls that run.
func (s *Channels) Receive(ctx context.Context, from Channel, leases *Leases, limit int, work func(*Delivery)) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, limit)
	for ctx.Err() == nil {
		r, err := s.Receiver(ctx, from)
		if err != nil {
			Sleep(ctx, receiverPause)
			continue
		}
		for err == nil && ctx.Err() == nil {
			slots <- struct{}{} // wait until one is free
			<-slots
			var all []*Delivery
			all, err = r.Next(ctx, limit-len(slots), receiverWait)
			for _, d := range all {
				slots <- struct{}{}
				running.Go(func() {
					defer func() { <-slots }()
					leases.Add(d)
					defer leases.Remove(d)
					work(d)
				})
			}
		}
		if err != nil {
			Sleep(ctx, receiverPause)
		}
	}
}
