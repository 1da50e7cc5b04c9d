package storetest

import (
	"sync"
	"sync/atomic"

	"github.com/ginfer/ginfer/ratelimit"
	"github.com/stretchr/testify/require"
)

const (
	workers = 64
	rounds  = 20
)

// parallel runs work in all workers concurrently, for some rounds.
func (s *suite) parallel(work func(worker int) error) {
	s.t.Helper()
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				if err := work(w); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(s.t, err)
	}
}

func concurrent(s *suite) {
	b := s.bucket("a", workers*rounds/2)
	var got atomic.Int64
	s.parallel(func(int) error {
		charges := []ratelimit.Charge{charge(b, 1)}
		err := s.store.Take(s.t.Context(), charges)
		got.Add(charges[0].Granted)
		return err
	})
	require.Equal(s.t, b.Burst, got.Load())
}

func opposite(s *suite) {
	a, b := s.bucket("a", workers*rounds/2), s.bucket("b", workers*rounds/4)
	var got atomic.Int64
	s.parallel(func(w int) error {
		charges := []ratelimit.Charge{charge(a, 1), charge(b, 1)}
		if w%2 == 0 {
			charges[0], charges[1] = charges[1], charges[0]
		}
		err := s.store.Take(s.t.Context(), charges)
		got.Add(charges[0].Granted)
		return err
	})
	require.Equal(s.t, b.Burst, got.Load())
	s.requireLevel(a, float64(a.Burst-b.Burst))
	s.requireLevel(b, 0)
}

func concurrentReservations(s *suite) {
	b := s.bucket("a", 100_000)
	s.parallel(func(int) error {
		charges := []ratelimit.Charge{reserve(b, 30)}
		if err := s.store.Take(s.t.Context(), charges); err != nil {
			return err
		}
		return s.store.Settle(s.t.Context(), []ratelimit.Settlement{{Bucket: b, Reserved: charges[0].Granted, Spent: 10}})
	})
	s.requireLevel(b, float64(b.Burst-10*workers*rounds))
}
