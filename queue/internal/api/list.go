package api

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// Page reads the parameters after and limit of a list.
func Page(c *gin.Context, most, usual int) (after string, limit int, err error) {
	limit = usual
	if text := c.Query("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > most {
			return "", 0, Invalid("invalid_limit", "limit must be 1 to %d.", most)
		}
	}
	return c.Query("after"), limit, nil
}

// Pages bounds the limit of a list: its maximum and its default.
type Pages struct{ Most, Usual int }

// Listed returns a page of an owner's records of a kind, the newest first unless the
// request asks for order=asc. View returns one of them; nil leaves it out.
func Listed(c *gin.Context, store *jet.Store, kind, owner string, pages Pages, view func(ctx context.Context, id string) (any, error)) (*List, error) {
	after, limit, err := Page(c, pages.Most, pages.Usual)
	if err != nil {
		return nil, err
	}
	ctx := c.Request.Context()
	ids, more, err := pageOf(ctx, store, kind, owner, after, limit, c.Query("order") == "asc")
	if err != nil {
		return nil, err
	}
	var data []any
	for _, id := range ids {
		v, err := view(ctx, id)
		switch {
		case errors.Is(err, jet.ErrNotFound): // it expired meanwhile
		case err != nil:
			return nil, err
		case v != nil:
			data = append(data, v)
		}
	}
	return NewList(data, ids, more), nil
}

// pageOf returns a page of an owner's IDs, and whether there are more.
func pageOf(ctx context.Context, store *jet.Store, kind, owner, after string, limit int, ascending bool) (ids []string, more bool, err error) {
	prefix := Key(kind, owner, "")
	keys, err := store.Records.Keys(ctx, strings.TrimSuffix(prefix, "."))
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

// List is a page in the format of the OpenAI API.
type List struct {
	Object  string `json:"object"`
	Data    []any  `json:"data"`
	FirstID string `json:"first_id,omitempty"`
	LastID  string `json:"last_id,omitempty"`
	HasMore bool   `json:"has_more"`
}

// NewList returns a List.
func NewList(data []any, ids []string, more bool) *List {
	l := &List{Object: "list", Data: data, HasMore: more}
	if l.Data == nil {
		l.Data = []any{}
	}
	if len(ids) > 0 {
		l.FirstID, l.LastID = ids[0], ids[len(ids)-1]
	}
	return l
}
