package live_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorder records what happens to parts.
type recorder struct{ events []string }

func (r *recorder) add(event string) { r.events = append(r.events, event) }

func (r *recorder) take() []string {
	events := r.events
	r.events = nil
	return events
}

// part is one that records its life.
func (r *recorder) part(name string) live.Part[string] {
	return live.Part[string]{
		Value:   name,
		Restore: func(context.Context) { r.add("restore " + name) },
		Run: []func(context.Context) error{func(ctx context.Context) error {
			r.add("run " + name)
			<-ctx.Done()
			r.add("end " + name)
			return ctx.Err()
		}},
		Close: func() { r.add("close " + name) },
	}
}

func (r *recorder) keep(t *testing.T, k *live.Keeper, name string, setting int, change func(*live.Part[string])) string {
	t.Helper()
	value, err := live.Keep(k, name, []any{setting}, func() (live.Part[string], error) {
		r.add("build " + name)
		p := r.part(name)
		if change != nil {
			change(&p)
		}
		return p, nil
	})
	require.NoError(t, err)
	return value
}

func TestKeeper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, k := new(recorder), live.NewKeeper(slog.New(slog.DiscardHandler))
		commit := func() {
			k.Commit(t.Context(), func() { r.add("swap") })
			synctest.Wait()
		}
		assert.Equal(t, "a", r.keep(t, k, "a", 1, nil))
		assert.Equal(t, "a", r.keep(t, k, "a", 1, nil), "once per configuration")
		commit()
		assert.Equal(t, []string{"build a", "restore a", "swap", "run a"}, r.take())

		r.keep(t, k, "a", 1, nil)
		r.keep(t, k, "b", 1, nil)
		_, ok := live.Previous[string](k, "b")
		assert.False(t, ok)
		commit()
		assert.Equal(t, []string{"build b", "restore b", "swap", "run b"}, r.take(), "a did not change")

		r.keep(t, k, "a", 2, nil)
		previous, ok := live.Previous[string](k, "a")
		assert.True(t, ok)
		assert.Equal(t, "a", previous)
		r.keep(t, k, "c", 1, nil)
		k.Discard()
		assert.Equal(t, []string{"build a", "build c", "close c", "close a"}, r.take(), "what is in force stays")

		r.keep(t, k, "a", 2, nil)
		commit()
		assert.Equal(t, []string{"build a", "end b", "close b", "end a", "close a", "restore a", "swap", "run a"}, r.take())

		k.Close()
		assert.Equal(t, []string{"end a", "close a"}, r.take())
	})
}

func TestKeeperLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, k := new(recorder), live.NewKeeper(slog.New(slog.DiscardHandler))
		linger := func(p *live.Part[string]) { p.Linger, p.Run, p.Restore = time.Minute, nil, nil }
		for i := range 3 {
			r.keep(t, k, "a", i, linger)
			k.Commit(t.Context(), func() {})
			time.Sleep(40 * time.Second)
			synctest.Wait()
		}
		assert.Equal(t, []string{"build a", "build a", "build a", "close a"}, r.take(), "the first has lingered")
		k.Close()
		assert.Equal(t, []string{"close a", "close a"}, r.take(), "the second, and the one in force")
	})
}

func TestKeeperPinned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, k := new(recorder), live.NewKeeper(slog.New(slog.DiscardHandler))
		pinned := func(p *live.Part[string]) { p.Pinned = true }
		for i := range 2 {
			r.keep(t, k, "a", i, pinned)
			k.Commit(t.Context(), func() {})
		}
		k.Commit(t.Context(), func() {})
		synctest.Wait()
		assert.Equal(t, []string{"build a", "restore a", "run a"}, r.take(), "whatever the configuration says")
		k.Close()
		assert.Equal(t, []string{"end a", "close a"}, r.take())
	})
}

func TestKeeperErrors(t *testing.T) {
	t.Parallel()
	k := live.NewKeeper(slog.New(slog.DiscardHandler))
	broken := errors.New("broken")
	_, err := live.Keep(k, "a", nil, func() (live.Part[int], error) { return live.Part[int]{}, broken })
	require.ErrorIs(t, err, broken)
	_, err = live.Keep(k, "a", []any{func() {}}, func() (live.Part[int], error) { return live.Part[int]{}, nil })
	require.ErrorContains(t, err, "json")
	k.Close()
}

// Parts of users' names, such as rollouts, do not collide with parts of another type.
func TestPartsOfOneNameAndTwoTypes(t *testing.T) {
	t.Parallel()
	k := live.NewKeeper(slog.New(slog.DiscardHandler))
	for range 2 { // also when both are in force
		text, err := live.Keep(k, "store", nil, func() (live.Part[string], error) { return live.Part[string]{Value: "a"}, nil })
		require.NoError(t, err)
		number, err := live.Keep(k, "store", nil, func() (live.Part[int], error) { return live.Part[int]{Value: 7}, nil })
		require.NoError(t, err)
		assert.Equal(t, "a", text)
		assert.Equal(t, 7, number)
		k.Commit(t.Context(), func() {})
	}
	_, ok := live.Previous[bool](k, "store")
	assert.False(t, ok)
	k.Close()
}

func TestARolloutMayBeNamedStore(t *testing.T) {
	t.Parallel()
	_, err := gatewaytest.Load(t, gatewaytest.Write(t, "my.json", `{`+gatewaytest.UpstreamA+`, "rollout_dir": "`+t.TempDir()+`", "groups": [{"path": "/", "routing": {
		"table": {"routes": [{"model": "m", "version": "v1", "upstream": "a", "weight": 90}, {"model": "m", "version": "v2", "upstream": "a", "weight": 10}]},
		"rollouts": [{"name": "store", "model": "m", "stable": "v1", "canary": "v2"}]}}]}`))
	require.NoError(t, err)
}
