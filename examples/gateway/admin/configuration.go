package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/live"
)

// maxConfig bounds a configuration sent to the private port.
const maxConfig = 4 << 20

// getConfig returns the configuration in force as it was written.
func (h *Handler) getConfig(c *gin.Context) {
	status := h.g.Status()
	c.Header("ETag", status.Tag())
	c.Header("X-Config-Source", status.Source)
	c.Data(http.StatusOK, "application/json", h.g.Current().Source.Text)
}

// putConfig applies a configuration (JSON) that is not in the file. It is in force until the
// file changes or the gateway ends. If-Match prevents overwriting another operator's change.
func (h *Handler) putConfig(c *gin.Context) {
	// A page in the operator's browser can't send this type without a preflight request.
	if mediaType, _, err := mime.ParseMediaType(c.ContentType()); err != nil || mediaType != "application/json" {
		apierror.Abort(c, &apierror.Error{Status: http.StatusUnsupportedMediaType, Code: "not_json", Message: "Send application/json."})
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxConfig))
	if err != nil {
		apierror.Abort(c, err)
		return
	}
	h.respond(c, h.g.Apply(context.WithoutCancel(c.Request.Context()), config.Source{Name: "admin API", Text: text}, c.GetHeader("If-Match")))
}

// postReload reads the file again.
func (h *Handler) postReload(c *gin.Context) {
	h.respond(c, h.g.Load(context.WithoutCancel(c.Request.Context())))
}

func (h *Handler) respond(c *gin.Context, err error) {
	status := h.g.Status()
	if errors.Is(err, live.ErrChanged) {
		apierror.Abort(c, &apierror.Error{Status: http.StatusPreconditionFailed, Code: "changed_meanwhile", Message: "The configuration is at revision " + status.Revision + " by now."})
		return
	}
	if err != nil {
		apierror.Abort(c, &apierror.Error{Status: http.StatusUnprocessableEntity, Code: "bad_config", Message: err.Error()})
		return
	}
	c.Header("ETag", status.Tag())
	c.JSON(http.StatusOK, status)
}

// getRoutes returns the chain of every group.
func (h *Handler) getRoutes(c *gin.Context) {
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
	for _, group := range h.g.Current().Groups {
		cfg := group.Config
		r := row{Path: cfg.Path, Methods: cfg.Methods, Stages: cfg.Stages, Upstream: cfg.Upstream, Streams: group.Streams.Open()}
		if cfg.Has(config.StageRouting) {
			r.Table = cfg.Routing.Table
		}
		r.Inflight, r.Most = group.Concurrent()
		rows = append(rows, r)
	}
	c.JSON(http.StatusOK, gin.H{"config": h.g.Status(), "groups": rows})
}
