package stream

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
)

// Topic is one stream of a [Hub]. It is safe for concurrent use.
type Topic struct {
	hub   *Hub
	name  string
	epoch string // distinguishes its ids from those of an earlier topic

	mu      sync.Mutex
	held    [][]byte // messages as sent; the first has number first
	first   uint64
	bytes   int
	closed  bool
	changed chan struct{} // closed and replaced on each change
}

// Publish adds a message and replaces its ID. It does not wait for readers. It returns
// [ErrClosed] after Close, [ErrTooLong] for a message larger than the hub's MaxBytes, or
// [ErrField].
func (t *Topic) Publish(m Message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	m.ID = t.id(t.next())
	b, err := m.append(nil)
	if err != nil {
		return err
	}
	if len(b) > t.hub.cfg.MaxBytes {
		return fmt.Errorf("%w: %d bytes, the hub holds %d", ErrTooLong, len(b), t.hub.cfg.MaxBytes)
	}
	t.held = append(t.held, b)
	t.bytes += len(b)
	for len(t.held) > t.hub.cfg.MaxMessages || t.bytes > t.hub.cfg.MaxBytes {
		t.bytes -= len(t.held[0])
		t.held[0] = nil
		t.held = t.held[1:]
		t.first++
	}
	t.wake()
	return nil
}

// Close ends the topic. Readers receive the remaining messages, and the hub drops the topic
// after its TTL. It may be called twice.
func (t *Topic) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	t.wake()
	time.AfterFunc(t.hub.cfg.TTL, func() { t.hub.remove(t) })
}

func (t *Topic) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// next returns the number of the next message.
func (t *Topic) next() uint64 { return t.first + uint64(len(t.held)) }

func (t *Topic) id(number uint64) string { return t.epoch + "-" + strconv.FormatUint(number, 10) }

// position returns the number of the message after a Last-Event-ID.
func (t *Topic) position(lastID string) (uint64, error) {
	if lastID == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(lastID, t.epoch+"-")
	n, err := strconv.ParseUint(digits, 10, 64)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok || err != nil || n >= t.next() {
		return 0, gap("The Last-Event-ID is not one of this stream.")
	}
	return n + 1, nil
}

func gap(message string) error {
	return &apierror.Error{Status: http.StatusConflict, Code: "stream_gap", Message: message, Err: ErrGap}
}

// since returns the messages from number on, joined, and the next number. If there are none,
// wait is closed at the next change; done reports that no more will come.
func (t *Topic) since(number uint64) (b []byte, next uint64, wait <-chan struct{}, done bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if number < t.first {
		return nil, 0, nil, false, gap("Messages that you need are no longer held.")
	}
	for _, m := range t.held[number-t.first:] {
		b = append(b, m...)
	}
	return b, t.next(), t.changed, t.closed, nil
}

// serve writes the topic to one client until either ends.
func (t *Topic) serve(c *gin.Context) {
	w := NewWriter(c.Writer)
	number, err := t.position(c.GetHeader("Last-Event-ID"))
	if err == nil {
		err = t.follow(c, w, number)
	}
	if err != nil {
		t.refuse(c, w, err)
	}
}

// follow writes the messages from number on. It returns an error for a gap, none for a client that
// leaves.
func (t *Topic) follow(c *gin.Context, w *Writer, number uint64) error {
	b, next, wait, done, err := t.since(number)
	if err == nil && done && len(b) == 0 {
		c.AbortWithStatus(http.StatusNoContent)
		return nil
	}
	for err == nil {
		if w.raw(b) != nil || done {
			return nil //nolint:nilerr // the client has left
		}
		select {
		case <-wait:
		case <-c.Request.Context().Done():
			return nil
		}
		b, next, wait, done, err = t.since(next)
	}
	return err
}

// refuse begins the stream, if needed, to send the error as an event: an EventSource hides the
// body of an error status.
func (t *Topic) refuse(c *gin.Context, w *Writer, err error) {
	if w.raw(nil) == nil {
		t.hub.cfg.ErrorHandler(c, err)
	}
}

// raw writes encoded events.
func (w *Writer) raw(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(b)
}
