package routing_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const models = `{"routes":[
	{"model":"large","version":"l1","weight":90},
	{"model":"large","version":"l2","weight":10},
	{"model":"org/small","version":"s","conditions":{"path":"/v1/chat/*","methods":["POST"]}},
	{"model":"beta","version":"b","conditions":{"headers":{"beta-user":"true"}}},
	{"model":"secret","version":"x"},
	{"model":"gpt-*","version":"p"}]}`

func askModels(t *testing.T, cfg routing.Config, method, path string, header ...string) (*httptest.ResponseRecorder, bool) {
	t.Helper()
	e := gin.New()
	passed := false
	e.Any("/*path", routetest.New(t, cfg).Middleware(), func(*gin.Context) { passed = true })
	req := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, req)
	return w, passed
}

func TestModelList(t *testing.T) {
	t.Parallel()
	cfg := routing.Config{
		Table: routetest.Table(t, models), Upstreams: routetest.Upstreams("l1", "l2", "s", "b", "x", "p"),
		Usable: func(_ context.Context, model string) bool { return model != "secret" },
	}
	tests := []struct {
		name, path string
		header     []string
		status     int
		want       string // ids, or an error's code
	}{
		{"all that a caller sees", "/v1/models", nil, 200, "large org/small"},
		{"one more by a header", "/v1/models", []string{"beta-user", "true"}, 200, "large org/small beta"},
		{"one", "/v1/models/large", nil, 200, "large"},
		{"one with a slash", "/v1/models/org/small", nil, 200, "org/small"},
		{"one with an escaped slash", "/v1/models/org%2Fsmall", nil, 200, "org/small"},
		{"one whose name ends so", "/v1/models/gpt-/models", nil, 200, "gpt-/models"},
		{"one by a pattern", "/v1/models/gpt-4o", nil, 200, "gpt-4o"},
		{"one under a condition", "/v1/models/beta", nil, 404, "model_not_found"},
		{"one that it may not use", "/v1/models/secret", nil, 404, "model_not_found"},
		{"an unknown one", "/v1/models/nope", nil, 404, "model_not_found"},
		{"something else", "/v1/files", nil, 404, "no_route"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, passed := askModels(t, cfg, http.MethodGet, tt.path, tt.header...)
			assert.False(t, passed)
			assert.Equal(t, tt.status, w.Code)
			var body struct {
				Object  string
				ID      string
				Data    []struct{ ID, Object, Type string }
				FirstID string `json:"first_id"`
				Error   struct{ Code string }
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body)
			ids := []string{}
			for _, m := range body.Data {
				assert.Equal(t, [2]string{"model", "model"}, [2]string{m.Object, m.Type})
				ids = append(ids, m.ID)
			}
			if len(ids) > 0 {
				assert.Equal(t, "list", body.Object)
				assert.Equal(t, ids[0], body.FirstID)
			}
			assert.Equal(t, tt.want, strings.TrimSpace(strings.Join(ids, " ")+body.ID+body.Error.Code))
		})
	}
	w, _ := askModels(t, cfg, http.MethodPost, "/v1/models")
	assert.Equal(t, http.StatusNotFound, w.Code, "a list is not made")
	w, _ = askModels(t, cfg, http.MethodHead, "/v1/models")
	assert.Equal(t, http.StatusOK, w.Code)
}

// With a route for any model the upstream serves the list.
func TestModelListOfAnUpstream(t *testing.T) {
	t.Parallel()
	_, passed := askModels(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"model":"m","version":"a"},{"version":"b"}]}`), Upstreams: routetest.Upstreams("a", "b")}, http.MethodGet, "/v1/models")
	assert.True(t, passed)
}

// Without a usable model the list is empty, but a list.
func TestModelListEmpty(t *testing.T) {
	t.Parallel()
	w, _ := askModels(t, routing.Config{Table: routetest.Table(t, `{"routes":[{"model":"gpt-*","version":"a"}]}`), Upstreams: routetest.Upstreams("a")}, http.MethodGet, "/v1/models")
	assert.JSONEq(t, `{"object":"list","data":[],"has_more":false}`, w.Body.String())
}

// A table without model names serves no list, whatever the path.
func TestModelListOfATableWithoutModels(t *testing.T) {
	t.Parallel()
	cfg := routing.Config{Table: routetest.Table(t, `{"routes":[{"version":"a","conditions":{"path":"/cars/*"}}]}`), Upstreams: routetest.Upstreams("a")}
	for _, path := range []string{"/shop/models", "/shop/models/t"} {
		w, passed := askModels(t, cfg, http.MethodGet, path)
		assert.False(t, passed)
		assert.Equal(t, http.StatusNotFound, w.Code)
		assert.Contains(t, w.Body.String(), "no_route")
	}
}

// A table that is set meanwhile applies to the next request.
func TestModelListWhileTheTableChanges(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/models", "/v1/models/b"} {
		var r *routing.Router
		long := routetest.Table(t, `{"routes":[{"model":"a","version":"x"},{"model":"b","version":"x"},{"model":"b","version":"x","conditions":{"headers":{"h":"1"}}}]}`)
		short := routetest.Table(t, `{"routes":[{"model":"c","version":"x"}]}`)
		r = routetest.New(t, routing.Config{Table: long, Upstreams: routetest.Upstreams("x"), Usable: func(context.Context, string) bool {
			assert.NoError(t, r.SetTable(short)) //nolint:contextcheck // it takes none
			return path == "/v1/models"
		}})
		e := gin.New()
		e.GET("/*path", r.Middleware())
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		assert.NotEqual(t, http.StatusInternalServerError, w.Code)
		if path == "/v1/models" {
			assert.Contains(t, w.Body.String(), `"b"`)
		}
	}
}
