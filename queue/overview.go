package queue

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// overviewOf is a batch for an operator.
type overviewOf struct {
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

// listAllBatches answers with the latest batches of everybody.
func (q *Queue) listAllBatches(c *gin.Context) error {
	store, err := q.backend()
	if err != nil {
		return err
	}
	after, limit, err := page(c, 100, 20)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	keys, err := store.Keys(ctx, batchRecords)
	if err != nil {
		return err
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(idOf(b), idOf(a)) }) // which begin with their time
	var data []any
	var ids []string
	for _, key := range keys {
		id := idOf(key)
		if after != "" && id >= after {
			continue
		}
		if len(data) == limit {
			c.JSON(http.StatusOK, newList(data, ids, true))
			return nil
		}
		rec, _, err := decodeBatch(store.Get(ctx, key))
		if errors.Is(err, jet.ErrNotFound) { // it ended meanwhile
			continue
		}
		if err != nil {
			return err
		}
		ids = append(ids, id)
		data = append(data, overviewOf{
			id, "batch", rec.Tenant, rec.Status, rec.Endpoint, rec.Model, rec.Created.Unix(), unix(rec.Expires), requestCounts{rec.Total, rec.OK, rec.Bad},
		})
	}
	c.JSON(http.StatusOK, newList(data, ids, false))
	return nil
}

// idOf is the last part of a record's key.
func idOf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
