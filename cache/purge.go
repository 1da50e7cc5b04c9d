package cache

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Tag names entries that are purged together.
type Tag string

// Everything is the tag of all entries.
const Everything Tag = "all"

// ByKey is the tag of one entry and its variants, by the key that events, [Status] and
// Cache-Status show.
func ByKey(key string) Tag { return Tag("key:" + key) }

// ByModel is the tag of a model's answers, by the name that requests use.
func ByModel(model string) Tag { return Tag("model:" + model) }

// ByVersion is the tag of what Config.Version named so.
func ByVersion(version string) Tag { return Tag("version:" + version) }

// ByTenant is the tag of one scope, by what Config.Scope returns. It does not show the
// name, which may be a secret.
func ByTenant(scope string) Tag { return scopeTag(hashScope(scope)) }

func scopeTag(hash [sha256.Size]byte) Tag {
	return Tag("tenant:" + base64.RawURLEncoding.EncodeToString(hash[:]))
}

// Purge is that a tag became another generation.
type Purge struct {
	Tag Tag
	// Revision orders purges. It is in microseconds since 1970, or a little more.
	Revision uint64
}

// Purges is how replicas learn of each other's purges. Package redisstore has one.
type Purges interface {
	// Purge tells everybody, and returns the revision that it got: higher than any
	// before it, for all replicas alike.
	Purge(ctx context.Context, tag Tag) (revision uint64, err error)
	// Since are the purges after a revision that may still matter: of the last
	// [MaxKeep].
	Since(ctx context.Context, revision uint64) ([]Purge, error)
	// Watch calls told with purges as they are made, until ctx ends or the connection
	// breaks. When it has begun to listen, it calls told once with a zero Purge: some may
	// have been missed before.
	Watch(ctx context.Context, told func(Purge)) error
}

const (
	// maxTags bounds how many generations are remembered. Beyond it all entries are
	// purged, which is safe, and what was remembered is forgotten.
	maxTags = 10_000
	// purgeTimeout bounds telling the others, and asking them.
	purgeTimeout = time.Second
	// syncTimeout bounds asking them on a request's time.
	syncTimeout = 150 * time.Millisecond
	// catchUpEvery is how often Run asks for purges that it may have missed.
	catchUpEvery = 10 * time.Second
	// watchPause is how long Run waits before it listens again.
	watchPause = time.Second
)

// generation is how often a tag was purged, in a way: its last revision.
type generation struct {
	revision uint64
	shared   uint64 // the last that Purges gave; lower while the others have not been told
}

// generations are the tags that were purged lately. They are a part of every key, so
// that a purge makes entries unreachable at once, whatever their number.
type generations struct {
	any atomic.Bool // there are some: most of the time there are none

	mu      sync.RWMutex
	tags    map[Tag]generation
	all     uint64
	last    uint64           // the highest revision that Purges told
	pending map[Tag]struct{} // what the others have not been told
}

// now is a revision of our own.
func ownRevision(before uint64) uint64 {
	return max(uint64(max(time.Now().UnixMicro(), 0)), before+1)
}

// raise makes a tag another generation, for this process.
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

// told takes a revision that holds for all replicas. Own says that this is the one that
// was pending.
func (g *generations) told(p Purge, own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = max(g.last, p.Revision)
	if _, pending := g.pending[p.Tag]; pending && !own {
		return // ours is later, and will have a revision of its own
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

// set notes a generation. The caller holds mu.
func (g *generations) set(tag Tag, one generation) {
	if g.tags == nil {
		g.tags = map[Tag]generation{}
	}
	g.tags[tag] = one
	if len(g.tags) <= maxTags {
		return
	}
	old := ownRevision(0) - uint64(MaxKeep/time.Microsecond)
	for t, one := range g.tags { // what was stored before has ended
		if one.revision < old {
			delete(g.tags, t)
		}
	}
	if len(g.tags) > maxTags {
		for _, one := range g.tags { // the same for all replicas that were told the same
			g.all = max(g.all, one.revision)
		}
		clear(g.tags)
	}
}

// waiting are the tags that the others have not been told.
func (g *generations) waiting() (tags []Tag, last uint64) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for tag := range g.pending {
		tags = append(tags, tag)
	}
	return tags, g.last
}

// apply makes a base the key of the present generation. It reports whether that is
// another one.
func (g *generations) apply(base *[sha256.Size]byte, p *plan) bool {
	if !g.any.Load() {
		return false
	}
	var revisions [5]uint64
	g.mu.RLock()
	revisions[0] = g.all
	if len(g.tags) > 0 {
		revisions[1] = g.tags[ByKey(encodeKey(base))].revision
		revisions[2] = g.tags[ByModel(p.model)].revision
		revisions[3] = g.tags[ByVersion(p.version)].revision
		revisions[4] = g.tags[scopeTag(p.scope)].revision
	}
	g.mu.RUnlock()
	if revisions == [5]uint64{} {
		return false
	}
	var b [sha256.Size + 5*8]byte
	copy(b[:], base[:])
	for i, r := range revisions {
		binary.BigEndian.PutUint64(b[sha256.Size+8*i:], r)
	}
	*base = sha256.Sum256(b[:])
	return true
}

// keyLength is how long a key is as a text.
const keyLength = (sha256.Size*8 + 5) / 6

func encodeKey(base *[sha256.Size]byte) string {
	var text [keyLength]byte
	base64.RawURLEncoding.Encode(text[:], base[:])
	return string(text[:])
}

// Purge makes all entries of the tags unreachable, at once in this process, and with
// Config.Purges soon in all others. An error means that the others do not know yet: Run
// will tell them, and until then what they have holds for no longer than its time.
func (c *Cache) Purge(ctx context.Context, tags ...Tag) error {
	var faults []error
	for _, tag := range tags {
		c.generations.raise(tag, c.cfg.Purges != nil)
		c.tell(ctx, Event{Kind: Purged, Tag: tag})
		if err := c.tellOthers(ctx, tag); err != nil {
			faults = append(faults, fmt.Errorf("purge %s: %w", strconv.Quote(string(tag)), err))
		}
	}
	return errors.Join(faults...)
}

func (c *Cache) tellOthers(ctx context.Context, tag Tag) error {
	if c.cfg.Purges == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	revision, err := c.cfg.Purges.Purge(ctx, tag)
	if err == nil {
		c.generations.told(Purge{Tag: tag, Revision: revision}, true)
	}
	return err
}

// Run listens to the purges of other replicas until ctx ends, and tells them of those
// that they could not be told before. It returns nil. Without Config.Purges there is
// nothing to do but wait.
func (c *Cache) Run(ctx context.Context) error {
	if c.cfg.Purges == nil {
		<-ctx.Done()
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for ctx.Err() == nil {
			err := c.cfg.Purges.Watch(ctx, func(p Purge) { c.heard(ctx, p) })
			if ctx.Err() == nil {
				c.tell(ctx, Event{Kind: Failed, Err: fmt.Errorf("cache: watching purges: %w", err)})
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

func (c *Cache) heard(ctx context.Context, p Purge) {
	if p.Tag == "" {
		c.catchUp(ctx)
		return
	}
	c.generations.told(p, false)
	c.tell(ctx, Event{Kind: Purged, Tag: p.Tag})
}

// catchUp tells the others what they do not know, and asks what we do not. It reports
// whether that is known now.
func (c *Cache) catchUp(ctx context.Context) bool {
	tags, last := c.generations.waiting()
	for _, tag := range tags {
		if c.tellOthers(ctx, tag) != nil {
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
		c.generations.told(p, false)
		c.tell(ctx, Event{Kind: Purged, Tag: p.Tag})
	}
	c.synced.Store(true)
	return true
}

// sync asks once for the purges before our time, so that what a store has from then is
// not taken for valid. It reports whether they are known; until they are, there is only
// what this process has. One request at a time waits for that.
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

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
