package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
)

// heartbeat is the interval of comments that keep an idle connection open.
const heartbeat = 15 * time.Second

// errDisconnected is returned after a client disconnect.
var errDisconnected = errors.New("jobs: client disconnected")

// eventWriter writes the events of one job to one client.
type eventWriter struct {
	c    *gin.Context
	last []byte
	done bool
}

// events sends each change of a job as a server-sent event, until it is done.
func (a *API) events(c *gin.Context) error {
	store, rec, err := a.find(c)
	if err != nil {
		return err
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	w := &eventWriter{c: c}
	for err == nil && !w.done {
		err = a.follow(c.Request.Context(), store, rec, time.Now().Add(heartbeat), w.event)
		if err == nil && !w.done {
			err = w.write(": still here\n")
		}
	}
	if errors.Is(err, errDisconnected) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// event writes a job if it has changed.
func (w *eventWriter) event(rec *record) (done bool, err error) {
	b, err := json.Marshal(rec.view())
	if err != nil || bytes.Equal(b, w.last) {
		return false, err
	}
	w.last, w.done = b, rec.done()
	return w.done, w.write("event: job." + rec.Status + "\ndata: " + string(b) + "\n\n")
}

func (w *eventWriter) write(text string) error {
	if _, err := w.c.Writer.WriteString(text); err != nil {
		return fault.Join(errDisconnected, err)
	}
	if err := http.NewResponseController(w.c.Writer).Flush(); err != nil {
		return fault.Join(errDisconnected, err)
	}
	return nil
}
