package routing_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/routetest"
	"github.com/ginfer/ginfer/routing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The table of the requirements is parsed unchanged.
func TestParseTable(t *testing.T) {
	t.Parallel()
	got := routetest.Table(t, `{
  "routes": [
    {"version": "v1.2", "weight": 90, "conditions": {"headers": {"beta-user": "true"}}},
    {"version": "v1.3", "weight": 10}
  ]
}`)
	ninety, ten := 90.0, 10.0
	assert.Equal(t, routing.Table{Routes: []routing.Route{
		{Version: "v1.2", Weight: &ninety, Conditions: routing.Conditions{Headers: map[string]string{"beta-user": "true"}}},
		{Version: "v1.3", Weight: &ten},
	}}, got)

	got = routetest.Table(t, `{"salt": "s", "routes": [{"model": "m*", "version": "v", "upstream": "u", "upstream_model": "n", "fallback": ["w"],
		"capabilities": {"tools": true, "json_schema": true, "vision": false, "context": 32768},
		"conditions": {"path": "/v1/*", "methods": ["POST"], "headers": {"a": "b"}, "cookies": {"c": "d"}, "tags": ["e"], "devices": ["mobile"]}},
		{"version": "w"}]}`)
	assert.Equal(t, routing.Route{
		Model: "m*", Version: "v", Upstream: "u", UpstreamModel: "n", Fallback: []string{"w"},
		Capabilities: &routing.Capabilities{Tools: true, JSONSchema: true, Context: 32768},
		Conditions: routing.Conditions{
			Path: "/v1/*", Methods: []string{"POST"}, Headers: map[string]string{"a": "b"},
			Cookies: map[string]string{"c": "d"}, Tags: []string{"e"}, Devices: []string{"mobile"},
		},
	}, got.Routes[0])
	assert.Nil(t, got.Routes[1].Capabilities)
	got = routetest.Table(t, `{"routes": [{"version": "v", "capabilities": {}}]}`)
	assert.Equal(t, &routing.Capabilities{}, got.Routes[0].Capabilities, "no capabilities differ from undeclared ones")
}

func TestParseTableFaults(t *testing.T) {
	t.Parallel()
	many := strings.Repeat(`{"version":"v","weight":1},`, 65)
	tests := map[string]struct {
		in   string
		want []string
	}{
		"empty":              {``, []string{"line 1: unexpected EOF"}},
		"not JSON":           {"{\n\"routes\": x}", []string{"line 2: invalid character"}},
		"cut off":            {`{"routes": [`, []string{"unexpected EOF"}},
		"more text":          {`{"routes": [{"version":"v"}]} {}`, []string{"text after the end"}},
		"not an object":      {`[]`, []string{"must be an object"}},
		"no routes":          {`{}`, []string{"routes: at least one is needed"}},
		"unknown fields":     {`{"route": [], "routes": [{"version":"v","wieght":1,"conditions":{"header":{}}}]}`, []string{"route: unknown field", "routes[0].wieght: unknown field", "routes[0].conditions.header: unknown field"}},
		"case counts":        {`{"Routes": [{"version":"v"}]}`, []string{"Routes: unknown field"}},
		"twice":              {`{"routes": [{"version":"v","version":"w"}]}`, []string{"routes[0].version: appears twice"}},
		"types":              {`{"salt": 1, "routes": [{"version":1,"weight":"90","fallback":"v","conditions":[]}, 7]}`, []string{"salt: must be a string", "routes[0].version: must be a string", "routes[0].weight: must be a number", "routes[0].fallback: must be a list", "routes[0].conditions: must be an object", "routes[1]: must be an object"}},
		"inner types":        {`{"routes": [{"version":"v","conditions":{"headers":{"a":true},"tags":[1]}}]}`, []string{"routes[0].conditions.headers.a: must be a string", "routes[0].conditions.tags[0]: must be a string"}},
		"null":               {`{"routes": [{"version":"v","weight":null}]}`, []string{"routes[0].weight: must be a number"}},
		"no version":         {`{"routes": [{"weight":1}]}`, []string{"routes[0].version: a name is needed"}},
		"weights":            {`{"routes": [{"version":"v","weight":-1},{"version":"w","weight":1e10}]}`, []string{"routes[0].weight: -1 is not", "routes[1].weight: 1e+10 is not"}},
		"no weight at all":   {`{"routes": [{"version":"v","weight":0},{"version":"w","weight":0}]}`, []string{"routes: the weights of the routes for many models sum up to 0"}},
		"no weight for one":  {`{"routes": [{"model":"m","version":"v","weight":0}]}`, []string{"routes[0].weight: the weights of model \"m\" sum up to 0"}},
		"too many together":  {`{"routes": [{"model":"m","version":"w","weight":1},` + strings.TrimSuffix(strings.Repeat(`{"version":"v","weight":1},`, 64), ",") + `]}`, []string{`requests for model "m" meet up to 65`}},
		"null table":         {`null`, []string{"must be an object"}},
		"many fallbacks":     {`{"routes": [{"version":"v","fallback":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}]}`, []string{"routes[0].fallback: 17 are more than 16"}},
		"patience":           {`{"routes": [{"version":"v","fallback_after":"20s"},{"model":"m","version":"w","fallback":["v"],"fallback_after":20}]}`, []string{"fallback_after: must be a duration"}},
		"patience alone":     {`{"routes": [{"version":"v","fallback_after":"20s"}]}`, []string{"routes[0].fallback_after: needs a fallback"}},
		"shadowed model":     {`{"routes": [{"version":"v"},{"model":"m","version":"w"}]}`, []string{"routes[1]: is never reached: routes[0]"}},
		"shadowed prefix":    {`{"routes": [{"model":"gpt-*","version":"v"},{"model":"gpt-5*","version":"w"}]}`, []string{"routes[1]: is never reached: routes[0]"}},
		"unreached":          {`{"routes": [{"version":"w"},{"version":"v","weight":1}]}`, []string{"routes[0]: is never reached: routes[1]"}},
		"cookie name":        {`{"routes": [{"version":"v","conditions":{"cookies":{"a b":"c"}}}]}`, []string{`routes[0].conditions.cookies: "a b" is not a cookie name`}},
		"too many weights":   {`{"routes": [` + strings.TrimSuffix(many, ",") + `]}`, []string{"more than 64"}},
		"star within":        {`{"routes": [{"model":"a*b","version":"v"}]}`, []string{"routes[0].model"}},
		"fallback to itself": {`{"routes": [{"version":"v","fallback":["v"]}]}`, []string{"routes[0].fallback[0]"}},
		"two upstreams":      {`{"routes": [{"version":"v","upstream":"a","weight":1},{"version":"v","upstream":"b","weight":1}]}`, []string{`routes[1].version: "v" has another upstream in routes[0]`}},
		"never reached":      {`{"routes": [{"version":"v"},{"version":"w"}]}`, []string{"routes[1]: is never reached: routes[0]"}},
		"conditions":         {`{"routes": [{"version":"v","conditions":{"path":"x","methods":["get"],"headers":{"a b":""},"devices":["fridge"]}}]}`, []string{"conditions.path", "conditions.methods[0]", "conditions.headers", "conditions.devices[0]: \"fridge\" is unknown; known: mobile"}},
		"capability":         {`{"routes": [{"version":"v","capabilities":{"tool":true,"vision":1,"tools":null,"context":"8k"}}]}`, []string{"routes[0].capabilities.tool: unknown field", "routes[0].capabilities.vision: must be true or false", "routes[0].capabilities.tools: must be true or false", "routes[0].capabilities.context: must be a whole number"}},
		"half a token":       {`{"routes": [{"version":"v","capabilities":{"context":0.5}}]}`, []string{"routes[0].capabilities.context: must be a whole number"}},
		"a huge context":     {`{"routes": [{"version":"v","capabilities":{"context":1e300}}]}`, []string{"routes[0].capabilities.context: must be a whole number"}},
		"contexts":           {`{"routes": [{"version":"v","capabilities":{"context":-1}},{"model":"m","version":"v","capabilities":{"context":1000000001},"weight":1}]}`, []string{"routes[0].capabilities.context: -1 is not within 0 and 1000000000", "routes[1].capabilities.context: 1000000001 is not"}},
		"no capabilities":    {`{"routes": [{"version":"v","capabilities":null}]}`, []string{"routes[0].capabilities: must be an object"}},
		"two capabilities":   {`{"routes": [{"version":"v","capabilities":{"tools":true},"weight":1},{"version":"v","capabilities":{"vision":true},"weight":1}]}`, []string{`routes[1].capabilities: "v" has other capabilities in routes[0]`}},
		"declared once":      {`{"routes": [{"version":"v","capabilities":{"tools":true},"weight":1},{"version":"v","weight":1}]}`, []string{`routes[1].capabilities: "v" has other capabilities in routes[0]`}},
		"whose version":      {`{"routes": [{"model":"m","version":"v","fallback":["x","w"]},{"model":"n","version":"w"},{"model":"n","version":"x"},{"model":"o","version":"w"}]}`, []string{`routes[0].fallback[1]: "w" may be that of routes[1] or of routes[3], which differ`}},
		"whose capabilities": {`{"routes": [{"model":"m","version":"v","fallback":["w"]},{"model":"n","version":"w","upstream_model":"x","capabilities":{}},{"model":"o","version":"w","upstream_model":"x"}]}`, []string{`routes[0].fallback[0]: "w" may be that of routes[1] or of routes[2]`}},
		"which of many":      {`{"routes": [{"model":"m","version":"v","fallback":["w"]},{"version":"w","upstream":"a"},{"model":"m*","version":"w","upstream":"b","conditions":{"path":"/x"}}]}`, []string{`routes[0].fallback[0]: "w" may be that of routes[1] or of routes[2]`}},
		"too deep":           {strings.Repeat("[", 100), []string{"nested too deeply"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := routing.ParseTable([]byte(tt.in))
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			_, ok := errors.AsType[*routing.FaultError](err)
			assert.True(t, ok)
		})
	}
}

// A table made in code passes the same checks, and its upstreams must exist.
func TestNewFaults(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	known := routetest.Upstreams("a", "b")
	one := routing.Table{Routes: []routing.Route{{Version: "a"}}}
	tests := map[string]struct {
		cfg  routing.Config
		want []string
	}{
		"no upstreams": {routing.Config{Table: one}, []string{"Upstreams is required"}},
		"nil upstream": {routing.Config{Table: one, Upstreams: map[string]http.RoundTripper{"a": nil}}, []string{"is nil"}},
		"names":        {routing.Config{Table: one, Upstreams: known, StickyHeader: "X User", Cookie: "my id", VersionHeader: "X:Y", ModelHeader: "a b", FallbackHeader: "é"}, []string{"StickyHeader", "Cookie", "VersionHeader", "ModelHeader", "FallbackHeader"}},
		"no routes":    {routing.Config{Upstreams: known}, []string{"at least one"}},
		"NaN":          {routing.Config{Upstreams: known, Table: routing.Table{Routes: []routing.Route{{Version: "a", Weight: &nan}}}}, []string{"routes[0].weight"}},
		"unknown upstreams": {routing.Config{Upstreams: known, Table: routing.Table{Routes: []routing.Route{
			{Version: "c", Model: "m"}, {Version: "d", Upstream: "x", Model: "n"}, {Version: "a", Fallback: []string{"b", "nope"}},
		}}}, []string{
			`routes[0].version: there is no upstream "c"; known: a, b`, `routes[1].upstream: there is no upstream "x"`,
			`routes[2].fallback[1]: there is no upstream "nope"`,
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := routing.New(tt.cfg)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// Tables that look wrong, but are valid.
func TestGoodTables(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"routes":[` + strings.TrimSuffix(strings.Repeat(`{"version":"v","weight":1},`, 64), ",") + `]}`,
		`{"routes":[{"version":"v1","weight":100},{"model":"demo","version":"v2","weight":0}]}`,
		`{"routes":[{"model":"m","version":"v"},{"model":"m*","version":"w"},{"version":"x"}]}`,
		`{"routes":[{"model":"m","version":"v","weight":1},{"version":"x"}]}`,
		`{"routes":[{"model":"m","version":"v","capabilities":{"tools":true,"context":8}},{"model":"n","version":"v","capabilities":{"context":9.0}}]}`,
		`{"routes":[{"version":"v","capabilities":{},"weight":1},{"version":"v","capabilities":{"tools":false},"weight":1}]}`,
		`{"routes":[{"model":"m","version":"v","fallback":["w"]},{"model":"n","version":"w","upstream_model":"x"},{"model":"o","version":"w","upstream_model":"x"}]}`,
		`{"routes":[{"model":"m","version":"v","fallback":["w"]},{"model":"m","version":"w","weight":1,"conditions":{"path":"/x"}},{"model":"n","version":"w"},{"model":"o","version":"w"}]}`,
		`{"routes":[{"version":"x"},{"version":"v","weight":1,"conditions":{"headers":{"a":"b"}}}]}`,
	} {
		_, err := routing.ParseTable([]byte(text))
		assert.NoError(t, err, text)
	}
}

func TestSetTable(t *testing.T) {
	t.Parallel()
	var swaps int
	r := routetest.New(t, routing.Config{
		Table: routetest.Table(t, `{"routes":[{"version":"a"}]}`), Upstreams: routetest.Upstreams("a", "b"),
		OnEvent: countSwaps(&swaps),
	})
	bad := routetest.Table(t, `{"routes":[{"version":"zzz"}]}`)
	require.ErrorContains(t, r.SetTable(bad), "zzz")
	d, _ := decide(r, routetest.Post("{}"))
	assert.Equal(t, "a", d.Version, "the one before stays")
	require.NoError(t, r.SetTable(routetest.Table(t, `{"routes":[{"version":"b"}]}`)))
	d, _ = decide(r, routetest.Post("{}"))
	assert.Equal(t, "b", d.Version)
	assert.Equal(t, "b", r.Table().Routes[0].Version)
	assert.Equal(t, 1, swaps)
}

func FuzzParseTable(f *testing.F) {
	f.Add(`{"routes":[{"version":"a","weight":1,"conditions":{"headers":{"a":"b"}}},{"version":"b","weight":2,"fallback":["a"]}]}`)
	f.Add(`{"salt":"x","routes":[{"model":"m","version":"a"}]}`)
	f.Add(`{"routes":[{"model":"m","version":"a","capabilities":{"tools":true,"context":10},"fallback":["b"],"fallback_after":"1m"},{"model":"n","version":"b","capabilities":{}}]}`)
	f.Add(`{"routes":[{"version":"a","mirror":{"version":"b","share":0.5}},{"model":"n","version":"b"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		tab, err := routing.ParseTable([]byte(text))
		if err != nil {
			if _, ok := errors.AsType[*routing.FaultError](err); !ok {
				t.Fatalf("an error that names no place: %v", err)
			}
			return
		}
		router, err := routing.New(routing.Config{Table: tab, Upstreams: named(tab)})
		if err != nil {
			t.Fatalf("a table that was read is refused: %v", err)
		}
		for i := range 5 {
			decide(router, routetest.Post(fmt.Sprintf(`{"model":%q}`, tab.Routes[0].Model), "X-User-Id", strconv.Itoa(i)))
		}
		again := throughJSON(t, tab)
		for i := range tab.Routes {
			require.Equal(t, written(&tab.Routes[i]), written(&again.Routes[i]))
		}
	})
}

// named returns all upstreams that a table may mean.
func named(tab routing.Table) map[string]http.RoundTripper {
	all := map[string]http.RoundTripper{"x": routetest.Serves("x", 200)}
	for i := range tab.Routes {
		r := &tab.Routes[i]
		for _, name := range append([]string{r.Version, r.Upstream}, r.Fallback...) {
			all[name] = routetest.Serves(name, 200)
		}
		if r.Mirror != nil {
			all[r.Mirror.Version] = routetest.Serves("mirror", 200)
		}
	}
	return all
}

// throughJSON marshals a table and parses it.
func throughJSON(t *testing.T, tab routing.Table) routing.Table {
	t.Helper()
	text, err := json.Marshal(tab)
	require.NoError(t, err)
	again, err := routing.ParseTable(text)
	require.NoError(t, err, "%s", text)
	require.Len(t, again.Routes, len(tab.Routes))
	return again
}

// written returns a route without the empty values that JSON omits.
func written(r *routing.Route) routing.Route {
	out := *r
	out.Conditions = routing.Conditions{Path: r.Conditions.Path}
	out.Fallback = append([]string{}, r.Fallback...)
	return out
}
