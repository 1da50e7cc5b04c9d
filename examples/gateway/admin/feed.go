package admin

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/ginfer/ginfer/observe"
)

const (
	// liveEvery is the interval of events.
	liveEvery = time.Second
	// liveWrite is how long a browser may take to read one event.
	liveWrite = 10 * time.Second
	// maxViewers bounds the open pages.
	maxViewers = 32
	// maxRows bounds each list on the page: endpoints with their circuits in all.
	maxRows = 200
	// latestRequests is the number of requests on the page.
	latestRequests = 15
)

// liveState is all that the page shows.
type liveState struct {
	Ready  bool            `json:"ready"` // false: the gateway drains
	Config live.Status     `json:"config"`
	Now    observe.LiveNow `json:"now"`
	// History is in the first event of a feed alone.
	History   []observe.LivePoint     `json:"history,omitempty"`
	Groups    []groupState            `json:"groups"`
	Upstreams []upstreamState         `json:"upstreams"`
	Rollouts  []rolloutRow            `json:"rollouts"`
	Queue     *queueState             `json:"queue"` // null: there is none
	Requests  []observe.RecentRequest `json:"requests"`
}

type groupState struct {
	Path     string `json:"path"`
	Streams  int    `json:"open_streams"`
	Inflight int    `json:"inflight"`
	Most     int    `json:"concurrency,omitempty"` // 0: no limit
}

type upstreamState struct {
	Name string `json:"name"`
	// Breaker means that endpoints have circuits, PerVersion that each version there has one.
	Breaker    bool            `json:"breaker"`
	PerVersion bool            `json:"per_version"`
	Endpoints  []endpointState `json:"endpoints"`
	// Hidden is the number of endpoints beyond maxRows.
	Hidden int `json:"hidden,omitempty"`
}

type endpointState struct {
	balance.Status
	Host     string         `json:"host"`
	Circuits []circuitState `json:"circuits"` // none: it was not used yet
}

type circuitState struct {
	breaker.Status
	Version string `json:"version,omitempty"`
}

// feed sends the state to pages. One state serves all of them.
type feed struct {
	g       *live.Gateway
	queue   *queueView // nil: there is none
	viewers atomic.Int32

	mu    sync.Mutex
	made  time.Time
	state liveState
}

// serve streams events until the client disconnects or the gateway drains; the last event
// says so.
func (f *feed) serve(c *gin.Context) {
	if f.viewers.Add(1) > maxViewers {
		f.viewers.Add(-1)
		apierror.Abort(c, &apierror.Error{Status: http.StatusServiceUnavailable, Code: "too_many_viewers", Message: "Too many pages are open."})
		return
	}
	defer f.viewers.Add(-1)
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies such as nginx: send each event at once
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	history := f.g.Telemetry().Live.History()
	for {
		state := f.current(c.Request.Context())
		state.History, history = history, nil
		if send(c.Writer, &state) != nil || !state.Ready {
			return
		}
		select {
		case <-tick.C:
		case <-c.Request.Context().Done():
			return
		}
	}
}

// send sends one event. Browsers reconnect after two seconds.
func send(w http.ResponseWriter, state *liveState) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Now().Add(liveWrite)) // the default is the kernel's
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }()
	if _, err := w.Write(slices.Concat([]byte("retry: 2000\ndata: "), text, []byte("\n\n"))); err != nil {
		return err
	}
	return out.Flush()
}

// current is the state of this second; the first caller makes it.
func (f *feed) current(ctx context.Context) liveState {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.made) >= liveEvery/2 {
		f.made, f.state = now, f.make(context.WithoutCancel(ctx)) // the state is for all pages
	}
	return f.state
}

func (f *feed) make(ctx context.Context) liveState {
	g, a, t := f.g, f.g.Current(), f.g.Telemetry()
	return liveState{
		Ready: g.Ready(), Config: g.Status(), Now: t.Live.Snapshot(),
		Groups: groupStates(a), Upstreams: upstreamStates(a), Rollouts: rolloutRows(a), //nolint:contextcheck // reading a state belongs to no request
		Queue: f.queue.state(ctx), Requests: t.Recent.Newest(latestRequests),
	}
}

func groupStates(a *live.App) []groupState {
	rows := make([]groupState, 0, len(a.Groups))
	for _, group := range a.Groups {
		row := groupState{Path: group.Config.Path, Streams: group.Streams.Open()}
		row.Inflight, row.Most = group.Concurrent()
		rows = append(rows, row)
	}
	return rows[:min(len(rows), maxRows)]
}

// upstreamStates are the upstreams by name, each endpoint with its circuits.
func upstreamStates(a *live.App) []upstreamState {
	rows := make([]upstreamState, 0, len(a.Upstreams))
	room := maxRows
	for _, name := range slices.Sorted(maps.Keys(a.Upstreams)) {
		u := a.Upstreams[name]
		row := upstreamState{Name: name, Breaker: u.Breakers != nil, PerVersion: u.PerVersion, Endpoints: []endpointState{}}
		circuits := circuitsByHost(u)
		for _, status := range u.Status() {
			host := hostOf(status.URL)
			if room -= max(len(circuits[host]), 1); room < 0 {
				row.Hidden++
				continue
			}
			row.Endpoints = append(row.Endpoints, endpointState{Status: status, Host: host, Circuits: circuits[host]})
		}
		rows = append(rows, row)
	}
	return rows[:min(len(rows), maxRows)]
}

func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// circuitsByHost are the circuits of each endpoint, by version if each has its own.
func circuitsByHost(u *live.Upstream) map[string][]circuitState {
	out := map[string][]circuitState{}
	if u.Breakers == nil {
		return out
	}
	for _, status := range u.Breakers.Status() {
		host, version, _ := strings.Cut(status.Circuit, " ")
		out[host] = append(out[host], circuitState{status, version})
	}
	return out
}
