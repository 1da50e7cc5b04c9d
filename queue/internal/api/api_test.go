package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestError(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	own := &apierror.Error{Status: http.StatusTeapot, Code: "own"}
	tests := []struct {
		in     error
		status int
		code   string
		is     error
		after  time.Duration
	}{
		{jet.ErrLaneFull, 429, "tenant_queue_full", api.ErrFull, 5 * time.Second},
		{fmt.Errorf("%w: x", jet.ErrFull), 429, "queue_full", api.ErrFull, 5 * time.Second},
		{jet.ErrNotFound, 404, "not_found", api.ErrNotFound, 0},
		{jet.ErrUnavailable, 503, "queue_unavailable", api.ErrUnavailable, time.Second},
		{jet.ErrConflict, 503, "queue_unavailable", api.ErrUnavailable, time.Second},
		{api.Unavailable(other), 503, "queue_unavailable", other, time.Second},
		{api.NotFound("x", other), 404, "not_found", other, 0},
		{api.Invalid("a_code", "%d of %d", 1, 2), 400, "a_code", api.ErrInvalid, 0},
		{api.TooLarge("a_code", "x"), 413, "a_code", api.ErrInvalid, 0},
		{api.TooMany("a_code", "x"), 429, "a_code", api.ErrLimit, time.Minute},
		{api.WrongState("a_code", "x"), 409, "a_code", api.ErrState, 0},
		{fmt.Errorf("wrapped: %w", own), 418, "own", own, 0},
	}
	for _, tt := range tests {
		got := api.Error(tt.in)
		var e *apierror.Error
		require.ErrorAs(t, got, &e, tt.in)
		assert.Equal(t, tt.status, e.Status, tt.in)
		assert.Equal(t, tt.code, e.Code, tt.in)
		assert.Equal(t, tt.after, e.RetryAfter, tt.in)
		require.ErrorIs(t, got, tt.is, tt.in)
	}
	assert.Equal(t, other, api.Error(other), "an unknown error stays as it is")
}

// context is that of a request.
func context(method, target, body string) *gin.Context {
	gin.SetMode(gin.TestMode)
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest(method, target, strings.NewReader(body))
	return c
}

func TestReadBody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, code, message string
	}{
		{"good", `{"name":"x","n":1}`, "", ""},
		{"space around", " \n{\"n\":1}\n ", "", ""},
		{"empty", "", "invalid_json", "EOF"},
		{"cut", `{"n":`, "invalid_json", "EOF"},
		{"unknown member", `{"m":1}`, "invalid_json", `unknown field "m"`},
		{"wrong type", `{"n":"1"}`, "invalid_json", "the type of n is wrong"},
		{"two values", `{"n":1}{}`, "invalid_json", "more than one value"},
		{"at the limit", `{"name":"` + strings.Repeat("x", 89) + `"}`, "", ""},
		{"too large", `{"name":"` + strings.Repeat("x", 90) + `"}`, "request_too_large", "too large"},
	}
	for _, tt := range tests {
		var v struct {
			Name string `json:"name"`
			N    int    `json:"n"`
		}
		text, err := api.ReadBody(context(http.MethodPost, "/", tt.body), 100, &v)
		if tt.code == "" {
			require.NoError(t, err, tt.name)
			assert.Equal(t, tt.body, string(text), tt.name)
			continue
		}
		var e *apierror.Error
		require.ErrorAs(t, err, &e, tt.name)
		assert.Equal(t, tt.code, e.Code, tt.name)
		assert.Contains(t, e.Message, tt.message, tt.name)
		assert.NotContains(t, e.Message, "struct", "%s: no names of Go types", tt.name)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	pairs := func(n, key, value int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("%0*d", key, i)] = strings.Repeat("v", value)
		}
		return m
	}
	for _, tt := range []struct {
		name string
		in   map[string]string
		ok   bool
	}{
		{"none", nil, true},
		{"the most", pairs(16, 64, 512), true},
		{"too many", pairs(17, 2, 1), false},
		{"a long key", pairs(1, 65, 1), false},
		{"a long value", pairs(1, 1, 513), false},
	} {
		err := api.CheckMetadata(tt.in)
		if tt.ok {
			require.NoError(t, err, tt.name)
		} else {
			require.ErrorIs(t, err, api.ErrInvalid, tt.name)
		}
	}
}

// IDs sort by age, and are all different.
func TestNewID(t *testing.T) {
	t.Parallel()
	var ids []string
	for range 5 {
		ids = append(ids, api.NewID(api.JobPrefix))
		for at := time.Now().UnixMilli(); time.Now().UnixMilli() == at; { // the time is in milliseconds
		}
	}
	assert.True(t, slices.IsSorted(ids), ids)
	seen := map[string]bool{}
	for range 1000 {
		id := api.NewID(api.FilePrefix)
		require.True(t, api.IsID(api.FilePrefix, id), id)
		seen[id] = true
	}
	assert.Len(t, seen, 1000)
}

// What is not an ID can't reach the keys of the store, where . and * have a meaning.
func TestIsID(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("0a", 18)
	for id, want := range map[string]bool{
		"job_" + digits:                        true,
		"job_" + digits[1:]:                    false,
		"job_" + digits + "0":                  false,
		"file-" + digits:                       false,
		digits:                                 false,
		"job_" + strings.ToUpper(digits):       false,
		"job_" + digits[:35] + "g":             false,
		"job_" + digits[:35] + ".":             false,
		"job_" + digits[:35] + "*":             false,
		"job_" + digits[:35] + ">":             false,
		"job_" + digits[:34] + "\n0":           false,
		"job_" + strings.Repeat("\u0660", 18):  false,
		"job_" + strings.Repeat("\xff\x00", 9): false,
		"":                                     false,
	} {
		assert.Equal(t, want, api.IsID(api.JobPrefix, id), "%q", id)
	}
}

// Owners never share a key, whatever their names are.
func TestKey(t *testing.T) {
	t.Parallel()
	owners := []string{"", "a", "A", "a.b", "a.*", ">", "a b", "ä", "\x00", "a\nb", strings.Repeat("x", 256)}
	seen := map[string]string{}
	for _, owner := range owners {
		key := api.Key(api.JobRecords, owner, "job_1")
		assert.NotContains(t, seen, key)
		seen[key] = owner
		assert.Equal(t, "job_1", api.IDOf(key))
		assert.Equal(t, 2, strings.Count(key, "."), "three tokens: %s", key)
		assert.NotRegexp(t, `[^-=_.0-9A-Za-z]`, key)
	}
	assert.NotEqual(t, api.Key(api.JobRecords, "a", "x"), api.Key(api.BatchRecords, "a", "x"))
}

func TestUnix(t *testing.T) {
	t.Parallel()
	assert.Nil(t, api.Unix(time.Time{}))
	got := api.Unix(time.Unix(42, 999))
	require.NotNil(t, got)
	assert.EqualValues(t, 42, *got)
}

func TestPage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query, after string
		limit        int
		ok           bool
	}{
		{"", "", 20, true},
		{"?after=job_1", "job_1", 20, true},
		{"?limit=1", "", 1, true},
		{"?limit=100&after=x", "x", 100, true},
		{"?limit=101", "", 0, false},
		{"?limit=0", "", 0, false},
		{"?limit=-1", "", 0, false},
		{"?limit=x", "", 0, false},
		{"?limit=1.5", "", 0, false},
		{"?limit=99999999999999999999", "", 0, false},
	}
	for _, tt := range tests {
		after, limit, err := api.Page(context(http.MethodGet, "/"+tt.query, ""), 100, 20)
		if !tt.ok {
			require.ErrorIs(t, err, api.ErrInvalid, tt.query)
			continue
		}
		require.NoError(t, err, tt.query)
		assert.Equal(t, tt.after, after, tt.query)
		assert.Equal(t, tt.limit, limit, tt.query)
	}
}

func TestNewList(t *testing.T) {
	t.Parallel()
	empty := api.NewList(nil, nil, false)
	assert.Equal(t, &api.List{Object: "list", Data: []any{}}, empty, "data is an array, never null")
	full := api.NewList([]any{1, 2, 3}, []string{"a", "b", "c"}, true)
	assert.Equal(t, &api.List{Object: "list", Data: []any{1, 2, 3}, FirstID: "a", LastID: "c", HasMore: true}, full)
}
