package jobs_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/jobs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secret is a secret of Standard Webhooks.
var secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// signature computes a signature as the specification defines, without the code under
// test.
func signature(t *testing.T, secret string, h http.Header, body string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(t, err)
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, h.Get("Webhook-Id")+"."+h.Get("Webhook-Timestamp")+"."+body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// webhooks allows the addresses of a test.
func webhooks(cfg *queuetest.Setup) *jobs.Webhooks {
	cfg.Jobs.Webhooks = &jobs.Webhooks{Secrets: []string{secret}, PlainHTTP: true, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Backoff: 50 * time.Millisecond}
	return cfg.Jobs.Webhooks
}

func hooked(url string) string {
	return `{"url":"/v1/completions","body":{},"webhook":{"url":"` + url + `"}}`
}

// received is a call that the receiver got.
type received struct {
	header http.Header
	body   string
}

// receiver responds with each of the statuses in turn, then 200.
func receiver(t *testing.T, statuses ...int) (url string, calls chan received) {
	t.Helper()
	calls = make(chan received, 100)
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		calls <- received{r.Header, string(b)}
		if i := int(n.Add(1)) - 1; i < len(statuses) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(statuses[i])
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/hook", calls
}

// A call is signed, and repeated with backoff until it is delivered, with the same ID.
func TestWebhook(t *testing.T) {
	t.Parallel()
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte("another secret, for the change of it"))
	var seen queuetest.Events
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		webhooks(cfg).Secrets = []string{secret, other}
		cfg.OnEvent = seen.On
	})
	url, calls := receiver(t, 500, 302)
	id := a.Submit(hooked(url))
	var all [3]received
	var at [3]time.Time
	for i := range all {
		all[i], at[i] = <-calls, time.Now()
	}
	for _, c := range all {
		assert.Equal(t, all[0].header.Get("Webhook-Id"), c.header.Get("Webhook-Id"))
		assert.Equal(t, all[0].body, c.body)
		assert.Equal(t, signature(t, secret, c.header, c.body)+" "+signature(t, other, c.header, c.body), c.header.Get("Webhook-Signature"))
		stamp, err := strconv.ParseInt(c.header.Get("Webhook-Timestamp"), 10, 64)
		require.NoError(t, err)
		assert.InDelta(t, time.Now().Unix(), stamp, 5)
	}
	assert.GreaterOrEqual(t, at[1].Sub(at[0]), 45*time.Millisecond)
	assert.GreaterOrEqual(t, at[2].Sub(at[1]), 90*time.Millisecond)
	var body struct {
		Type string           `json:"type"`
		Data queuetest.Object `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(all[0].body), &body))
	assert.Equal(t, "job.completed", body.Type)
	assert.Equal(t, id, body.Data.Str("id"))
	a.Eventually("it is known to be delivered", func() bool { return len(seen.Of(queue.Called)) == 1 })
	assert.Len(t, seen.Of(queue.Retried), 2)
	assert.Empty(t, calls, "once is enough")
}

// A webhook reports a cancelled job, too.
func TestWebhookOfCancelled(t *testing.T) {
	t.Parallel()
	g := queuetest.NewGate()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { webhooks(cfg); cfg.Handler = g })
	url, calls := receiver(t, http.StatusGone)
	id := a.Submit(hooked(url))
	<-g.Began
	a.Want(http.StatusOK, http.MethodPost, "/v1/jobs/"+id+"/cancel", "")
	assert.Contains(t, (<-calls).body, `"job.cancelled"`)
}

func TestWebhookIsGivenUp(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) { webhooks(cfg).Attempts = 2 })
	url, calls := receiver(t, 500, 500)
	id := a.Submit(hooked(url))
	var letters []any
	a.Eventually("it is a dead letter", func() bool {
		letters, _ = a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")["data"].([]any)
		return len(letters) == 1
	})
	l := queuetest.Object(letters[0].(map[string]any))
	assert.Equal(t, "webhook", l.Str("kind"))
	assert.Equal(t, id, l.Str("of"))
	first := <-calls
	<-calls
	a.Want(http.StatusAccepted, http.MethodPost, "/admin/queue/dead/"+l.Str("id")+"/replay", "")
	assert.Equal(t, first.header.Get("Webhook-Id"), (<-calls).header.Get("Webhook-Id"), "a receiver knows it for the same")
}

// A webhook must not reach addresses that are not public.
func TestSSRF(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Jobs.Webhooks = &jobs.Webhooks{Secrets: []string{secret}}
	})
	for _, url := range []string{
		"http://example.com/", "https://127.0.0.1/", "https://10.1.2.3/", "https://192.168.1.1/", "https://172.16.0.1/",
		"https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://[fd00::1]/", "https://[fe80::1]/",
		"https://[::ffff:127.0.0.1]/", "https://0.0.0.0/", "https://100.64.0.1/", "https://[64:ff9b::7f00:1]/",
		"https://user:pass@example.com/", "file:///etc/passwd", "gopher://example.com/", "https:///x", "//example.com/", "x",
	} {
		assert.Equal(t, "invalid_webhook_url", a.Want(http.StatusBadRequest, http.MethodPost, "/v1/jobs", hooked(url)).Code(), url)
	}
}

// The address of a name is checked when it is called.
func TestSSRFByName(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }))
	defer s.Close()
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Jobs.Webhooks = &jobs.Webhooks{Secrets: []string{secret}, PlainHTTP: true, Attempts: 5}
	})
	for _, host := range []string{"localhost", "127.1", "2130706433", "0x7f.1"} {
		w := a.Do(http.MethodPost, "/v1/jobs", hooked("http://"+host+":"+port+"/"))
		if w.Code == http.StatusBadRequest {
			continue
		}
		a.Done(strings.TrimPrefix(w.Header().Get("Location"), "/v1/jobs/"))
	}
	a.Eventually("the name that leads inside is given up at once", func() bool {
		letters, _ := a.Want(http.StatusOK, http.MethodGet, "/admin/queue/dead", "")["data"].([]any)
		for _, l := range letters {
			if strings.Contains(queuetest.Object(l.(map[string]any)).Str("reason"), "not an allowed webhook address") {
				return true
			}
		}
		return false
	})
	assert.Empty(t, reached)
}

func TestWebhookHosts(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, func(cfg *queuetest.Setup) {
		cfg.Jobs.Webhooks = &jobs.Webhooks{Secrets: []string{secret}, Hosts: []string{"hooks.example.com", ".example.org"}}
		cfg.SpareCapacity = func() int { return 0 } // none is called
	})
	for url, status := range map[string]int{
		"https://hooks.example.com/":      http.StatusAccepted,
		"https://HOOKS.example.com.:8443": http.StatusAccepted,
		"https://a.b.example.org/x":       http.StatusAccepted,
		"https://example.org/":            http.StatusBadRequest,
		"https://evilexample.org/":        http.StatusBadRequest,
		"https://x.hooks.example.com/":    http.StatusBadRequest,
		"https://hooks.example.com.evil/": http.StatusBadRequest,
	} {
		assert.Equal(t, status, a.Do(http.MethodPost, "/v1/jobs", hooked(url)).Code, url)
	}
}
