package ginctx_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/auth"
	"github.com/ginfer/ginfer/breaker"
	"github.com/ginfer/ginfer/cache"
	"github.com/ginfer/ginfer/observe"
	"github.com/ginfer/ginfer/proxy"
	"github.com/ginfer/ginfer/ratelimit"
	"github.com/ginfer/ginfer/routing"
	"github.com/ginfer/ginfer/routing/rollout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reader is an exported function that reads values of a request.
type reader struct {
	// within calls f with the context of a request that has the values.
	within func(t *testing.T, f func(context.Context))
	// read returns what the function finds.
	read func(context.Context) any
}

func identity(t *testing.T, f func(context.Context)) {
	t.Helper()
	f(auth.NewContext(t.Context(), &auth.Identity{Issuer: "i", Subject: "s", Tags: []string{"beta"}, Models: []string{"m"}}))
}

// through calls f in a handler behind others.
func through(t *testing.T, f func(context.Context), before ...gin.HandlerFunc) {
	t.Helper()
	called := false
	serve(append(before, func(c *gin.Context) {
		called = true
		f(c.Request.Context())
	})...)
	require.True(t, called)
}

// serve sends a request to the handlers.
func serve(handlers ...gin.HandlerFunc) {
	r := gin.New()
	r.POST("/v1/chat/completions", handlers...)
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"m","temperature":0,"messages":[]}`))
	req.Header.Set("Content-Type", "application/json")
	r.ServeHTTP(httptest.NewRecorder(), req)
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// upstream calls f in a RoundTripper below a proxy and a router.
func upstream(t *testing.T, f func(context.Context)) {
	t.Helper()
	table, err := routing.ParseTable([]byte(`{"routes": [{"model": "m", "version": "v"}]}`))
	require.NoError(t, err)
	router, err := routing.New(routing.Config{Table: table, Upstreams: map[string]http.RoundTripper{"v": tripper(func(r *http.Request) (*http.Response, error) {
		f(r.Context())
		return httptest.NewRecorder().Result(), nil
	})}})
	require.NoError(t, err)
	p, err := proxy.New(proxy.Config{Transport: router.Transport()})
	require.NoError(t, err)
	serve(router.Middleware(), p.Handler())
}

func readers() map[string]reader {
	return map[string]reader{
		"auth.FromContext": {identity, func(ctx context.Context) any { id, _ := auth.FromContext(ctx); return id.Subject }},
		"auth.SubjectOf":   {identity, func(ctx context.Context) any { s, _ := auth.SubjectOf(ctx); return s }},
		"auth.TagsOf":      {identity, func(ctx context.Context) any { return auth.TagsOf(ctx) }},
		"auth.MayUse":      {identity, func(ctx context.Context) any { return auth.MayUse(ctx, "m") }},
		"auth.NewContext": {identity, func(ctx context.Context) any {
			id, _ := auth.FromContext(auth.NewContext(ctx, &auth.Identity{Subject: "other"}))
			return id.Subject
		}},
		"breaker.Reason": {func(t *testing.T, f func(context.Context)) {
			t.Helper()
			g, err := breaker.New(breaker.Config{})
			require.NoError(t, err)
			serve(g.Middleware(breaker.MiddlewareConfig{Fallback: func(c *gin.Context) { f(c.Request.Context()) }}),
				func(c *gin.Context) { c.Status(http.StatusInternalServerError) })
		}, func(ctx context.Context) any { return breaker.Reason(ctx) }},
		"cache.FromContext": {func(t *testing.T, f func(context.Context)) {
			t.Helper()
			responses, err := cache.New(cache.Config{Scope: func(*gin.Context) (string, error) { return "s", nil }})
			require.NoError(t, err)
			through(t, f, responses.Middleware())
		}, func(ctx context.Context) any { _, ok := cache.FromContext(ctx); return ok }},
		"observe.RequestID": {func(t *testing.T, f func(context.Context)) {
			t.Helper()
			access, err := observe.NewAccessLog(observe.AccessLogConfig{Sample: -1})
			require.NoError(t, err)
			through(t, f, access.Middleware())
		}, func(ctx context.Context) any { return observe.RequestID(ctx) }},
		"proxy.Report": {upstream, func(ctx context.Context) any {
			return proxy.Report(ctx, proxy.Verdict{Outcome: proxy.Failure})
		}},
		"routing.TargetFrom": {upstream, func(ctx context.Context) any { target, _ := routing.TargetFrom(ctx); return target.Version }},
		"routing.FromContext": {func(t *testing.T, f func(context.Context)) {
			t.Helper()
			table, err := routing.ParseTable([]byte(`{"routes": [{"model": "m", "version": "v"}]}`))
			require.NoError(t, err)
			router, err := routing.New(routing.Config{Table: table, Upstreams: map[string]http.RoundTripper{"v": http.DefaultTransport}})
			require.NoError(t, err)
			through(t, f, router.Middleware())
		}, func(ctx context.Context) any { d, _ := routing.FromContext(ctx); return d.Version }},
		"rollout.Sample.NewContext": {identity, func(ctx context.Context) any {
			return auth.TagsOf(new(rollout.Sample).NewContext(ctx))
		}},
		"rollout.Judge": {func(t *testing.T, f func(context.Context)) {
			t.Helper()
			r, err := rollout.New(rollout.Config{Model: "m", Stable: "a", Canary: "b"})
			require.NoError(t, err)
			f(r.Step().Sample(1, true).NewContext(t.Context()))
		}, func(ctx context.Context) any { return rollout.Judge(ctx, true) }},
	}
}

// passing are the exported functions that take a context and read no value of this module from
// it: they watch its end, and pass it to a store, a client or a hook. [TestOneReader] shows
// that they read none. The functions of the last three lines have a test in their package.
const passing = `
auth.APIKeys.Run auth.KeySet.Keys auth.KeySet.Run auth.Secrets.Keys balance.ByContext balance.Pool.Run
cache.Cache.Drain cache.Cache.Purge cache.Cache.Run cache.Memory.Get cache.Memory.Set cache.Memory.Delete
cache.Tiered.Get cache.Tiered.Set cache.Tiered.Delete cache.Tiered.Drain cache.Tiered.Claim cache.Tiered.Release
embedded.Server.Connect embedded.Server.Run observe.LogWriter.Run jobs.Watch.Event otelsetup.Start otelsetup.Telemetry.Shutdown
proxy.Proxy.Drain queue.Queue.Emit queue.Queue.Run queue.Queue.Status queue.URL
ratelimit.Memory.Settle ratelimit.Memory.Take ratelimit.Shared.Settle ratelimit.Shared.Take
redisstore.Store.Claim redisstore.Store.Delete redisstore.Store.Get redisstore.Store.Load redisstore.Store.Purge
redisstore.Store.Probe redisstore.Store.Release redisstore.Store.Save redisstore.Store.Set redisstore.Store.Settle redisstore.Store.Since
redisstore.Store.Take redisstore.Store.Watch rollout.Rollout.Pause rollout.Rollout.Promote rollout.Rollout.Restart
rollout.Rollout.Restore rollout.Rollout.Resume rollout.Rollout.RollBack rollout.Rollout.Run routing.Router.Drain
stream.Streams.Drain
ratelimit.Report queue.FromContext observe.Report observe.ReportToken events.Hooks.Address events.Hooks.Auth events.Hooks.Balance
events.Hooks.Breaker events.Hooks.Cache events.Hooks.Keys events.Hooks.Limit events.Hooks.Proxy events.Hooks.Rollout
events.Hooks.Routing events.Hooks.Stream events.Hooks.Token events.Hooks.Usage
`

// Every exported function with a context works with a *gin.Context, with a context derived
// from one, and with the request's own.
func TestExported(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for name := range strings.FieldsSeq(passing) {
		known[name] = true
	}
	for name := range readers() {
		known[name] = true
	}
	exported := map[string]bool{}
	eachFile(t, func(file string, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && isPublic(file) && takesContext(fn) {
				exported[f.Name.Name+"."+name(fn)] = true
			}
		}
	})
	assert.Greater(t, len(exported), 60)
	for name := range exported {
		assert.True(t, known[name], "%s takes a context: add it to readers, or to passing if it reads no value", name)
	}
	for name := range known {
		assert.True(t, exported[name], "%s does not exist", name)
	}
}

func TestReaders(t *testing.T) {
	t.Parallel()
	for name, r := range readers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for form := range forms(t.Context()) {
				called := false
				r.within(t, func(ctx context.Context) {
					called = true
					assert.NotZero(t, r.read(forms(ctx)[form]), form) //nolint:contextcheck // they are derived from ctx
				})
				require.True(t, called)
			}
		})
	}
}

// Values are read from contexts in one place, which knows Gin's contexts.
func TestOneReader(t *testing.T) {
	t.Parallel()
	eachFile(t, func(file string, f *ast.File) {
		if strings.HasPrefix(file, "internal/ginctx/") {
			return
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "Value" { // of a context
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 1 {
					return true
				}
				s, ok := call.Fun.(*ast.SelectorExpr)
				assert.False(t, ok && s.Sel.Name == "Value", "%s reads a context: use ginctx.Value", file)
				return true
			})
		}
	})
}

// eachFile calls f with every file of the library.
func eachFile(t *testing.T, f func(file string, parsed *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	set := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, file)
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (rel == "examples" || rel == "internal/e2e" || rel == "internal/testkit" || rel == "benchmarks" || strings.HasPrefix(rel, ".") && rel != "."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err == nil {
			f(rel, parsed)
		}
		return err
	}))
}

func isPublic(file string) bool {
	return !strings.Contains("/"+path.Dir(file)+"/", "/internal/") && !strings.HasSuffix(path.Dir(file), "storetest")
}

// takesContext reports whether an exported function, or one that it returns, takes a context.
func takesContext(fn *ast.FuncDecl) bool {
	if !fn.Name.IsExported() || fn.Recv != nil && !ast.IsExported(receiver(fn)) {
		return false
	}
	found := false
	ast.Inspect(fn.Type, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if ok {
			x, isName := s.X.(*ast.Ident)
			found = found || isName && x.Name == "context" && s.Sel.Name == "Context"
		}
		return true
	})
	return found
}

func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	return t.(*ast.Ident).Name
}

func name(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	return receiver(fn) + "." + fn.Name.Name
}

// Report of ratelimit settles the tokens of the request.
func TestReport(t *testing.T) {
	t.Parallel()
	for form := range forms(t.Context()) {
		var spent int64
		tokens, err := ratelimit.NewTokens(ratelimit.TokensConfig{
			Limits: []ratelimit.Limit{{Name: "l", Key: ratelimit.Global, Rate: 1, Burst: 1000}},
			OnEvent: func(_ context.Context, e ratelimit.Event) {
				if e.Kind == ratelimit.Settled {
					spent = e.Tokens
				}
			},
		})
		require.NoError(t, err)
		through(t, func(ctx context.Context) {
			ratelimit.Report(forms(ctx)[form], 123, 456) //nolint:contextcheck // as above
		}, tokens.Middleware())
		assert.EqualValues(t, 579, spent, form)
	}
}
