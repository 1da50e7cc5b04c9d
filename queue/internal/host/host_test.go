package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue/embedded"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/task"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

// open opens a store until the test ends.
func open(t *testing.T) *jet.Store {
	t.Helper()
	nc, err := queuetest.StartServer(t, embedded.Config{}).Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	s, err := jet.Open(t.Context(), nc, jet.Config{
		Name: "t", Replicas: 1, MaxTasks: 100, MaxPerLane: 100, MaxBytes: -1, Lease: time.Second, Window: time.Minute,
		RecordTTL: time.Hour, FileTTL: time.Hour, DeadTTL: time.Hour, MaxDead: 10,
	})
	require.NoError(t, err)
	return s
}

func newHost() *host.Host {
	return host.New(host.Config{Owner: queuetest.ByHeader, Tenant: queuetest.ByHeader, ErrorHandler: apierror.Abort})
}

// request is the context of a request of a user.
func request(user string, header ...string) (*gin.Context, *httptest.ResponseRecorder) {
	w := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(w)
	c.Request = httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	c.Request.Header.Set("X-User", user)
	for i := 0; i < len(header); i += 2 {
		c.Request.Header.Add(header[i], header[i+1])
	}
	return c, w
}

// Tasks and dead letters go to the part that registered their kind.
func TestParts(t *testing.T) {
	t.Parallel()
	h := newHost()
	ctx := t.Context()
	_, err := h.Open(ctx, nil, &task.Task{Kind: task.Job}, false)
	require.ErrorIs(t, err, host.ErrUnknownKind)
	_, err = h.Replay(ctx, nil, &jet.Letter{Kind: task.Line}, nil)
	require.ErrorIs(t, err, api.ErrState)
	_, err = h.Replay(ctx, nil, &jet.Letter{}, nil)
	assert.Equal(t, "dead_letter_unreadable", apierror.From(err).Code)
	_, err = h.Adopt(ctx, nil, &jet.Letter{Kind: task.Line}, &task.Task{})
	require.ErrorIs(t, err, api.ErrState)

	var stopped []string
	redelivered := false
	require.NoError(t, h.Register(&host.Part{
		Open: map[string]host.Opener{task.Job: func(_ context.Context, _ *jet.Store, _ *task.Task, again bool) (host.Run, error) {
			redelivered = again
			return nil, host.ErrNotNeeded
		}},
		Replay: map[string]host.Replayer{task.Job: func(_ context.Context, _ *jet.Store, l *jet.Letter, content []byte) (string, error) {
			return l.ID + string(content), nil
		}},
		Adopt:   func(context.Context, *jet.Store, *jet.Letter, *task.Task) (string, error) { return "adopted", nil },
		Stopped: func(id string) { stopped = append(stopped, id) },
	}))
	require.NoError(t, h.Register(&host.Part{Stopped: func(id string) { stopped = append(stopped, id+"'") }}))
	require.NoError(t, h.Register(&host.Part{}))
	assert.Len(t, h.Parts(), 3)

	_, err = h.Open(ctx, nil, &task.Task{Kind: task.Job}, true)
	require.ErrorIs(t, err, host.ErrNotNeeded)
	assert.True(t, redelivered)
	id, err := h.Replay(ctx, nil, &jet.Letter{Kind: task.Job, ID: "a"}, []byte("b"))
	require.NoError(t, err)
	assert.Equal(t, "ab", id)
	id, err = h.Adopt(ctx, nil, &jet.Letter{}, &task.Task{})
	require.NoError(t, err)
	assert.Equal(t, "adopted", id)
	h.Stopped("x")
	assert.Equal(t, []string{"x", "x'"}, stopped)
	_, err = h.Open(ctx, nil, &task.Task{Kind: task.Line}, false)
	require.ErrorIs(t, err, host.ErrUnknownKind)
}

func TestKindsAreUnique(t *testing.T) {
	t.Parallel()
	h := newHost()
	part := func(kind string) *host.Part {
		return &host.Part{Replay: map[string]host.Replayer{kind: func(context.Context, *jet.Store, *jet.Letter, []byte) (string, error) { return "", nil }}}
	}
	require.NoError(t, h.Register(part(task.Job)))
	require.NoError(t, h.Register(part(task.Line)))
	require.ErrorContains(t, h.Register(part(task.Job)), "kind job is registered already")
	assert.Len(t, h.Parts(), 2)
}

func TestStore(t *testing.T) {
	t.Parallel()
	h := newHost()
	c, _ := request("ann")
	_, err := h.Store()
	require.ErrorIs(t, err, api.ErrUnavailable)
	_, _, err = h.StoreOf(c)
	require.ErrorIs(t, err, api.ErrUnavailable, "before the owner is looked for")
	s := &jet.Store{}
	h.Connected(s)
	got, owner, err := h.StoreOf(c)
	require.NoError(t, err)
	assert.Same(t, s, got)
	assert.Equal(t, "ann", owner)
	h.Connected(nil)
	_, err = h.Store()
	require.ErrorIs(t, err, api.ErrUnavailable)
}

// A request without an owner is refused: what it submitted could not be found again.
func TestCaller(t *testing.T) {
	t.Parallel()
	fault := errors.New("x")
	name := func(name string, err error) func(*gin.Context) (string, error) {
		return func(*gin.Context) (string, error) { return name, err }
	}
	tests := []struct {
		name          string
		owner, tenant func(*gin.Context) (string, error)
		want          error
	}{
		{"good", name("ann", nil), name("acme", nil), nil},
		{"the longest", name(strings.Repeat("x", 256), nil), name(strings.Repeat("y", 256), nil), nil},
		{"no owner", name("", nil), name("acme", nil), api.ErrInvalid},
		{"no tenant", name("ann", nil), name("", nil), api.ErrInvalid},
		{"a long owner", name(strings.Repeat("x", 257), nil), name("acme", nil), api.ErrInvalid},
		{"a long tenant", name("ann", nil), name(strings.Repeat("x", 257), nil), api.ErrInvalid},
		{"an error of Owner", name("ann", fault), name("acme", nil), fault},
		{"an error of Tenant", name("ann", nil), name("acme", fault), fault},
	}
	for _, tt := range tests {
		c, _ := request("")
		owner, tenant, err := host.New(host.Config{Owner: tt.owner, Tenant: tt.tenant}).Caller(c)
		if tt.want != nil {
			require.ErrorIs(t, err, tt.want, tt.name)
			continue
		}
		require.NoError(t, err, tt.name)
		assert.NotEqual(t, owner, tenant, tt.name)
	}
}

// Only what is listed is stored of a request, with its identity.
func TestOrigin(t *testing.T) {
	t.Parallel()
	h := host.New(host.Config{Headers: []string{"x-forwarded-for", "X-None"}})
	c, _ := request("ann", "X-Forwarded-For", "a", "X-Forwarded-For", "b", "Authorization", "secret")
	o, err := h.Origin(c)
	require.NoError(t, err)
	assert.Equal(t, &task.Origin{Remote: "192.0.2.1:1234", Header: http.Header{"X-Forwarded-For": {"a", "b"}}}, o)

	h = host.New(host.Config{Identity: func(c *gin.Context) ([]byte, error) { return []byte(c.GetHeader("X-User")), nil }})
	o, err = h.Origin(c)
	require.NoError(t, err)
	assert.Equal(t, &task.Origin{Remote: "192.0.2.1:1234", Identity: []byte("ann")}, o)

	for size, want := range map[int]error{64 << 10: nil, 64<<10 + 1: api.ErrInvalid} {
		h = host.New(host.Config{Identity: func(*gin.Context) ([]byte, error) { return make([]byte, size), nil }})
		_, err = h.Origin(c)
		require.ErrorIs(t, err, want, size)
	}
}

// Responses are not cached, and errors of the store have a status.
func TestHandler(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		status int
	}{
		{nil, http.StatusNoContent},
		{jet.ErrNotFound, http.StatusNotFound},
		{jet.ErrLaneFull, http.StatusTooManyRequests},
		{jet.ErrUnavailable, http.StatusServiceUnavailable},
		{errors.New("x"), http.StatusInternalServerError},
	} {
		c, w := request("ann")
		newHost().Handler(func(c *gin.Context) error {
			if tt.err == nil {
				c.Status(http.StatusNoContent)
				c.Writer.WriteHeaderNow()
			}
			return tt.err
		})(c)
		assert.Equal(t, tt.status, w.Code, tt.err)
		if tt.err == nil {
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		}
	}
}

// A list has the records of its owner only; those that expire meanwhile are left out.
func TestListed(t *testing.T) {
	t.Parallel()
	h, s := newHost(), open(t)
	h.Connected(s)
	for _, name := range []string{"ann a", "ann b", "ann c", "ann gone", "ann hidden", "bob d"} {
		owner, id, _ := strings.Cut(name, " ")
		_, err := s.Records.Create(t.Context(), api.Key("x", owner, id), nil)
		require.NoError(t, err)
	}
	_, err := s.Records.Create(t.Context(), api.Key("y", "ann", "other"), nil)
	require.NoError(t, err)
	view := func(_ context.Context, _ *jet.Store, owner, id string) (any, error) {
		switch id {
		case "gone":
			return nil, jet.ErrNotFound
		case "hidden":
			return nil, nil //nolint:nilnil // it is left out
		}
		return owner + " " + id, nil
	}
	tests := []struct {
		user, query string
		want        []string
		last        string
		more        bool
	}{
		{"ann", "", []string{"ann c", "ann b", "ann a"}, "a", false},
		{"ann", "?order=asc", []string{"ann a", "ann b", "ann c"}, "hidden", false},
		{"ann", "?limit=3", []string{"ann c"}, "c", true},
		{"ann", "?limit=2&after=c", []string{"ann b", "ann a"}, "a", false},
		{"ann", "?order=asc&limit=1&after=a", []string{"ann b"}, "b", true},
		{"bob", "", []string{"bob d"}, "d", false},
		{"eve", "", []string{}, "", false},
	}
	for _, tt := range tests {
		c, w := request(tt.user)
		c.Request.URL.RawQuery = strings.TrimPrefix(tt.query, "?")
		require.NoError(t, h.Listed(c, "x", api.Pages{Most: 10, Usual: 5}, view), tt.query)
		var got struct {
			Data   []string `json:"data"`
			LastID string   `json:"last_id"`
			More   bool     `json:"has_more"`
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Equal(t, tt.want, got.Data, tt.user+tt.query)
		assert.Equal(t, tt.last, got.LastID, tt.user+tt.query)
		assert.Equal(t, tt.more, got.More, tt.user+tt.query)
	}
	fault := errors.New("x")
	c, _ := request("ann")
	require.ErrorIs(t, h.Listed(c, "x", api.Pages{Most: 10, Usual: 5}, func(context.Context, *jet.Store, string, string) (any, error) { return nil, fault }), fault)
	c, _ = request("ann")
	c.Request.URL.RawQuery = "limit=11"
	require.ErrorIs(t, h.Listed(c, "x", api.Pages{Most: 10, Usual: 5}, view), api.ErrInvalid)
}

// A task that is published is in its lane, and every process is notified of the lane.
func TestPublish(t *testing.T) {
	t.Parallel()
	s := open(t)
	news := make(chan string, 1)
	stop, err := s.Listen(func(id, word string) { news <- id + " " + word })
	require.NoError(t, err)
	defer stop()
	lane := jet.Lane{Class: 2, Tenant: "a.b c"}
	in := &task.Task{Kind: task.Job, ID: "job_1", Body: json.RawMessage("{}")}
	require.NoError(t, host.Publish(t.Context(), s, lane, in))
	require.NoError(t, host.Publish(t.Context(), s, lane, in), "a repetition is no second task")
	id, word, _ := strings.Cut(<-news, " ")
	assert.Equal(t, host.LaneNews, id)
	got, ok := host.ParseLane(word)
	assert.True(t, ok)
	assert.Equal(t, lane, got)
	lanes, err := s.Tasks.Lanes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[jet.Lane]uint64{lane: 1}, lanes)
	<-news
	in.Body = json.RawMessage("{")
	require.Error(t, host.Publish(t.Context(), s, lane, in))
}

func TestParseLane(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]jet.Lane{"0.": {}, "1.ann": {Class: 1, Tenant: "ann"}, "2.a.b": {Class: 2, Tenant: "a.b"}} {
		got, ok := host.ParseLane(word)
		assert.True(t, ok, word)
		assert.Equal(t, want, got, word)
	}
	for _, word := range []string{"", ".", "x.ann", "stop"} {
		_, ok := host.ParseLane(word)
		assert.False(t, ok, word)
	}
}

// A waiter misses no change, even if it does not read in time; others are not woken.
func TestWaiters(t *testing.T) {
	t.Parallel()
	w := host.NewWaiters()
	first, leaveFirst := w.Add("a")
	second, leaveSecond := w.Add("a")
	other, leaveOther := w.Add("b")
	defer leaveOther()
	w.Wake("a")
	w.Wake("a") // not read yet: no block
	<-first
	<-second
	assert.Empty(t, first, "two changes at once are one")
	assert.Empty(t, other)
	leaveFirst()
	w.Wake("a")
	<-second
	assert.Empty(t, first, "it has left")
	leaveSecond()
	w.Wake("a")
	w.Wake("none")
	assert.Empty(t, second)
}

func TestWaitersConcurrently(t *testing.T) {
	t.Parallel()
	w := host.NewWaiters()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				news, leave := w.Add("a")
				w.Wake("a")
				<-news
				leave()
			}
		})
	}
	wg.Wait()
}
