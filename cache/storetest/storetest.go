package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache"
	"github.com/stretchr/testify/require"
)

// patience bounds the waiting on a busy machine.
const patience = 20 * time.Second

// near is how much times may differ: stores keep milliseconds, and replies take time.
const near = 2 * time.Second

// Run runs the suite. Each test gets a store from the factory, which may share its entries
// with others: no key is used twice.
func Run(t *testing.T, factory func(t *testing.T) cache.Store) {
	t.Helper()
	run := strconv.FormatInt(time.Now().UnixNano(), 10)
	for name, test := range map[string]func(*suite){
		"entries survive a round trip":             roundTrip,
		"unknown keys":                             unknown,
		"the latest entry wins":                    overwrite,
		"deleted entries are gone":                 deleted,
		"expired entries are gone":                 expired,
		"entries that have expired are not stored": stillborn,
		"keys are kept apart":                      oddKeys,
		"entries may be of any size":               sizes,
		"concurrent use":                           concurrent,
		"canceled calls":                           canceled,
	} {
		t.Run(name, func(t *testing.T) {
			test(&suite{t: t, store: factory(t), run: run + t.Name()})
		})
	}
}

type suite struct {
	t     *testing.T
	store cache.Store
	run   string
}

func (s *suite) key(name string) string { return s.run + name }

// entry returns an entry with every field.
func entry(body string) *cache.Entry {
	now := time.Now()
	return &cache.Entry{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}, "X-Two": {"a", ""}}, Body: []byte(body),
		RequestTime: now.Add(-2 * time.Second), ResponseTime: now.Add(-time.Second), FreshUntil: now.Add(time.Minute), ExpiresAt: now.Add(2 * time.Minute),
		FetchDuration: 1500 * time.Millisecond, StaleWhileRevalidate: time.Second, StaleIfError: 2 * time.Second,
		Validate: true, MustRevalidate: true, Vary: []string{"Accept", "X-B"}, Mark: "mark \x00\xff",
	}
}

func (s *suite) set(key string, e *cache.Entry) {
	s.t.Helper()
	require.NoError(s.t, s.store.Set(s.t.Context(), s.key(key), e))
}

func (s *suite) get(key string) *cache.Entry {
	s.t.Helper()
	e, err := s.store.Get(s.t.Context(), s.key(key))
	require.NoError(s.t, err)
	return e
}

func (s *suite) requireNone(key string) {
	s.t.Helper()
	e, err := s.store.Get(s.t.Context(), s.key(key))
	require.ErrorIs(s.t, err, cache.ErrNotFound)
	require.Nil(s.t, e)
}

func roundTrip(s *suite) {
	want := entry("body")
	s.set("a", want)
	got := s.get("a")
	for _, times := range [][2]time.Time{{want.RequestTime, got.RequestTime}, {want.ResponseTime, got.ResponseTime}, {want.FreshUntil, got.FreshUntil}} {
		require.WithinDuration(s.t, times[0], times[1], near)
	}
	require.WithinRange(s.t, got.ExpiresAt, time.Now(), want.ExpiresAt.Add(near))
	same := *got
	same.RequestTime, same.ResponseTime, same.FreshUntil, same.ExpiresAt = want.RequestTime, want.ResponseTime, want.FreshUntil, want.ExpiresAt
	require.Equal(s.t, want, &same)
	note := &cache.Entry{ExpiresAt: time.Now().Add(time.Minute), FreshUntil: time.Now().Add(time.Minute), Vary: []string{"A"}, Mark: "m"}
	s.set("note", note)
	got = s.get("note")
	require.Zero(s.t, got.Status)
	require.Equal(s.t, note.Vary, got.Vary)
	require.Empty(s.t, got.Body)
}

func unknown(s *suite) { s.requireNone("a") }

func overwrite(s *suite) {
	s.set("a", entry("1"))
	s.set("a", entry("2"))
	require.Equal(s.t, "2", string(s.get("a").Body))
}

func deleted(s *suite) {
	s.set("a", entry("1"))
	require.NoError(s.t, s.store.Delete(s.t.Context(), s.key("a")))
	s.requireNone("a")
	require.NoError(s.t, s.store.Delete(s.t.Context(), s.key("a")), "again")
	s.set("a", entry("2"))
	require.Equal(s.t, "2", string(s.get("a").Body))
}

func expired(s *suite) {
	e := entry("1")
	e.FreshUntil, e.ExpiresAt = time.Now(), time.Now().Add(50*time.Millisecond)
	s.set("a", e)
	require.Eventually(s.t, func() bool {
		_, err := s.store.Get(s.t.Context(), s.key("a"))
		return errors.Is(err, cache.ErrNotFound)
	}, patience, 10*time.Millisecond)
}

func stillborn(s *suite) {
	e := entry("1")
	e.ExpiresAt = time.Now().Add(-time.Second)
	s.set("a", e)
	s.requireNone("a")
}

func oddKeys(s *suite) {
	long := strings.Repeat("k", 1024)
	keys := []string{"", " ", "a", "A", "a ", "{a}", "{b}", "}{", "\x00", "\n", "*", ":", "é", "e\u0301", long, long + "k", "..", "/", "%2F"}
	for i, key := range keys {
		s.set(key, entry(strconv.Itoa(i)))
	}
	for i, key := range keys {
		require.Equal(s.t, strconv.Itoa(i), string(s.get(key).Body), "%.40q", key)
	}
}

func sizes(s *suite) {
	for _, n := range []int{0, 1, 1000, 1 << 20} {
		body := bytes.Repeat([]byte{0xff, 0, '\n'}, n/3+1)[:n]
		e := entry("")
		e.Body = body
		s.set(strconv.Itoa(n), e)
		require.True(s.t, bytes.Equal(body, s.get(strconv.Itoa(n)).Body), "%d bytes", n)
	}
}

// concurrent checks that an entry is always one that was set under its key, and whole.
func concurrent(s *suite) {
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for w := range 16 {
		wg.Go(func() {
			for i := range 50 {
				key := strconv.Itoa(i % 5)
				if err := s.touch(key, fmt.Sprint(key, " ", w, " ", i)); err != nil {
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

func (s *suite) touch(key, body string) error {
	ctx := s.t.Context()
	if err := s.store.Set(ctx, s.key(key), entry(body)); err != nil {
		return err
	}
	e, err := s.store.Get(ctx, s.key(key))
	switch {
	case errors.Is(err, cache.ErrNotFound): // another goroutine deleted it
		return nil
	case err != nil:
		return err
	case !strings.HasPrefix(string(e.Body), key+" "):
		return fmt.Errorf("key %s has %q", key, e.Body)
	}
	if strings.HasSuffix(body, "7") {
		return s.store.Delete(ctx, s.key(key))
	}
	return nil
}

// canceled checks that canceled calls return, and that the store works afterwards.
func canceled(s *suite) {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	_ = s.store.Set(ctx, s.key("a"), entry("1"))
	_, _ = s.store.Get(ctx, s.key("a"))
	_ = s.store.Delete(ctx, s.key("a"))
	s.set("b", entry("2"))
	require.Equal(s.t, "2", string(s.get("b").Body))
}
