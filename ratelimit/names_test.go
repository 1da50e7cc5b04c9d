package ratelimit_test

import (
	"testing"
	"time"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two limits with one name over one store must not resize each other's buckets.
func TestNamesInOneStore(t *testing.T) {
	t.Parallel()
	named := func(name string, rate ratelimit.Rate) ratelimit.Config {
		return ratelimit.Config{Limits: []ratelimit.Limit{{Name: name, Key: byUser, Rate: rate}}}
	}
	first := ratelimit.Config{Key: byUser, Rate: 10}
	for name, tt := range map[string]struct {
		first, second ratelimit.Config
		fails         bool
	}{
		"no names, two rates":        {first, ratelimit.Config{Key: byUser, Rate: 1000}, true},
		"no names, two bursts":       {first, ratelimit.Config{Key: byUser, Rate: 10, Burst: 99}, true},
		"no names, two keys":         {first, ratelimit.Config{Key: ratelimit.Global, Rate: 10}, true},
		"no names, a rate, a budget": {first, ratelimit.Config{Limits: []ratelimit.Limit{{Key: byUser, Budget: 10, Period: ratelimit.Day}}}, true},
		"the same limit twice":       {first, first, false},
		"one name, two rates":        {named("a", 10), named("a", 11), true},
		"one name, one rate":         {named("a", 10), named("a", 10), false},
		"two names":                  {named("a", 10), named("b", 11), false},
		"a reload":                   {first, ratelimit.Config{Key: byUser, Rate: 1000, Resize: true}, false},
	} {
		for kind, store := range map[string]func() ratelimit.Store{
			"memory": func() ratelimit.Store { return newShared(t).Memory },
			"shared": func() ratelimit.Store { return over(t, newShared(t), ratelimit.SharedConfig{Replicas: 1}) },
		} {
			one := store()
			tt.first.Store, tt.second.Store = one, one
			limiter(t, tt.first)
			_, err := ratelimit.New(tt.second)
			if !tt.fails {
				require.NoError(t, err, "%s, %s", name, kind)
				continue
			}
			require.ErrorContains(t, err, "another size", "%s, %s", name, kind)
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}

// Two Shared over one store are one store.
func TestNamesAcrossShared(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	limits := []ratelimit.Limit{{Name: "a", Key: byUser, Rate: ratelimit.Per(60, time.Minute), Burst: 10}}
	limiter(t, ratelimit.Config{Limits: limits, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1})})
	limits[0].Burst = 20
	_, err := ratelimit.NewTokens(ratelimit.TokensConfig{Limits: limits, Store: over(t, s, ratelimit.SharedConfig{Replicas: 1})})
	require.ErrorContains(t, err, "another size")
	limits[0].Name = "b"
	_, err = ratelimit.NewTokens(ratelimit.TokensConfig{Limits: limits, Store: s})
	require.NoError(t, err)
}
