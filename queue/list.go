package queue

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// listed answers with a page of what is the caller's. View shows one of them; nil leaves
// it out.
func (q *Queue) listed(c *gin.Context, kind string, most, usual int, view func(ctx context.Context, store *jet.Store, owner, id string) (any, error)) error {
	store, owner, err := q.mine(c)
	if err != nil {
		return err
	}
	after, limit, err := page(c, most, usual)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	ids, more, err := pageOf(ctx, store, kind, owner, after, limit, c.Query("order") == "asc")
	if err != nil {
		return err
	}
	var data []any
	for _, id := range ids {
		shown, err := view(ctx, store, owner, id)
		switch {
		case errors.Is(err, jet.ErrNotFound): // it ended meanwhile
		case err != nil:
			return err
		case shown != nil:
			data = append(data, shown)
		}
	}
	c.JSON(http.StatusOK, newList(data, ids, more))
	return nil
}

// page reads after and limit.
func page(c *gin.Context, most, usual int) (after string, limit int, err error) {
	limit = usual
	if text := c.Query("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > most {
			return "", 0, invalid("invalid_limit", "limit must be 1 to %d.", most)
		}
	}
	return c.Query("after"), limit, nil
}

// pageOf is the page that a request asks for of an owner's IDs, the newest first, and
// whether there are more.
func pageOf(ctx context.Context, store *jet.Store, kind, owner, after string, limit int, ascending bool) (ids []string, more bool, err error) {
	prefix := recordKey(kind, owner, "")
	keys, err := store.Keys(ctx, strings.TrimSuffix(prefix, "."))
	if err != nil {
		return nil, false, err
	}
	slices.Sort(keys)
	if !ascending {
		slices.Reverse(keys)
	}
	for _, key := range keys {
		id := strings.TrimPrefix(key, prefix)
		if after != "" && (ascending && id <= after || !ascending && id >= after) {
			continue
		}
		if len(ids) == limit {
			return ids, true, nil
		}
		ids = append(ids, id)
	}
	return ids, false, nil
}

// listView is a page as the OpenAI API has them.
type listView struct {
	Object  string `json:"object"`
	Data    []any  `json:"data"`
	FirstID string `json:"first_id,omitempty"`
	LastID  string `json:"last_id,omitempty"`
	HasMore bool   `json:"has_more"`
}

func newList(data []any, ids []string, more bool) listView {
	v := listView{Object: "list", Data: data, HasMore: more}
	if v.Data == nil {
		v.Data = []any{}
	}
	if len(ids) > 0 {
		v.FirstID, v.LastID = ids[0], ids[len(ids)-1]
	}
	return v
}
