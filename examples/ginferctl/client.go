package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// client calls a gateway.
type client struct {
	base, token string
	http        *http.Client
}

// apiError is an error response of the gateway.
type apiError struct {
	status        int
	Code, Message string
}

// Error implements error.
func (e *apiError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the gateway responded with %d %s", e.status, http.StatusText(e.status))
	}
	return fmt.Sprintf("%s (%s, status %d)", e.Message, e.Code, e.status)
}

// do sends a request. The caller closes the body of what it returns.
func (c *client) do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.base, "/")+path, body) //nolint:gosec // the user says where
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, header)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(r) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		defer func() { _ = res.Body.Close() }()
		return nil, readError(res)
	}
	return res, nil
}

func readError(res *http.Response) error {
	var body struct {
		Error struct{ Code, Message string } `json:"error"`
	}
	const most = 1 << 20
	b, _ := io.ReadAll(io.LimitReader(res.Body, most))
	_ = json.Unmarshal(b, &body) // else the status says it
	return &apiError{status: res.StatusCode, Code: body.Error.Code, Message: body.Error.Message}
}

// call sends a request and decodes a JSON response.
func (c *client) call(ctx context.Context, method, path string, body io.Reader, header http.Header, into any) error {
	res, err := c.do(ctx, method, path, body, header)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("can't decode the response: %w", err)
	}
	return nil
}

func (c *client) get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, nil, into)
}

// save writes the response to a GET into w.
func (c *client) save(ctx context.Context, path string, w io.Writer) error {
	res, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(w, res.Body)
	return err
}

// list is a page of a listing.
type list[T any] struct {
	Data    []T    `json:"data"`
	LastID  string `json:"last_id"`
	HasMore bool   `json:"has_more"`
}

// all reads up to limit items, page by page.
func all[T any](ctx context.Context, c *client, path string, limit int) ([]T, error) {
	var got []T
	after := ""
	for len(got) < limit {
		var page list[T]
		q := url.Values{"limit": {strconv.Itoa(min(limit-len(got), 100))}}
		if after != "" {
			q.Set("after", after)
		}
		if err := c.get(ctx, path+"?"+q.Encode(), &page); err != nil {
			return got, err
		}
		got = append(got, page.Data...)
		if !page.HasMore || page.LastID == "" {
			break
		}
		after = page.LastID
	}
	return got, nil
}

// passing reports whether a repeat may succeed soon.
func passing(err error) bool {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.status >= 500 || e.status == http.StatusTooManyRequests
	}
	_, ok := errors.AsType[*url.Error](err)
	return ok && !errors.Is(err, context.Canceled)
}
