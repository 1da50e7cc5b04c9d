package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/observe/private"
)

// maxConfig bounds a configuration sent to the admin port.
const maxConfig = 4 << 20

// openAdmin makes the private port's handler, anew when there is more to serve.
func (g *gateway) openAdmin() {
	h := g.adminHandler()
	g.admin.Store(&h)
}

func (g *gateway) serveAdmin(w http.ResponseWriter, r *http.Request) {
	(*g.admin.Load()).ServeHTTP(w, r)
}

// adminHandler serves the private port: health, configuration, state, profiles.
func (g *gateway) adminHandler() http.Handler {
	r := gin.New()
	r.UseRawPath = true // the names of rollouts may have slashes
	r.Use(apierror.Recovery(g.logPanic), g.knownHost, sameOrigin())
	r.GET("/", func(c *gin.Context) { c.Redirect(http.StatusFound, "/admin/") })
	r.GET("/livez", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	r.GET("/readyz", g.readyz)
	admin := r.Group("/admin")
	pageRoutes(admin)
	admin.GET("/live", (&feed{g: g, queue: g.newQueueView()}).serve)
	admin.GET("/config", g.getConfig)
	admin.PUT("/config", g.putConfig)
	admin.POST("/reload", g.postReload)
	admin.GET("/routes", g.getRoutes)
	admin.GET("/upstreams", g.getUpstreams)
	admin.GET("/breakers", g.getBreakers)
	admin.POST("/breakers/:upstream/:state", g.postBreaker)
	admin.POST("/cache/purge", g.postPurge)
	admin.GET("/rollouts", g.getRollouts)
	admin.POST("/rollouts/:name/:action", g.postRollout)
	if g.work != nil {
		g.work.AdminRoutes(admin)
	}
	r.GET("/metrics", gin.WrapH(g.otel.Handler()))
	r.GET("/debug/requests", gin.WrapH(g.recent.Handler()))
	r.Any("/debug/pprof/*path", gin.WrapH(private.Pprof()))
	return r
}

// readyz fails from the moment the gateway is told to end.
func (g *gateway) readyz(c *gin.Context) {
	if !g.ready.Load() {
		c.String(http.StatusServiceUnavailable, "draining\n")
		return
	}
	c.String(http.StatusOK, "ok\n")
}

func (g *gateway) status() reloadState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// getConfig returns the configuration in force as it was written.
func (g *gateway) getConfig(c *gin.Context) {
	status := g.status()
	c.Header("ETag", status.tag())
	c.Header("X-Config-Source", status.Source)
	c.Data(http.StatusOK, "application/json", g.current.Load().source.text)
}

// putConfig applies a configuration (JSON) that is not in the file. It holds
// until the file changes or the gateway ends. If-Match guards against
// overwriting somebody else's change.
func (g *gateway) putConfig(c *gin.Context) {
	// A page in the operator's browser can't send this type without asking first.
	if mediaType, _, err := mime.ParseMediaType(c.ContentType()); err != nil || mediaType != "application/json" {
		apierror.Abort(c, &apierror.Error{Status: http.StatusUnsupportedMediaType, Code: "not_json", Message: "Send application/json."})
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxConfig))
	if err != nil {
		apierror.Abort(c, err)
		return
	}
	g.answer(c, g.apply(context.WithoutCancel(c.Request.Context()), source{name: "admin API", text: text}, c.GetHeader("If-Match")))
}

// postReload reads the file again.
func (g *gateway) postReload(c *gin.Context) {
	g.answer(c, g.load(context.WithoutCancel(c.Request.Context())))
}

func (g *gateway) answer(c *gin.Context, err error) {
	if errors.Is(err, errChanged) {
		apierror.Abort(c, &apierror.Error{Status: http.StatusPreconditionFailed, Code: "changed_meanwhile", Message: "The configuration is at revision " + g.status().Revision + " by now."})
		return
	}
	if err != nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusUnprocessableEntity, Code: "bad_config", Message: err.Error()})
		return
	}
	status := g.status()
	c.Header("ETag", status.tag())
	c.JSON(http.StatusOK, status)
}

// getRoutes returns the chain of every group.
func (g *gateway) getRoutes(c *gin.Context) {
	type row struct {
		Path     string          `json:"path"`
		Methods  []string        `json:"methods,omitempty"`
		Stages   []string        `json:"stages"`
		Upstream string          `json:"upstream,omitempty"`
		Table    json.RawMessage `json:"table,omitempty"`
		Streams  int             `json:"open_streams"`
		Inflight int             `json:"inflight,omitempty"`    // as counted by
		Most     int             `json:"concurrency,omitempty"` // this limit
	}
	var rows []row
	for _, group := range g.current.Load().groups {
		r := row{Path: group.cfg.Path, Methods: group.cfg.Methods, Stages: group.cfg.Stages, Upstream: group.cfg.Upstream, Streams: group.streams.Open()}
		if group.cfg.has(stageRouting) {
			r.Table = group.cfg.Routing.Table
		}
		if group.limits != nil && group.limits.adaptive != nil {
			r.Inflight, r.Most = group.limits.adaptive.Inflight(), group.limits.adaptive.Limit()
		}
		rows = append(rows, r)
	}
	c.JSON(http.StatusOK, gin.H{"config": g.status(), "groups": rows})
}

// getUpstreams returns the state of every endpoint.
func (g *gateway) getUpstreams(c *gin.Context) {
	rows := gin.H{}
	for name, pool := range g.current.Load().pools {
		rows[name] = pool.Status()
	}
	c.JSON(http.StatusOK, rows)
}

// getBreakers returns the state of every circuit that was used.
func (g *gateway) getBreakers(c *gin.Context) {
	rows := gin.H{}
	for name, pool := range g.current.Load().pools {
		if pool.breakers != nil {
			rows[name] = pool.breakers.Status()
		}
	}
	c.JSON(http.StatusOK, rows)
}

// postBreaker keeps the circuit of ?endpoint=host:port open or closed, or lets it go
// by what happens again. With per_version it is that of &version=.
func (g *gateway) postBreaker(c *gin.Context) {
	pool, endpoint := g.current.Load().pools[c.Param("upstream")], c.Query("endpoint")
	known := pool != nil && pool.breakers != nil && slices.ContainsFunc(pool.Status(), func(s balance.Status) bool {
		u, err := url.Parse(s.URL)
		return err == nil && u.Host == endpoint
	})
	if !known {
		apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_circuit", Message: "There is no such upstream and endpoint with a breaker."})
		return
	}
	var err error
	name := endpoint
	if pool.versions {
		name = circuit(endpoint, c.Query("version"))
	}
	switch c.Param("state") {
	case "open":
		err = pool.breakers.Force(name, breaker.Open)
	case "closed":
		err = pool.breakers.Force(name, breaker.Closed)
	case "auto":
		err = pool.breakers.Unforce(name)
	default:
		err = &apierror.Error{Status: http.StatusNotFound, Code: "no_state", Message: "A circuit can be open, closed or auto."}
	}
	if err != nil {
		apierror.Abort(c, err)
		return
	}
	c.JSON(http.StatusOK, pool.breakers.Status())
}

func (g *gateway) logPanic(c *gin.Context, value any, stack []byte) {
	g.log.Error("panic", "method", c.Request.Method, "path", c.Request.URL.Path, "value", value, "stack", string(stack))
}
