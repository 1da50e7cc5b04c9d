// Package admin serves the private port: health, configuration, state, profiles, and a page for
// people.
package admin

import (
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/ginfer/ginfer/observe/private"
)

// Handler serves the private port of a gateway.
type Handler struct {
	g *live.Gateway

	mu     sync.Mutex
	queue  *live.Queue // that the engine has routes for
	engine http.Handler
}

// New returns the handler of a gateway that has loaded its configuration.
func New(g *live.Gateway) *Handler { return &Handler{g: g} }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.routes().ServeHTTP(w, r) //nolint:contextcheck // requests bring their own
}

// routes returns the engine. A reload may bring a queue, which has routes of its own.
func (h *Handler) routes() http.Handler {
	h.mu.Lock()
	defer h.mu.Unlock()
	if q := h.g.Current().Queue; h.engine == nil || q != h.queue {
		h.queue, h.engine = q, h.newEngine(q)
	}
	return h.engine
}

func (h *Handler) newEngine(q *live.Queue) http.Handler {
	r := gin.New()
	r.UseRawPath = true // the names of rollouts may have slashes
	r.Use(apierror.Recovery(h.g.LogPanic), h.knownHost, sameOrigin())
	r.GET("/", func(c *gin.Context) { c.Redirect(http.StatusFound, "/admin/") })
	r.GET("/livez", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	r.GET("/readyz", h.readyz)
	admin := r.Group("/admin")
	pageRoutes(admin)
	admin.GET("/live", (&feed{g: h.g, queue: newQueueView(q)}).serve)
	admin.GET("/config", h.getConfig)
	admin.PUT("/config", h.putConfig)
	admin.POST("/reload", h.postReload)
	admin.GET("/routes", h.getRoutes)
	admin.GET("/upstreams", h.getUpstreams)
	admin.GET("/breakers", h.getBreakers)
	admin.POST("/breakers/:upstream/:state", h.postBreaker)
	admin.POST("/cache/purge", h.postPurge)
	admin.GET("/rollouts", h.getRollouts)
	admin.POST("/rollouts/:name/:action", h.postRollout)
	if q != nil {
		q.AdminRoutes(admin)
	}
	r.GET("/metrics", gin.WrapH(h.g.Telemetry().OTel.Handler()))
	r.GET("/debug/requests", gin.WrapH(h.g.Telemetry().Recent.Handler()))
	r.Any("/debug/pprof/*path", gin.WrapH(private.Pprof()))
	return r
}

// readyz fails from the moment the gateway begins to drain, and while a store is down without
// which requests are refused. It lists every store that is down.
func (h *Handler) readyz(c *gin.Context) {
	if !h.g.Ready() {
		c.String(http.StatusServiceUnavailable, "draining\n")
		return
	}
	status, text := http.StatusOK, "ok\n"
	for _, down := range h.g.Current().StoresDown() {
		if text += down.String() + "\n"; down.Refuses {
			status = http.StatusServiceUnavailable
		}
	}
	if status != http.StatusOK {
		text = strings.TrimPrefix(text, "ok\n")
	}
	c.String(status, "%s", text)
}
