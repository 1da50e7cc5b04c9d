package stream_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newHub(t *testing.T, cfg stream.HubConfig) *stream.Hub {
	t.Helper()
	h, err := stream.NewHub(cfg)
	require.NoError(t, err)
	return h
}

func create(t *testing.T, h *stream.Hub, name string) *stream.Topic {
	t.Helper()
	topic, err := h.Create(name)
	require.NoError(t, err)
	return topic
}

func publish(t *testing.T, topic *stream.Topic, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		require.NoError(t, topic.Publish(stream.Message{Data: strconv.Itoa(i)}))
	}
}

func connect(h *stream.Hub, w http.ResponseWriter, lastID string) {
	r := request()
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	serve(w, r, h.Handler(func(*gin.Context) string { return "t" }))
}

func datas(t *testing.T, body string) (data, ids []string) {
	t.Helper()
	got, _ := readAll(stream.NewReader(strings.NewReader(body), 0))
	for _, m := range got {
		data, ids = append(data, m.Data), append(ids, m.ID)
	}
	return data, ids
}

func numbers(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestHubResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, stream.HubConfig{})
		topic := create(t, h, "t")
		first := newConn()
		go connect(h, first, "")
		synctest.Wait()
		assert.Equal(t, http.StatusOK, first.status, "the head does not wait for a message")
		publish(t, topic, 0, 10)
		synctest.Wait()
		data, ids := datas(t, first.seen())
		assert.Equal(t, numbers(0, 10), data)

		second := newConn()
		go connect(h, second, ids[3])
		synctest.Wait()
		publish(t, topic, 10, 12)
		synctest.Wait()
		topic.Close()
		topic.Close()
		synctest.Wait()
		data, ids = datas(t, second.seen())
		assert.Equal(t, numbers(4, 12), data)

		third := newConn()
		connect(h, third, ids[len(ids)-1])
		assert.Equal(t, http.StatusNoContent, third.status, "an EventSource stops at 204")
		fourth := newConn()
		connect(h, fourth, ids[0])
		data, _ = datas(t, fourth.seen())
		assert.Equal(t, numbers(5, 12), data, "a closed topic can be read for its TTL")

		time.Sleep(time.Minute)
		synctest.Wait()
		late := newConn()
		connect(h, late, ids[0])
		assert.Equal(t, http.StatusNotFound, late.status)
		require.ErrorIs(t, topic.Publish(stream.Message{}), stream.ErrClosed)
		again := create(t, h, "t")
		publish(t, again, 0, 12)
		stale := newConn()
		connect(h, stale, ids[0])
		assert.Contains(t, stale.seen(), "stream_gap", "the id belongs to an earlier topic of this name")
	})
}

func TestHubGap(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg stream.HubConfig
		id  func(ids []string) string
	}{
		"evicted by count":      {stream.HubConfig{MaxMessages: 5}, func(ids []string) string { return ids[3] }},
		"evicted by bytes":      {stream.HubConfig{MaxBytes: 200}, func(ids []string) string { return ids[3] }},
		"the beginning is gone": {stream.HubConfig{MaxMessages: 5}, func([]string) string { return "" }},
		"unknown":               {stream.HubConfig{}, func([]string) string { return "abc" }},
		"not a number":          {stream.HubConfig{}, func(ids []string) string { return ids[0] + "x" }},
		"from the future":       {stream.HubConfig{}, func(ids []string) string { return strings.TrimSuffix(ids[0], "0") + "99" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, tt.cfg)
				topic := create(t, h, "t")
				w := newConn()
				go connect(h, w, "")
				synctest.Wait()
				for i := range 20 {
					publish(t, topic, i, i+1)
					synctest.Wait()
				}
				_, ids := datas(t, w.seen())
				require.Len(t, ids, 20)
				got := newConn()
				connect(h, got, tt.id(ids))
				assert.Contains(t, got.seen(), `"code":"stream_gap"`)
				assert.True(t, got.cut())
				topic.Close()
			})
		})
	}
}

// A slow reader is dropped alone; the publisher never waits.
func TestHubSlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, stream.HubConfig{MaxMessages: 8})
		topic := create(t, h, "t")
		good, slow := newConn(), newConn()
		slow.stuck = make(chan struct{})
		go connect(h, good, "")
		go connect(h, slow, "")
		synctest.Wait()
		start := time.Now()
		for i := range 100 {
			publish(t, topic, i, i+1)
			synctest.Wait()
		}
		assert.Zero(t, time.Since(start))
		close(slow.stuck)
		synctest.Wait()
		topic.Close()
		synctest.Wait()
		data, _ := datas(t, good.seen())
		assert.Equal(t, numbers(0, 100), data)
		assert.Contains(t, slow.seen(), "stream_gap")
	})
}

// An EventSource would reconnect for ever to a stream that ends without an event.
func TestHubEmptyTopic(t *testing.T) {
	t.Parallel()
	h := newHub(t, stream.HubConfig{})
	create(t, h, "t").Close()
	w := newConn()
	connect(h, w, "")
	assert.Equal(t, http.StatusNoContent, w.status)
}

func TestHubBounds(t *testing.T) {
	t.Parallel()
	h := newHub(t, stream.HubConfig{MaxTopics: 1, MaxBytes: 100})
	topic := create(t, h, "a")
	defer topic.Close()
	_, err := h.Create("a")
	require.ErrorIs(t, err, stream.ErrTopicExists)
	_, err = h.Create("b")
	require.ErrorIs(t, err, stream.ErrTooManyTopics)
	_, err = h.Topic("b")
	require.ErrorIs(t, err, stream.ErrNoTopic)
	same, err := h.Topic("a")
	require.NoError(t, err)
	assert.Same(t, topic, same)
	require.ErrorIs(t, topic.Publish(stream.Message{Data: strings.Repeat("x", 200)}), stream.ErrTooLong)
	require.ErrorIs(t, topic.Publish(stream.Message{Event: "a\nb"}), stream.ErrField)
	_, err = stream.NewHub(stream.HubConfig{MaxTopics: -1})
	require.Error(t, err)
}

func TestHubConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, stream.HubConfig{MaxMessages: 10_000, MaxBytes: 1 << 20})
		topic := create(t, h, "t")
		readers := make([]*conn, 20)
		var wg sync.WaitGroup
		for i := range readers {
			readers[i] = newConn()
			wg.Go(func() { connect(h, readers[i], "") })
		}
		var publishers sync.WaitGroup
		for range 4 {
			publishers.Go(func() { publish(t, topic, 0, 250) })
		}
		publishers.Wait()
		topic.Close()
		wg.Wait()
		want := readers[0].seen()
		for _, r := range readers {
			assert.Equal(t, want, r.seen(), "all see the same in the same order")
		}
		data, _ := datas(t, want)
		assert.Len(t, data, 1000)
	})
}
