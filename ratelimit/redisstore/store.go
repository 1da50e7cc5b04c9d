package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/internal/redisclient"
	"github.com/ginfer/ginfer/internal/sizes"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/redis/go-redis/v9"
)

var (
	//go:embed bucket.lua
	bucketLua string
	//go:embed take.lua
	takeLua string
	//go:embed settle.lua
	settleLua string
)

// Config configures a Store. Client is required.
type Config struct {
	// Client is connected to a server, Sentinel, or a cluster. It must respect context
	// deadlines, as with [Options].
	Client redis.UniversalClient
	// Prefix begins every key, and must not contain braces. Gateways with the same Prefix
	// share their limits. Default: "ginfer".
	Prefix string
	// Timeout bounds each call, and separately the put-back after a refusal on a cluster.
	// Default: 50 ms.
	Timeout time.Duration
	// Expiry is the lifetime of a replica's reservations in a bucket after its last call
	// for that bucket; then they return to it. It must be the same for all replicas, and
	// well above the 20 s in which a ratelimit.Tokens renews reservations. Default: 1 min.
	Expiry time.Duration
	// Holder is the unique name of this replica. Default: a random one at every start.
	Holder string
}

// Store is a ratelimit.Store in Redis. It is safe for concurrent use.
type Store struct {
	cfg          Config
	cluster      bool
	take, settle *redis.Script
	sizes        sizes.Registry
}

// Options returns settings for redis.NewUniversalClient with which a frozen server costs a
// request 50 ms instead of the default 5 s. The addresses are those of a server, of Sentinels
// (set MasterName), or of several nodes of a cluster (one node with IsClusterMode).
func Options(addrs ...string) *redis.UniversalOptions {
	const buffer = 4 << 10 // bytes per connection; commands are short
	return redisclient.Options(buffer, addrs...)
}

// New checks cfg and returns a Store. It does not connect. The error joins every fault.
func New(cfg Config) (*Store, error) {
	cluster, err := redisclient.Check(cfg.Client, cfg.Prefix, cfg.Timeout)
	if cfg.Expiry < 0 {
		err = fault.Join(err, errors.New("redisstore: Config.Expiry is negative"))
	}
	if err != nil {
		return nil, err
	}
	return &Store{
		cfg: cfg.withDefaults(), cluster: cluster,
		take: redis.NewScript(bucketLua + takeLua), settle: redis.NewScript(bucketLua + settleLua),
	}, nil
}

func (cfg Config) withDefaults() Config {
	cfg.Prefix = cmp.Or(cfg.Prefix, "ginfer")
	cfg.Timeout = cmp.Or(cfg.Timeout, 50*time.Millisecond)
	cfg.Expiry = max(cmp.Or(cfg.Expiry, time.Minute), time.Millisecond)
	cfg.Holder = cmp.Or(cfg.Holder, rand.Text())
	return cfg
}

// Sizes is for package ratelimit, which finds limits of one name and two sizes by it.
func (s *Store) Sizes() *sizes.Registry { return &s.sizes }

// Take implements ratelimit.Store. On a cluster it is atomic only for buckets with the same
// Key: among others a refusal is put back in a second round trip. Until then other calls see a
// lower level, never a higher one.
func (s *Store) Take(ctx context.Context, charges []ratelimit.Charge) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if len(charges) == 0 {
		return unavailable(s.ping(ctx))
	}
	calls := make([]call, len(charges))
	for i := range charges {
		c := &charges[i]
		calls[i] = call{bucket: s.key(&c.Bucket), args: []any{c.Rate, c.Burst, millis(c.Ends), c.Cost, c.UpTo, c.Reserve}}
	}
	err := s.run(ctx, s.take, calls, 3)
	refused := false
	for i := range charges {
		charges[i].Granted = 0
		if reply := calls[i].reply; reply != nil {
			fill(&charges[i], reply)
			refused = refused || charges[i].Wait > 0
		}
	}
	if refused || err != nil {
		s.putBack(ctx, charges)
	}
	return unavailable(err)
}

// ping pings every node that has buckets.
func (s *Store) ping(ctx context.Context) error {
	if c, ok := s.cfg.Client.(interface {
		ForEachMaster(ctx context.Context, do func(context.Context, *redis.Client) error) error
	}); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return node.Ping(ctx).Err() })
	}
	return s.cfg.Client.Ping(ctx).Err()
}

// fill fills in a charge from the reply of the script.
func fill(c *ratelimit.Charge, reply []float64) {
	c.Granted, c.Left, c.Wait = int64(reply[0]), reply[1], ratelimit.Never
	if micros := reply[2]; micros >= 0 {
		c.Wait = time.Duration(micros) * time.Microsecond
	}
}

// putBack undoes what a refused or failed Take has taken on other nodes.
func (s *Store) putBack(ctx context.Context, charges []ratelimit.Charge) {
	var back []ratelimit.Settlement
	for i := range charges {
		c := &charges[i]
		if c.Granted == 0 {
			continue
		}
		one := ratelimit.Settlement{Bucket: c.Bucket, Spent: -c.Granted}
		if c.Reserve {
			one.Reserved, one.Spent = c.Granted, 0
		}
		back = append(back, one)
		c.Left += float64(c.Granted)
		c.Granted = 0
	}
	_ = s.Settle(context.WithoutCancel(ctx), back) // at worst the tokens are lost (closed)
}

// Settle implements ratelimit.Store.
func (s *Store) Settle(ctx context.Context, settlements []ratelimit.Settlement) error {
	if len(settlements) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	calls := make([]call, len(settlements))
	for i := range settlements {
		one := &settlements[i]
		calls[i] = call{bucket: s.key(&one.Bucket), args: []any{one.Rate, one.Burst, millis(one.Ends), one.Reserved, one.Spent}}
	}
	return unavailable(s.run(ctx, s.settle, calls, 0))
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redisstore: %w: %w", ratelimit.ErrUnavailable, err)
}
