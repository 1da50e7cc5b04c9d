package directive_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ginfer/ginfer/cache/internal/directive"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// with is an empty Control, changed.
func with(change func(*directive.Control)) directive.Control {
	c := directive.Empty()
	if change != nil {
		change(&c)
	}
	return c
}

func TestParse(t *testing.T) {
	t.Parallel()
	type control = directive.Control
	for in, want := range map[string]func(*control){
		"":                                   nil,
		" , ,":                               nil,
		"unknown, also=\"a,b\", x":           nil,
		"no-store":                           func(c *control) { c.NoStore = true },
		"No-Cache, ONLY-IF-CACHED":           func(c *control) { c.NoCache, c.OnlyIfCached = true, true },
		"no-cache=\"set-cookie, x\", public": func(c *control) { c.NoCache, c.Public = true, true },
		"private=\"a\\\"b,public\"":          func(c *control) { c.Private = true },
		"must-revalidate":                    func(c *control) { c.MustRevalidate = true },
		"proxy-revalidate,must-understand":   func(c *control) { c.MustRevalidate, c.MustUnderstand = true, true },
		"max-age=60":                         func(c *control) { c.MaxAge = time.Minute },
		"max-age=\"60\"":                     func(c *control) { c.MaxAge = time.Minute },
		"max-age = 60 ,s-maxage=0":           func(c *control) { c.MaxAge, c.SMaxAge = time.Minute, 0 },
		"max-age=60, max-age=1":              func(c *control) { c.MaxAge = time.Minute },
		"max-age=x":                          func(c *control) { c.MaxAge = 0 },
		"max-age=-1":                         func(c *control) { c.MaxAge = 0 },
		"max-age=1.5":                        func(c *control) { c.MaxAge = 0 },
		"max-age":                            func(c *control) { c.MaxAge = 0 },
		"max-age=99999999999999999999":       func(c *control) { c.MaxAge = directive.Max },
		"max-age=9999999999":                 func(c *control) { c.MaxAge = directive.Max },
		"max-stale":                          func(c *control) { c.MaxStale = directive.Max },
		"max-stale=5, min-fresh=6":           func(c *control) { c.MaxStale, c.MinFresh = 5*time.Second, 6*time.Second },
		"stale-while-revalidate=7,stale-if-error=8": func(c *control) {
			c.StaleWhileRevalidate, c.StaleIfError = 7*time.Second, 8*time.Second
		},
		"max-age=\"unfinished":                  func(c *control) { c.MaxAge = 0 },
		"x=\"max-age=1, no-store\"; max-age=60": nil,
	} {
		assert.Equal(t, with(want), directive.Parse([]string{in}), "%q", in)
	}
	assert.Equal(t, with(func(c *control) { c.MaxAge, c.Public = time.Second, true }), directive.Parse([]string{"max-age=1", "public, max-age=2"}))
	assert.Equal(t, directive.Empty(), directive.Parse(nil))
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	assert.Equal(t, directive.None, directive.Seconds(nil))
	assert.Equal(t, 3*time.Second, directive.Seconds([]string{" 3 , 4", "5"}))
	assert.Equal(t, time.Duration(0), directive.Seconds([]string{"yesterday"}))
}

func TestNames(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"Accept-Encoding", "X-A", "*"}, directive.Names([]string{" accept-encoding ,,x-a", "*"}))
	assert.Empty(t, directive.Names(nil))
}

func FuzzParse(f *testing.F) {
	f.Add("max-age=60, private=\"a\\\"b\", no-store")
	f.Add("s-maxage=\"1\" , max-stale,=,\"")
	f.Fuzz(func(t *testing.T, in string) {
		c := directive.Parse([]string{in})
		for _, d := range []time.Duration{c.MaxAge, c.SMaxAge, c.MinFresh, c.MaxStale, c.StaleIfError, c.StaleWhileRevalidate} {
			require.True(t, d == directive.None || d >= 0 && d <= directive.Max)
		}
		if !strings.Contains(in, "\"") { // then a list of lists is one list
			require.Equal(t, c, directive.Parse(strings.Split(in, ",")))
		}
	})
}
