package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginfer/ginfer/cache/internal/cachekey"
	"github.com/ginfer/ginfer/internal/fault"
)

// Tag identifies entries that are purged together.
type Tag string

// Everything is the tag of all entries.
const Everything Tag = "all"

// ByKey returns the tag of one entry and its variants, by the key that events, [Status] and
// Cache-Status show.
func ByKey(key string) Tag { return Tag("key:" + key) }

// ByModel returns the tag of a model's responses, by the name that requests use.
func ByModel(model string) Tag { return Tag("model:" + model) }

// ByVersion returns the tag of a version, by what Config.Version returns.
func ByVersion(version string) Tag { return Tag("version:" + version) }

// ByTenant returns the tag of one scope, by what Config.Scope returns. It does not show the
// name, which may be a secret.
func ByTenant(scope string) Tag { return scopeTag(hashScope(scope)) }

func hashScope(name string) cachekey.Key { return sha256.Sum256([]byte("scope\x00" + name)) }

func scopeTag(hash cachekey.Key) Tag { return Tag("tenant:" + hash.String()) }

// Purge is the beginning of another generation of a tag.
type Purge struct {
	Tag Tag
	// Revision orders purges. Unit: microseconds since 1970, or a little more.
	Revision uint64
}

// Purges exchanges purges between replicas. Package redisstore has one.
type Purges interface {
	// Purge publishes a purge, and returns its revision: higher than any before it, and the
	// same for all replicas.
	Purge(ctx context.Context, tag Tag) (revision uint64, err error)
	// Since returns the purges after a revision that may still matter: of the last
	// [MaxKeep].
	Since(ctx context.Context, revision uint64) ([]Purge, error)
	// Watch calls observe with purges as they are published, until ctx ends or the
	// connection breaks. When it has subscribed, it calls observe once with a zero Purge:
	// earlier ones may have been missed.
	Watch(ctx context.Context, observe func(Purge)) error
}

const (
	// maxTags bounds the generations that are remembered. Beyond it all entries are purged,
	// which is safe, and the generations are forgotten.
	maxTags = 10_000
	// purgeTimeout bounds publishing purges, and querying them.
	purgeTimeout = time.Second
	// syncTimeout bounds querying them during a request.
	syncTimeout = 150 * time.Millisecond
	// catchUpEvery is how often Run queries purges that it may have missed.
	catchUpEvery = 10 * time.Second
	// watchPause is how long Run waits before it subscribes again.
	watchPause = time.Second
)

// generation is the last revision of a tag.
type generation struct {
	revision uint64
	shared   uint64 // the last that Purges returned; lower while ours is not published
}

// generations are the tags that were purged recently. They are a part of every key, so
// that a purge makes entries unreachable at once, whatever their number.
type generations struct {
	any atomic.Bool // there are some: most of the time there are none

	mu      sync.RWMutex
	tags    map[Tag]generation
	all     uint64
	last    uint64           // the highest revision from Purges
	pending map[Tag]struct{} // not published yet
}

// ownRevision returns a revision without Purges.
func ownRevision(before uint64) uint64 {
	return max(uint64(max(time.Now().UnixMicro(), 0)), before+1)
}

// raise begins another generation of a tag in this process.
func (g *generations) raise(tag Tag, pending bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.any.Store(true)
	if pending {
		if g.pending == nil {
			g.pending = map[Tag]struct{}{}
		}
		g.pending[tag] = struct{}{}
	}
	if tag == Everything {
		g.all = ownRevision(g.all)
		return
	}
	one := g.tags[tag]
	one.revision = ownRevision(one.revision)
	g.set(tag, one)
}

// observe applies a purge that is valid for all replicas. Own: it is the one that was
// pending.
func (g *generations) observe(p Purge, own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = max(g.last, p.Revision)
	if _, pending := g.pending[p.Tag]; pending && !own {
		return // ours is later, and will get a revision of its own
	}
	delete(g.pending, p.Tag)
	g.any.Store(true)
	if p.Tag == Everything {
		if own || p.Revision > g.all {
			g.all = p.Revision
		}
		return
	}
	if one := g.tags[p.Tag]; own || p.Revision > one.shared {
		g.set(p.Tag, generation{revision: p.Revision, shared: p.Revision})
	}
}

// set sets a generation. The caller holds mu.
func (g *generations) set(tag Tag, one generation) {
	if g.tags == nil {
		g.tags = map[Tag]generation{}
	}
	g.tags[tag] = one
	if len(g.tags) <= maxTags {
		return
	}
	old := ownRevision(0) - uint64(MaxKeep/time.Microsecond)
	for t, one := range g.tags { // what was stored before has expired
		if one.revision < old {
			delete(g.tags, t)
		}
	}
	if len(g.tags) > maxTags {
		for _, one := range g.tags { // the same on all replicas that observed the same
			g.all = max(g.all, one.revision)
		}
		clear(g.tags)
	}
}

// unpublished returns the tags that other replicas do not know yet.
func (g *generations) unpublished() (tags []Tag, last uint64) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for tag := range g.pending {
		tags = append(tags, tag)
	}
	return tags, g.last
}

// key returns the key of a base in the present generation, and the key to show, which is
// the same in all generations.
func (g *generations) key(base *cachekey.Key, r *request) (key, shown string) {
	shown = base.String()
	if !g.any.Load() {
		return shown, shown
	}
	var revisions [5]uint64
	g.mu.RLock()
	revisions[0] = g.all
	if len(g.tags) > 0 {
		revisions[1] = g.tags[ByKey(shown)].revision
		revisions[2] = g.tags[ByModel(r.model)].revision
		revisions[3] = g.tags[ByVersion(r.version)].revision
		revisions[4] = g.tags[scopeTag(r.scope)].revision
	}
	g.mu.RUnlock()
	if revisions == [5]uint64{} {
		return shown, shown
	}
	k := base.With(revisions[:]...)
	return k.String(), shown
}

// Purge makes all entries of the tags unreachable, at once in this process, and with
// Config.Purges soon in all others. After an error the others do not know yet: Run will
// publish the purge, and until then their entries stay valid until they expire.
func (c *Cache) Purge(ctx context.Context, tags ...Tag) error {
	var faults []error
	for _, tag := range tags {
		c.generations.raise(tag, c.cfg.Purges != nil)
		c.notify(ctx, Event{Kind: Purged, Tag: tag})
		if err := c.publish(ctx, tag); err != nil {
			faults = append(faults, fmt.Errorf("purge %s: %w", strconv.Quote(string(tag)), err))
		}
	}
	return fault.Join(faults...)
}

func (c *Cache) publish(ctx context.Context, tag Tag) error {
	if c.cfg.Purges == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	revision, err := c.cfg.Purges.Purge(ctx, tag)
	if err == nil {
		c.generations.observe(Purge{Tag: tag, Revision: revision}, true)
	}
	return err
}

// Run applies the purges of other replicas until ctx ends, and publishes those that could
// not be published before. It returns nil. Without Config.Purges it only waits.
func (c *Cache) Run(ctx context.Context) error {
	if c.cfg.Purges == nil {
		<-ctx.Done()
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for ctx.Err() == nil {
			err := c.cfg.Purges.Watch(ctx, func(p Purge) { c.observe(ctx, p) })
			if ctx.Err() == nil {
				c.notify(ctx, Event{Kind: Failed, Err: fmt.Errorf("cache: watching purges: %w", err)})
			}
			pause(ctx, watchPause)
		}
	})
	for ctx.Err() == nil {
		pause(ctx, catchUpEvery)
		if ctx.Err() == nil {
			c.catchUp(ctx)
		}
	}
	return nil
}

func (c *Cache) observe(ctx context.Context, p Purge) {
	if p.Tag == "" {
		c.catchUp(ctx)
		return
	}
	c.generations.observe(p, false)
	c.notify(ctx, Event{Kind: Purged, Tag: p.Tag})
}

// catchUp publishes pending purges and queries missed ones. It reports whether all are
// known now.
func (c *Cache) catchUp(ctx context.Context) bool {
	tags, last := c.generations.unpublished()
	for _, tag := range tags {
		if c.publish(ctx, tag) != nil {
			return false // later
		}
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	missed, err := c.cfg.Purges.Since(ctx, last)
	if err != nil {
		return false
	}
	for _, p := range missed {
		c.generations.observe(p, false)
		c.notify(ctx, Event{Kind: Purged, Tag: p.Tag})
	}
	c.synced.Store(true)
	return true
}

// sync queries once the purges from before this process started, so that older entries of
// a store are not valid by mistake. It reports whether they are known; until then only
// entries of this process are used. One request at a time waits for that.
func (c *Cache) sync(ctx context.Context) bool {
	if c.cfg.Purges == nil || c.synced.Load() {
		return true
	}
	if !c.syncing.TryLock() {
		return false
	}
	defer c.syncing.Unlock()
	now := time.Now()
	if c.synced.Load() || now.Before(c.syncAgain) {
		return c.synced.Load()
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	known := c.catchUp(ctx)
	c.syncAgain = time.Now().Add(watchPause)
	return known
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
