package proxy

import (
	"errors"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
)

// DefaultBodyLimit is the largest request body that is held, in bytes.
const DefaultBodyLimit = body.DefaultLimit

// BodiesConfig describes Bodies.
type BodiesConfig struct {
	// Limit is the largest request body, in bytes, that is held in memory: to find its
	// model, to estimate its cost, to send it again. Of a longer one the beginning is read,
	// and the rest streams. Default [DefaultBodyLimit].
	Limit int64
	// Budget is how many bytes all held bodies may have together; a request beyond it is
	// refused with 503. Default a quarter of the memory that the process may have
	// (GOMEMLIMIT, else that of its control group or of the machine), at least 256 MiB.
	Budget int64
	// Share is the part of Budget that one caller may have, and all callers together that
	// are not authenticated. Default 0.25.
	Share float64
}

// Bodies bounds the request bodies that are held in memory, by all stages together: auth,
// ratelimit, routing, cache and the proxy read a body once, within this bound. Without it
// they share one of the process, with the defaults. It is safe for concurrent use.
type Bodies struct{ bodies *body.Bodies }

// NewBodies checks cfg and returns Bodies. The error joins every fault.
func NewBodies(cfg BodiesConfig) (*Bodies, error) {
	var faults []error
	if cfg.Limit < 0 || cfg.Budget < 0 {
		faults = append(faults, errors.New("proxy: BodiesConfig: Limit and Budget must not be negative"))
	}
	if !(cfg.Share >= 0 && cfg.Share <= 1) {
		faults = append(faults, errors.New("proxy: BodiesConfig.Share must be from 0 to 1"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Bodies{body.New(body.Config{Limit: cfg.Limit, Budget: cfg.Budget, Share: cfg.Share})}, nil
}

// Middleware returns the handler that puts the bound into force. Place it first: before any
// stage that reads a body.
func (b *Bodies) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx, end := body.With(c.Request.Context(), b.bodies)
		defer end()
		c.Request = c.Request.WithContext(ctx)
		c.Next()
	}
}

// Within returns Bodies with another Limit and the same budget: for a group of routes that
// takes larger or smaller bodies. A limit below 1 is the default.
func (b *Bodies) Within(limit int64) *Bodies {
	if limit < 1 {
		limit = DefaultBodyLimit
	}
	return &Bodies{b.bodies.Within(limit)}
}

// Used is how many bytes are held now.
func (b *Bodies) Used() int64 { return b.bodies.Used() }
