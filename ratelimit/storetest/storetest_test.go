package storetest_test

import (
	"testing"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/ratelimit/storetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) ratelimit.Store {
		t.Helper()
		m, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
		require.NoError(t, err)
		return m
	})
}
