package admin

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/balance"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/examples/gateway/live"
	"github.com/ginfer/ginfer/routing/rollout"
)

// getUpstreams returns the state of every endpoint.
func (h *Handler) getUpstreams(c *gin.Context) {
	c.JSON(http.StatusOK, h.g.Current().PoolStates())
}

// getBreakers returns the state of every circuit that was used.
func (h *Handler) getBreakers(c *gin.Context) {
	c.JSON(http.StatusOK, h.g.Current().CircuitStates())
}

// postBreaker forces the circuit of ?endpoint=host:port open or closed, or returns it to
// automatic operation. With per_version it is the circuit of &version=.
func (h *Handler) postBreaker(c *gin.Context) {
	upstream, endpoint := h.g.Current().Upstreams[c.Param("upstream")], c.Query("endpoint")
	known := upstream != nil && upstream.Breakers != nil && slices.ContainsFunc(upstream.Status(), func(s balance.Status) bool {
		u, err := url.Parse(s.URL)
		return err == nil && u.Host == endpoint
	})
	if !known {
		apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_circuit", Message: "There is no such upstream and endpoint with a breaker."})
		return
	}
	var err error
	name := upstream.Circuit(endpoint, c.Query("version"))
	switch c.Param("state") {
	case "open":
		err = upstream.Breakers.Force(name, breaker.Open)
	case "closed":
		err = upstream.Breakers.Force(name, breaker.Closed)
	case "auto":
		err = upstream.Breakers.Unforce(name)
	default:
		err = &apierror.Error{Status: http.StatusNotFound, Code: "no_state", Message: "A circuit can be open, closed or auto."}
	}
	if err != nil {
		apierror.Abort(c, err)
		return
	}
	c.JSON(http.StatusOK, upstream.Breakers.Status())
}

// postPurge removes stored responses, here and on the other replicas: those of a
// ?model=, a &version=, a &tenant=, or of one &key=.
func (h *Handler) postPurge(c *gin.Context) {
	var tags []cache.Tag
	for name, tag := range map[string]func(string) cache.Tag{"model": cache.ByModel, "version": cache.ByVersion, "tenant": cache.ByTenant, "key": cache.ByKey} {
		for _, value := range c.QueryArray(name) {
			tags = append(tags, tag(value))
		}
	}
	if len(tags) == 0 {
		apierror.Abort(c, &apierror.Error{Status: http.StatusBadRequest, Code: "nothing_to_purge", Message: "Name what to purge: ?model=, version=, tenant= or key=."})
		return
	}
	groups, err := h.g.Current().Purge(c.Request.Context(), tags...)
	if err != nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusBadGateway, Code: "purge_pending", Message: "Purged here; the other replicas follow when the store is back.", Err: err})
		return
	}
	c.JSON(http.StatusOK, gin.H{"groups": groups, "tags": tags})
}

// rolloutRow is a rollout on the private port.
type rolloutRow struct {
	Group string `json:"group"`
	rollout.Status
}

// rolloutRows returns the rollouts in the order of the configuration.
func rolloutRows(a *live.App) []rolloutRow {
	rows := []rolloutRow{}
	for _, r := range a.AllRollouts() {
		rows = append(rows, rolloutRow{r.Group, r.Status()})
	}
	return rows
}

func (h *Handler) getRollouts(c *gin.Context) { c.JSON(http.StatusOK, rolloutRows(h.g.Current())) }

// postRollout carries out an operator's decision: pause, resume, promote, rollback, restart.
func (h *Handler) postRollout(c *gin.Context) {
	for _, r := range h.g.Current().AllRollouts() {
		if r.Status().Name == c.Param("name") {
			decide(c, r)
			return
		}
	}
	apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_rollout", Message: "There is no rollout of this name."})
}

func decide(c *gin.Context, r *live.Rollout) {
	action := map[string]func(context.Context) error{
		"pause": r.Pause, "resume": r.Resume, "promote": r.Promote, "rollback": r.RollBack, "restart": r.Restart,
	}[c.Param("action")]
	if action == nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusNotFound, Code: "no_action", Message: "A rollout can pause, resume, promote, rollback and restart."})
		return
	}
	if err := action(context.WithoutCancel(c.Request.Context())); err != nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusConflict, Code: "not_now", Message: err.Error(), Err: err})
		return
	}
	c.JSON(http.StatusOK, rolloutRow{r.Group, r.Status()})
}
