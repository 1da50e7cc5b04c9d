package demomodel_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/examples/demomodel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// client is an in-flight request in synctest's time.
type client struct {
	w     *httptest.ResponseRecorder
	leave context.CancelFunc
	done  chan struct{}
	ended time.Time
}

// enter sends a request of the given length and waits until it runs, waits or
// has its response.
func enter(t *testing.T, h http.Handler, tokens int) *client {
	t.Helper()
	r := newPost(t, chatPath, chat(question, object{"max_tokens": tokens, "ignore_eos": true}))
	ctx, leave := context.WithCancel(r.Context())
	c := &client{w: httptest.NewRecorder(), leave: leave, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		h.ServeHTTP(c.w, r.WithContext(ctx))
		c.ended = time.Now()
	}()
	synctest.Wait()
	return c
}

// load expects so many running and waiting requests.
func load(t *testing.T, h http.Handler, want string) {
	t.Helper()
	assert.JSONEq(t, `{"status":"ok",`+want+`}`, get(h, "/health").Body.String())
}

func TestFullQueue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		slots, queue int
		served       int
		load         string
	}{
		{"defaults", 0, 0, 4 + 64, `"running":4,"waiting":64`},
		{"small", 2, 1, 3, `"running":2,"waiting":1`},
		{"no queue", 2, -1, 2, `"running":2,"waiting":0`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, demomodel.Config{Slots: tc.slots, Queue: tc.queue, Delay: time.Second})
				var served []*client
				for range tc.served {
					served = append(served, enter(t, s, 1))
				}
				load(t, s, tc.load)
				over := enter(t, s, 1)
				<-over.done
				refused(t, over.w, http.StatusTooManyRequests, "", "queue_full")
				assert.Equal(t, "1", over.w.Header().Get("Retry-After"))
				assert.Equal(t, "rate_limit_error", parse(t, over.w.Body.String()).Error.Type)
				for _, c := range served {
					<-c.done
					assert.Equal(t, http.StatusOK, c.w.Code)
				}
				load(t, s, `"running":0,"waiting":0`)
			})
		})
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, demomodel.Config{Slots: 1, Delay: time.Second})
		start := time.Now()
		var clients []*client
		for range 5 {
			clients = append(clients, enter(t, s, 2))
		}
		for i, c := range clients {
			<-c.done
			assert.Equal(t, time.Duration(2*(i+1))*time.Second, c.ended.Sub(start))
		}
	})
}

func TestLeavingTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, demomodel.Config{Slots: 1, Queue: 2, Delay: time.Second})
		start := time.Now()
		first, second, third := enter(t, s, 3), enter(t, s, 3), enter(t, s, 3)
		second.leave()
		<-second.done
		refused(t, second.w, 499, "", "request_cancelled")
		load(t, s, `"running":1,"waiting":1`)
		fourth := enter(t, s, 3) // in the place of the second
		for i, c := range []*client{first, third, fourth} {
			<-c.done
			assert.Equal(t, http.StatusOK, c.w.Code)
			assert.Equal(t, time.Duration(3*(i+1))*time.Second, c.ended.Sub(start))
		}
	})
}

func TestCancelFreesTheSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, demomodel.Config{Slots: 1, Delay: time.Hour})
		running, waiting := enter(t, s, 4096), enter(t, s, 1)
		load(t, s, `"running":1,"waiting":1`)
		start := time.Now()
		running.leave()
		<-running.done
		assert.Equal(t, start, running.ended)
		refused(t, running.w, 499, "", "request_cancelled")
		synctest.Wait()
		load(t, s, `"running":1,"waiting":0`)
		<-waiting.done
		assert.Equal(t, http.StatusOK, waiting.w.Code)
	})
}

func TestCancelledBeforehand(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, newPost(t, chatPath, chat(question, nil)).WithContext(ctx))
	refused(t, w, 499, "", "request_cancelled")
}

// A slot given to a client in the moment it leaves is not lost.
func TestLeavingWhileServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for i := range 100 {
			q := demomodel.NewQueue(1, 2)
			require.NoError(t, q.Acquire(t.Context()))
			ctx, leave := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- q.Acquire(ctx) }()
			synctest.Wait()
			first, second := q.Release, leave
			if i%2 == 0 {
				first, second = leave, q.Release
			}
			first()
			second()
			if <-done == nil {
				q.Release()
			}
			running, waiting := q.Load()
			require.Zero(t, running)
			require.Zero(t, waiting)
		}
	})
}

func TestManyClients(t *testing.T) {
	t.Parallel()
	s := newServer(t, demomodel.Config{Slots: 3})
	want, _ := say(t, s, chat(question, object{"seed": 1, "max_tokens": 8}))
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			w := post(t, s, chatPath, chat(question, object{"seed": 1, "max_tokens": 8}))
			assert.Contains(t, w.Body.String(), want)
		})
	}
	wg.Wait()
	load(t, s, `"running":0,"waiting":0`)
}
