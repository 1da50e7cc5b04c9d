package retryafter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/retryafter"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "2147483647": 2147483647 * time.Second,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Thu, 01 Jan 2026 00:00:00 GMT": 0,
		"": -1, "-1": -1, "1.5": -1, "soon": -1, "99999999999999999999": -1,
		"9000000000000": 2147483647 * time.Second,
	} {
		got, ok := retryafter.Parse(http.Header{"Retry-After": {v}}, now)
		assert.Equal(t, want >= 0, ok, v)
		assert.Equal(t, max(want, 0), got, v)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("7")
	f.Add("Fri, 02 Jan 2026 03:04:35 GMT")
	f.Fuzz(func(t *testing.T, v string) {
		if d, ok := retryafter.Parse(http.Header{"Retry-After": {v}}, time.Now()); d < 0 || !ok && d != 0 {
			t.Fatalf("%q: %v, %v", v, d, ok)
		}
	})
}
