package routing

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// modelEntry is a model in the list formats of OpenAI and Anthropic at once; clients of each
// ignore the other's members. The creation time is not known.
type modelEntry struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int    `json:"created"`
	OwnedBy     string `json:"owned_by"`
	Type        string `json:"type"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

func newModelEntry(id string) modelEntry {
	return modelEntry{ID: id, Object: "model", OwnedBy: "gateway", Type: "model", DisplayName: id, CreatedAt: "1970-01-01T00:00:00Z"}
}

type modelList struct {
	Object  string       `json:"object"`
	Data    []modelEntry `json:"data"`
	HasMore bool         `json:"has_more"`
	FirstID string       `json:"first_id,omitempty"`
	LastID  string       `json:"last_id,omitempty"`
}

// serveModels responds to GET …/models and …/models/NAME from the table, and reports whether
// the request was one. It is for requests without a route, as only a route for any model
// takes requests that name none. A table without model names has no list.
func (r *Router) serveModels(c *gin.Context) bool {
	if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead {
		return false
	}
	routes := r.Table().Routes // one table, also during a swap
	if !slices.ContainsFunc(routes, func(route Route) bool { return route.Model != "" }) {
		return false
	}
	path := c.Request.URL.Path
	if _, name, ok := strings.Cut(path, "/models/"); ok { // names may contain slashes
		r.serveModel(c, routes, name)
		return true
	}
	if strings.HasSuffix(path, "/models") {
		c.AbortWithStatusJSON(http.StatusOK, r.listModels(c, routes))
		return true
	}
	return false
}

func (r *Router) serveModel(c *gin.Context, routes []Route, name string) {
	for i := range routes {
		if route := &routes[i]; route.Model != "" && route.forModel(name) && r.shows(c, route, name) {
			c.AbortWithStatusJSON(http.StatusOK, newModelEntry(name))
			return
		}
	}
	r.cfg.ErrorHandler(c, noRoute(name))
}

func (r *Router) listModels(c *gin.Context, routes []Route) modelList {
	list, known := modelList{Object: "list", Data: []modelEntry{}}, map[string]bool{}
	for i := range routes {
		route := &routes[i]
		name := route.Model
		if name != "" && !strings.HasSuffix(name, "*") && !known[name] && r.shows(c, route, name) {
			known[name] = true
			list.Data = append(list.Data, newModelEntry(name))
		}
	}
	if n := len(list.Data); n > 0 {
		list.FirstID, list.LastID = list.Data[0].ID, list.Data[n-1].ID
	}
	return list
}

// shows reports whether the caller may use a route, whatever the path and method of a later
// request.
func (r *Router) shows(c *gin.Context, route *Route, model string) bool {
	if r.cfg.Usable != nil && !r.cfg.Usable(c.Request.Context(), model) {
		return false
	}
	conditions := route.Conditions
	conditions.Path, conditions.Methods = "", nil
	return conditions.met(&subject{r: c.Request, tags: func() []string { return r.cfg.Tags(c.Request.Context()) }})
}
