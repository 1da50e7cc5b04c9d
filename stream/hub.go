package stream

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// Errors of a [Hub]. A request receives them wrapped in an *apierror.Error.
var (
	// ErrNoTopic is returned when there is no topic of that name, or no longer.
	ErrNoTopic = errors.New("stream: no such topic")
	// ErrTopicExists is returned when there is a topic of that name already.
	ErrTopicExists = errors.New("stream: topic exists")
	// ErrTooManyTopics is returned when the hub has MaxTopics topics.
	ErrTooManyTopics = errors.New("stream: too many topics")
	// ErrGap is returned when messages that the client needs are no longer available, or its
	// Last-Event-ID is not one of this topic.
	ErrGap = errors.New("stream: messages were lost")
	// ErrClosed is returned when the topic is closed.
	ErrClosed = errors.New("stream: topic is closed")
)

// HubConfig configures a Hub. Zero values select the defaults.
type HubConfig struct {
	// MaxMessages and MaxBytes bound the latest messages kept per topic, by number and by bytes
	// as sent. Default: 256 and 64 KiB.
	MaxMessages, MaxBytes int
	// TTL is how long a closed topic can still be read. Default: 60 s.
	TTL time.Duration
	// MaxTopics is the maximum number of topics. Default: 10,000.
	MaxTopics int
	// ErrorHandler responds to a client that can't be served. Default: [apierror.Abort].
	ErrorHandler func(*gin.Context, error)
}

// Hub keeps the latest messages of many streams, so that a client that lost its connection can
// reconnect and resume after the last message it received (Last-Event-ID). Publishers never
// wait for readers. A hub lives in one process: a client must reconnect to the same one. It is
// safe for concurrent use.
type Hub struct {
	cfg HubConfig

	mu     sync.Mutex
	topics map[string]*Topic
}

// NewHub returns a Hub, or an error if cfg is invalid.
func NewHub(cfg HubConfig) (*Hub, error) {
	if cfg.MaxMessages < 0 || cfg.MaxBytes < 0 || cfg.MaxTopics < 0 || cfg.TTL < 0 {
		return nil, errors.New("stream: a bound in HubConfig is negative")
	}
	if cfg.MaxMessages == 0 {
		cfg.MaxMessages = 256
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 10
	}
	if cfg.MaxTopics == 0 {
		cfg.MaxTopics = 10_000
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = apierror.Abort
	}
	cfg.TTL = cmp.Or(cfg.TTL, time.Minute)
	return &Hub{cfg: cfg, topics: map[string]*Topic{}}, nil
}

// Create adds a topic. Its publisher must call [Topic.Close].
func (h *Hub) Create(name string) (*Topic, error) {
	var epoch [6]byte
	_, _ = rand.Read(epoch[:]) // never fails
	t := &Topic{hub: h, name: name, epoch: hex.EncodeToString(epoch[:]), changed: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.topics[name]; ok {
		return nil, &apierror.Error{Status: http.StatusConflict, Code: "stream_exists", Message: "A stream of this name exists.", Err: ErrTopicExists}
	}
	if len(h.topics) >= h.cfg.MaxTopics {
		return nil, &apierror.Error{Status: http.StatusServiceUnavailable, Code: "too_many_streams", Message: "Too many streams are open.", RetryAfter: time.Second, Err: ErrTooManyTopics}
	}
	h.topics[name] = t
	return t, nil
}

// Topic returns the topic of that name, or [ErrNoTopic].
func (h *Hub) Topic(name string) (*Topic, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t, ok := h.topics[name]; ok {
		return t, nil
	}
	return nil, &apierror.Error{Status: http.StatusNotFound, Code: "stream_not_found", Message: "There is no such stream, or no longer.", Err: ErrNoTopic}
}

func (h *Hub) remove(t *Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.topics[t.name] == t {
		delete(h.topics, t.name)
	}
}

// Handler returns a handler that serves the topic that name selects: all messages from the
// first, or those after Last-Event-ID. A client that has all messages of a closed topic gets
// 204, which makes an EventSource stop. A client that needs messages which are gone, because it
// came late or reads too slowly, gets an error event and is cut.
func (h *Hub) Handler(name func(*gin.Context) string) gin.HandlerFunc {
	return func(c *gin.Context) {
		t, err := h.Topic(name(c))
		if err != nil {
			h.cfg.ErrorHandler(c, err)
			return
		}
		t.serve(c)
	}
}
