package storetest_test

import (
	"testing"

	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/cache/storetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) cache.Store {
		t.Helper()
		m, err := cache.NewMemory(cache.MemoryConfig{})
		require.NoError(t, err)
		return m
	})
}
