package cooldown_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/cooldown"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(credential, model string) *http.Request {
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", http.NoBody)
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	body.Set(req, []byte(`{"model":"`+model+`"}`))
	return req
}

func TestSubjectsAreDistinguished(t *testing.T) {
	t.Parallel()
	one := cooldown.Of(request("a", "m"))
	assert.Equal(t, one, cooldown.Of(request("a", "m")))
	for _, other := range []*http.Request{request("b", "m"), request("a", "n"), request("", "m"), request("a", "")} {
		assert.NotEqual(t, one, cooldown.Of(other))
	}
	assert.Equal(t, cooldown.Subject{}, cooldown.Of(httptest.NewRequest(http.MethodGet, "/", http.NoBody)))
}

func TestCooldownEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var table cooldown.Table
		a, b := cooldown.Of(request("a", "m")), cooldown.Of(request("b", "m"))
		table.Start("e", a, 0)
		assert.True(t, table.Empty())
		table.Start("e", a, 5*time.Second)
		table.Start("e", a, time.Second)
		assert.Equal(t, 5*time.Second, table.Wait("e", a), "the longer one stands")
		assert.Zero(t, table.Wait("e", b))
		assert.Zero(t, table.Wait("f", a))
		table.Start("e", b, time.Hour)
		assert.Equal(t, time.Minute, table.Wait("e", b))
		assert.Equal(t, time.Minute, time.Until(table.Until("e")))
		assert.True(t, table.Until("f").IsZero())
		<-time.After(time.Minute)
		assert.Zero(t, table.Wait("e", a))
		assert.True(t, table.Until("e").IsZero())
		assert.True(t, table.Empty())
	})
}

func TestTableIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var table cooldown.Table
		var s cooldown.Subject
		for i := range 3000 {
			table.Start(strconv.Itoa(i), s, time.Duration(i+1)*10*time.Millisecond)
		}
		kept := 0
		for i := range 3000 {
			if table.Wait(strconv.Itoa(i), s) > 0 {
				kept++
			}
		}
		assert.Equal(t, 1024, kept)
		assert.Positive(t, table.Wait("2999", s), "the entry that ends soonest is dropped first")
		<-time.After(time.Minute)
		table.Start("x", s, time.Second)
		assert.Positive(t, table.Wait("x", s))
	})
}
