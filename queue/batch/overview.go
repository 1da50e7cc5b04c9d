package batch

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// overview is a batch as operators see it.
type overview struct {
	ID            string        `json:"id"`
	Object        string        `json:"object"`
	Tenant        string        `json:"tenant"`
	Status        string        `json:"status"`
	Endpoint      string        `json:"endpoint"`
	Model         string        `json:"model,omitempty"`
	CreatedAt     int64         `json:"created_at"`
	ExpiresAt     *int64        `json:"expires_at"`
	RequestCounts requestCounts `json:"request_counts"`
}

// listAll responds with the latest batches of all owners.
func (a *API) listAll(c *gin.Context) error {
	store, err := a.host.Store()
	if err != nil {
		return err
	}
	after, limit, err := api.Page(c, 100, 20)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	keys, err := store.Records.Keys(ctx, api.BatchRecords)
	if err != nil {
		return err
	}
	slices.SortFunc(keys, func(x, y string) int { return cmp.Compare(api.IDOf(y), api.IDOf(x)) }) // IDs begin with their time
	var data []any
	var ids []string
	for _, key := range keys {
		id := api.IDOf(key)
		if after != "" && id >= after {
			continue
		}
		if len(data) == limit {
			c.JSON(http.StatusOK, api.NewList(data, ids, true))
			return nil
		}
		rec, _, err := decodeRecord(store.Records.Get(ctx, key))
		if errors.Is(err, jet.ErrNotFound) { // it expired meanwhile
			continue
		}
		if err != nil {
			return err
		}
		ids = append(ids, id)
		data = append(data, overview{
			id, "batch", rec.Tenant, rec.Status, rec.Endpoint, rec.Model, rec.Created.Unix(), api.Unix(rec.Expires), requestCounts{rec.Total, rec.OK, rec.Bad},
		})
	}
	c.JSON(http.StatusOK, api.NewList(data, ids, false))
	return nil
}
