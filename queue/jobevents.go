package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// heartbeat keeps a connection open that has nothing to say.
const heartbeat = 15 * time.Second

// errGone: the client is.
var errGone = errors.New("queue: the client is gone")

// progress writes the events of one job to one client.
type progress struct {
	c    *gin.Context
	last []byte
	done bool
}

// jobEvents tells of every change of a job, until it is done.
func (q *Queue) jobEvents(c *gin.Context) error {
	store, rec, err := q.find(c)
	if err != nil {
		return err
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	p := &progress{c: c}
	for err == nil && !p.done {
		err = q.follow(c.Request.Context(), store, rec, time.Now().Add(heartbeat), p.tell)
		if err == nil && !p.done {
			err = p.write(": still here\n")
		}
	}
	if errors.Is(err, errGone) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// tell writes a job that is not as it was.
func (p *progress) tell(rec *jobRecord) (done bool, err error) {
	b, err := json.Marshal(rec.view())
	if err != nil || bytes.Equal(b, p.last) {
		return false, err
	}
	p.last, p.done = b, rec.done()
	return p.done, p.write("event: job." + rec.Status + "\ndata: " + string(b) + "\n\n")
}

func (p *progress) write(text string) error {
	if _, err := p.c.Writer.WriteString(text); err != nil {
		return errors.Join(errGone, err)
	}
	if err := http.NewResponseController(p.c.Writer).Flush(); err != nil {
		return errors.Join(errGone, err)
	}
	return nil
}
