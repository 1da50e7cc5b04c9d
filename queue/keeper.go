package queue

import (
	"context"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// keeper says of all messages in hand that they are worked on.
type keeper struct {
	lease time.Duration

	mu  sync.Mutex
	all map[*jet.Delivery]struct{}
}

func newKeeper(lease time.Duration) *keeper {
	return &keeper{lease: lease, all: map[*jet.Delivery]struct{}{}}
}

func (k *keeper) hold(d *jet.Delivery) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all[d] = struct{}{}
}

func (k *keeper) drop(d *jet.Delivery) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, d)
}

// run extends each lease three times in its length. A word that is lost is followed
// by another.
func (k *keeper) run(ctx context.Context) {
	t := time.NewTicker(k.lease / 3)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		for _, d := range k.held() {
			_ = d.Extend()
		}
	}
}

func (k *keeper) held() []*jet.Delivery {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*jet.Delivery, 0, len(k.all))
	for d := range k.all {
		all = append(all, d)
	}
	return all
}
