package flight_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/cache/internal/flight"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newClient returns the writer of a client with header values of earlier handlers.
func newClient(pairs ...string) gin.ResponseWriter {
	g, _ := gin.CreateTestContext(httptest.NewRecorder())
	for i := 0; i+1 < len(pairs); i += 2 {
		g.Writer.Header().Add(pairs[i], pairs[i+1])
	}
	return g.Writer
}

func TestHeadOfOthers(t *testing.T) {
	t.Parallel()
	client := newClient("X-Request-Id", "leader", "X-Before", "1", "X-Changed", "1")
	f, r, _ := newGroup().Join(ctx(), "k", "")
	l := live()
	rec := flight.NewRecorder(flight.RecorderConfig{Response: f.Response, Reader: r, Client: client, Leader: l, Hold: 100})
	for name, value := range map[string]string{
		"Content-Type": "text/plain", "X-Changed": "2", "Set-Cookie": "a=b", "Connection": "x-hop, Close", "X-Hop": "1",
		"Keep-Alive": "1", "Transfer-Encoding": "chunked", "X-Empty": "",
	} {
		rec.Header().Set(name, value)
	}
	rec.Header()["X-None"] = nil
	rec.WriteHeader(http.StatusEarlyHints)
	rec.WriteHeader(http.StatusCreated)
	require.False(t, rec.Written())
	require.Equal(t, -1, rec.Size())
	rec.WriteHeaderNow()
	rec.WriteHeader(http.StatusTeapot) // too late
	require.True(t, rec.Written())
	require.NoError(t, rec.Close(false))
	require.Equal(t, flight.Head{Status: http.StatusCreated, SetCookie: true, Header: http.Header{"Content-Type": {"text/plain"}, "X-Changed": {"2"}, "X-Empty": {""}}}, f.Head)
	own := rec.Own()
	require.Equal(t, http.StatusCreated, own.Status)
	require.Equal(t, "leader", own.Header.Get("X-Request-ID"))
	require.Equal(t, "a=b", own.Header.Get("Set-Cookie"))
	require.Equal(t, flight.Live, f.Outcome())
	sent, err := rec.Wait()
	require.NoError(t, err)
	require.False(t, sent, "a short response is not sent before its end")
}

func TestEndOfARecording(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handle   func(rec *flight.Recorder)
		panicked bool
		err      error
		body     string
	}{
		"whole":           {handle: func(rec *flight.Recorder) { _, _ = rec.WriteString("abc") }, body: "abc"},
		"nothing written": {handle: func(*flight.Recorder) {}},
		"length":          {handle: func(rec *flight.Recorder) { rec.Header().Set("Content-Length", "3"); _, _ = rec.WriteString("abc") }, body: "abc"},
		"short":           {handle: func(rec *flight.Recorder) { rec.Header().Set("Content-Length", "4"); _, _ = rec.WriteString("abc") }, err: flight.ErrShort, body: "abc"},
		"not modified": {handle: func(rec *flight.Recorder) {
			rec.Header().Set("Content-Length", "4")
			rec.WriteHeader(http.StatusNotModified)
		}},
		"panic": {handle: func(rec *flight.Recorder) { _, _ = rec.WriteString("abc") }, panicked: true, err: flight.ErrPanic, body: "abc"},
		"cut": {handle: func(rec *flight.Recorder) {
			_, _ = rec.WriteString("abc")
			_ = rec.SetWriteDeadline(time.Unix(1, 0))
			_, _ = rec.WriteString("def")
		}, err: flight.ErrCut, body: "abc"},
		"cut before the head": {handle: func(rec *flight.Recorder) { _ = rec.SetWriteDeadline(time.Unix(1, 0)); _, _ = rec.WriteString("abc") }, err: flight.ErrCut},
		"a deadline": {handle: func(rec *flight.Recorder) {
			_ = rec.SetWriteDeadline(time.Now().Add(time.Hour))
			_, _ = rec.WriteString("abc")
		}, body: "abc"},
	} {
		f, r, _ := newGroup().Join(ctx(), "k", "")
		r.AwaitEnd()
		rec := record(f, live())
		tt.handle(rec)
		err := rec.Close(tt.panicked)
		require.ErrorIs(t, err, tt.err, name)
		last := r.Next()
		assert.True(t, last.Ended, name)
		assert.Equal(t, err, last.Err, name)
		body, whole := f.Body()
		assert.Equal(t, tt.body, string(body), name)
		assert.Equal(t, tt.err == nil, whole, name)
	}
}

// Before the first byte of the body another attempt may follow.
func TestHeadAloneIsNotShared(t *testing.T) {
	t.Parallel()
	f, _, _ := newGroup().Join(ctx(), "k", "")
	rec := record(f, live())
	rec.Flush()
	select {
	case <-f.Ready():
		require.Fail(t, "it is pending")
	default:
	}
	write(t, rec, "a")
	<-f.Ready()
	require.Equal(t, flight.Live, f.Outcome())
	require.NoError(t, rec.Close(false))
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		admission flight.Admission
		outcome   flight.Outcome
		body      string
		joins     bool // a later follower
	}{
		"live":             {flight.Admission{Share: flight.Live}, flight.Live, "abc", true},
		"failed":           {flight.Admission{Share: flight.Failed}, flight.Failed, "abc", true},
		"alone":            {flight.Admission{Share: flight.Alone, Discard: true}, flight.Alone, "abc", false},
		"replaced":         {flight.Admission{Replaced: true}, flight.Live, "", true},
		"live, no buffers": {flight.Admission{Share: flight.Live, Discard: true}, flight.Live, "abc", false},
	} {
		g := newGroup()
		f, _, _ := g.Join(ctx(), "k", "")
		rec := record(f, &leader{admission: tt.admission})
		write(t, rec, "abc")
		require.NoError(t, rec.Close(false), name)
		assert.Equal(t, tt.outcome, f.Outcome(), name)
		assert.Equal(t, tt.admission.Replaced, rec.Replaced(), name)
		body, ok := f.Buffered()
		assert.True(t, ok, name)
		assert.Equal(t, tt.body, string(body), name)
		_, _, leads := g.Join(ctx(), "k", "")
		assert.Equal(t, tt.joins, !leads, name)
	}
}

// A stream, and a response beyond Hold, are sent to the leader's client at once.
func TestSendBesideTheHandlers(t *testing.T) {
	t.Parallel()
	errSent := errors.New("sent")
	for name, tt := range map[string]struct {
		stream bool
		text   string
		sent   bool
	}{
		"short":  {false, "12345", false},
		"long":   {false, "123456", true},
		"stream": {true, "1", true},
	} {
		client := newClient()
		f, r, _ := newGroup().Join(ctx(), "k", "")
		l := &leader{admission: flight.Admission{Share: flight.Live, Stream: tt.stream}}
		got := make(chan string, 1)
		l.send = func(r *flight.Reader) error {
			text := ""
			for {
				part, last := drain(r)
				text += part
				if last.Ended {
					got <- text
					return errSent
				}
				<-last.Wait
			}
		}
		rec := flight.NewRecorder(flight.RecorderConfig{Response: f.Response, Reader: r, Client: client, Leader: l, Hold: 5})
		write(t, rec, tt.text)
		require.NoError(t, rec.Close(false), name)
		sent, err := rec.Wait()
		assert.Equal(t, tt.sent, sent, name)
		if sent {
			require.ErrorIs(t, err, errSent, name)
			assert.Equal(t, tt.text, <-got, name)
		}
	}
}

// A panic of the client's writer belongs to the goroutine of the handlers.
func TestPanicOfSend(t *testing.T) {
	t.Parallel()
	client := newClient()
	f, r, _ := newGroup().Join(ctx(), "k", "")
	l := &leader{admission: flight.Admission{Share: flight.Live, Stream: true}, send: func(*flight.Reader) error { panic("writer") }}
	rec := flight.NewRecorder(flight.RecorderConfig{Response: f.Response, Reader: r, Client: client, Leader: l})
	rec.WriteHeaderNow()
	<-f.Context().Done() // the only reader has left
	require.NoError(t, rec.Close(false))
	require.PanicsWithValue(t, "writer", func() { _, _ = rec.Wait() })
	_, err := rec.Wait()
	require.NoError(t, err, "once")
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	f, _, _ := newGroup().Join(ctx(), "k", "")
	rec := record(f, live())
	rec.Header().Set("Trailer", "X-Announced, x-missing")
	write(t, rec, "a")
	rec.Header().Set("X-Announced", "1")
	rec.Header().Set("X-Late", "1")
	rec.Header().Set(http.TrailerPrefix+"X-Unannounced", "1")
	require.NoError(t, rec.Close(false))
	require.Equal(t, http.Header{"X-Announced": {"1"}, http.TrailerPrefix + "X-Unannounced": {"1"}}, f.Trailer)
}

func TestRecorderIsAWriterOfGin(t *testing.T) {
	t.Parallel()
	f, r, _ := newGroup().Join(ctx(), "k", "")
	rec := record(f, live())
	control := http.NewResponseController(rec)
	_, _, err := rec.Hijack()
	require.ErrorIs(t, err, http.ErrNotSupported)
	require.ErrorIs(t, control.SetReadDeadline(time.Now()), http.ErrNotSupported, "there is no client")
	require.Nil(t, rec.Pusher())
	rec.WriteHeader(http.StatusNoContent)
	_, err = rec.WriteString("abc")
	require.ErrorIs(t, err, http.ErrBodyNotAllowed)
	require.NoError(t, control.Flush())
	require.Equal(t, http.StatusNoContent, rec.Status())
	require.Zero(t, rec.Size())
	gone := rec.CloseNotify()
	r.Leave()
	require.True(t, <-gone)
	require.NoError(t, rec.SetWriteDeadline(time.Unix(1, 0)))
	require.ErrorIs(t, control.Flush(), flight.ErrCut)
	require.ErrorIs(t, rec.Close(false), flight.ErrCut)
}
