package flight_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

func newGroup() *flight.Group[string] { return &flight.Group[string]{Lag: 100, Limit: 1000} }

// leader admits every response as given, and sends nothing.
type leader struct {
	admission flight.Admission
	own       http.Header // as the handlers set it
	shared    flight.Head // as the others get it
	send      func(*flight.Reader) error
}

func (l *leader) Admit(own http.Header, shared *flight.Head) flight.Admission {
	l.own, l.shared = own, *shared
	return l.admission
}

func (l *leader) Send(flight.Head) func(*flight.Reader) error { return l.send }

func live() *leader { return &leader{admission: flight.Admission{Share: flight.Live}} }

// record returns a recorder of a flight without a client.
func record(f *flight.Flight[string], l *leader) *flight.Recorder {
	return flight.NewRecorder(flight.RecorderConfig{Response: f.Response, Leader: l})
}

// drain reads what there is, without waiting.
func drain(r *flight.Reader) (text string, last flight.Part) {
	for {
		p := r.Next()
		if len(p.Bytes) == 0 {
			return text, p
		}
		text += string(p.Bytes)
		r.Advance(len(p.Bytes))
	}
}

func write(tb testing.TB, w io.Writer, text string) {
	tb.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		tb.Error(err)
	}
}

func ctx() context.Context { return context.Background() }
