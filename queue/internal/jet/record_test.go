package jet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	ctx := t.Context()
	_, _, err := s.Records.Get(ctx, "a.x")
	require.ErrorIs(t, err, jet.ErrNotFound)
	_, _, err = s.Records.GetNewest(ctx, "a.x")
	require.ErrorIs(t, err, jet.ErrNotFound)
	first, err := s.Records.Create(ctx, "a.x", []byte("1"))
	require.NoError(t, err)
	_, err = s.Records.Create(ctx, "a.x", []byte("2"))
	require.ErrorIs(t, err, jet.ErrExists)
	second, err := s.Records.Update(ctx, "a.x", []byte("3"), first)
	require.NoError(t, err)
	_, err = s.Records.Update(ctx, "a.x", []byte("4"), first)
	require.ErrorIs(t, err, jet.ErrConflict)
	for _, get := range []func(context.Context, string) ([]byte, uint64, error){s.Records.Get, s.Records.GetNewest} {
		v, rev, err := get(ctx, "a.x")
		require.NoError(t, err)
		assert.Equal(t, "3", string(v))
		assert.Equal(t, second, rev)
	}
	_, err = s.Records.Create(ctx, "b.x", nil)
	require.NoError(t, err)
	_, err = s.Records.Create(ctx, "a.y", nil)
	require.NoError(t, err)
	keys, err := s.Records.Keys(ctx, "a")
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"a.x", "a.y"}, keys)
	require.NoError(t, s.Records.Delete(ctx, "a.x"))
	require.NoError(t, s.Records.Delete(ctx, "a.none"))
	_, _, err = s.Records.Get(ctx, "a.x")
	require.ErrorIs(t, err, jet.ErrNotFound)
	_, _, err = s.Records.GetNewest(ctx, "a.x")
	require.ErrorIs(t, err, jet.ErrNotFound)
	_, err = s.Records.Create(ctx, "a.x", []byte("5"))
	require.NoError(t, err, "it can be made again")
}

// Trap: a key that is written while keys are listed is there all the same.
func TestKeysWhileWritten(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 20 {
		require.NoError(t, s.Records.Put(ctx, fmt.Sprint("a.", i), nil))
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = s.Records.Put(ctx, fmt.Sprint("a.", i%20), nil)
		}
	})
	for range 200 {
		keys, err := s.Records.Keys(ctx, "a")
		require.NoError(t, err)
		require.Len(t, keys, 20)
	}
	cancel()
	writer.Wait()
}

func TestFiles(t *testing.T) {
	t.Parallel()
	s, js, _ := open(t, t.TempDir())
	ctx := t.Context()
	const chunk = 128 << 10
	data := bytes.Repeat([]byte("0123456789abcdef"), 5*chunk/16)
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 5 * chunk} {
		n, err := s.Files.Save(ctx, "f", iotest.OneByteReader(bytes.NewReader(data[:size])))
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		for _, offset := range []int{0, 1, chunk, size} {
			if offset > size {
				continue
			}
			b, err := io.ReadAll(s.Files.Open(ctx, "f", n, int64(offset)))
			require.NoError(t, err)
			require.True(t, bytes.Equal(data[offset:size], b), "%d from %d", size, offset)
		}
	}
	var err error
	for _, broken := range []error{errors.New("x"), io.ErrUnexpectedEOF} {
		_, err = s.Files.Save(ctx, "f", io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
	}
	u, err := s.Usage(ctx)
	require.NoError(t, err)
	assert.Zero(t, u.FileBytes, "half a file is none")
	_, err = io.ReadAll(s.Files.Open(ctx, "f", 1, 0))
	require.ErrorIs(t, err, jet.ErrNotFound)

	_, err = s.Files.Save(ctx, "g", bytes.NewReader(data))
	require.NoError(t, err)
	stream, err := js.Stream(ctx, "t_files")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(ctx, jetstream.WithPurgeSubject("t.f.g.3")))
	_, err = io.ReadAll(s.Files.Open(ctx, "g", int64(len(data)), 0))
	require.ErrorIs(t, err, jet.ErrNotFound, "a lost part is no end")
}
