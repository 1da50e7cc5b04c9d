package e2e_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostileModelName is a model's name that attempts script injection into the page.
const hostileModelName = `<img src=x onerror='window.hacked=1'>`

// pageGateway is a gateway with everything that its page can show.
func pageGateway(t *testing.T, m *tokenModel) *process {
	t.Helper()
	t.Setenv("PAGE_SECRET", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	return start(t, fmt.Sprintf(`{%s, "rollout_dir": %q, "queue": {"dir": %q, "workers": 4, "webhooks": {"secrets": ["${PAGE_SECRET}"]}},
		"upstreams": {"v1.2": {"endpoints": [{"url": %q}, {"url": %q}]}, "v1.3": {"endpoints": [{"url": %q}]}},
		"groups": [{"path": "/v1", "queue": true, "proxy": {"retry_posts": true}, "routing": {
			"sticky_header": "X-User-Id",
			"rollouts": [{"model": "demo", "stable": "v1.2", "canary": "v1.3", "steps": [20, 50, 100], "dwell": "1h"}],
			"table": {"routes": [
				{"model": "demo", "version": "v1.2", "weight": 80},
				{"model": "demo", "version": "v1.3", "weight": 20, "fallback": ["v1.2"]},
				{"version": "v1.2"}]}}}]}`, ports, t.TempDir(), t.TempDir(), m.serve(t), m.serve(t), m.serve(t)))
}

// sendTraffic sends streams of many users until the test ends.
func sendTraffic(t *testing.T, p *process) {
	t.Helper()
	client := newClient(t, 8)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				sendOne(p, client, fmt.Sprint("user", w, i), question(i))
				select {
				case <-done:
					return
				case <-time.After(time.Duration((60 + 40*math.Sin(float64(i)/30)) * float64(time.Millisecond))):
				}
			}
		})
	}
	t.Cleanup(func() { close(done); wg.Wait() })
}

func sendOne(p *process, client *http.Client, user, body string) {
	res, err := p.chat(client, user, body)
	if err != nil {
		return // the gateway ended
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
}

// question is a request to the model: some fail, and some have the hostile model name.
func question(i int) string {
	body := `{"model":"demo","stream":true,"messages":[{"role":"user","content":"Tell me."}]}`
	switch {
	case i%40 == 39:
		return strings.Replace(body, "Tell me.", "fail", 1)
	case i%12 == 11 && (i < 60 || !shooting()): // not in the screenshots
		return strings.Replace(body, "demo", hostileModelName, 1)
	}
	return body
}

// The page shows live traffic, its buttons work, and no client input is injected into it.
func TestBrowserPage(t *testing.T) {
	b := newBrowser(t)
	m := &tokenModel{late: make(chan struct{})}
	release := sync.OnceFunc(func() { close(m.late) })
	t.Cleanup(release)
	p := pageGateway(t, m)
	sendTraffic(t, p)

	b.do(chromedp.Navigate(p.private + "/"))
	assert.Equal(t, p.private+"/admin/", b.text(`location.href`))
	b.until(`feed.dataset.state === "live"`)
	b.until(`parseFloat(document.querySelector("#now-requests").textContent) > 0`)
	b.until(`parseFloat(document.querySelector("#now-p95").textContent) > 0`)
	b.until(`parseFloat(document.querySelector("#now-output").textContent) > 0`)
	assert.Equal(t, "3", b.text(`[...document.querySelectorAll(".chart canvas")].filter((c) => c.width > 100 && c.height > 50).length`))
	b.until(`["v1.2", "v1.3"].every((v) => versions.innerText.includes(v))`)
	b.until(`rollouts.innerText.includes("v1.2 → v1.3") && rollouts.querySelectorAll("tbody tr").length >= 2`)

	b.until(`[...requests.querySelectorAll("td")].some((td) => td.textContent === ` + quoted(hostileModelName) + `)`)
	assert.Equal(t, "undefined 0", b.text(`typeof window.hacked + " " + document.querySelectorAll("img").length`))

	batch := makeBatch(t, p)
	row := `document.querySelector('tr[data-key="of ` + batch.ID + `"]')`
	b.until(row + `?.querySelector("[role=progressbar]").getAttribute("aria-valuenow") === "30"`)
	b.until(`dead.querySelectorAll("button").length === 2`)
	b.shoot("batch.png", "#batches", "#dead")
	before := b.text(`dead.querySelector("tbody tr").dataset.key`)
	b.click(`#dead button`) // replay: it fails again, with a new dead letter
	b.until(`dead.querySelectorAll("button").length === 2 && dead.querySelector("tbody tr").dataset.key !== ` + quoted(before))
	release()
	b.until(row + `.innerText.includes("completed")`)
	assert.Equal(t, "40", b.text(row+`.querySelector("[role=progressbar]").getAttribute("aria-valuenow")`))

	b.press("#rollouts button[data-action=rollback]")
	b.until(`rollouts.innerText.includes("rolled back by hand")`)
	b.press("#rollouts button[data-action=restart]")
	b.until(`rollouts.innerText.includes("running")`)

	b.press("#upstreams tbody tr:nth-child(2) button[data-state=open]")
	b.until(`upstreams.querySelector("tbody tr:nth-child(2) .circuit").innerText === "○ open by hand"`)
	_, circuits := p.admin(http.MethodGet, "/admin/breakers", "")
	assert.Contains(t, circuits, `"state":"open","forced":true`)
	b.picture()
	b.click("#upstreams tbody tr:nth-child(2) button[data-state=auto]")
	b.until(`!upstreams.querySelector("tbody tr:nth-child(2) .circuit").innerText.includes("by hand")`)
	b.press("#dead button:last-child")
	b.until(`dead.querySelectorAll("button").length === 0`)

	good, err := os.ReadFile(p.config)
	require.NoError(t, err)
	p.write(`{"groups": [{"path": "x"}]}`)
	b.until(`!refused.hidden && refused.innerText.includes("groups[0].path")`)
	p.write(string(good))
	b.until(`refused.hidden`)
	assert.Empty(t, b.faults(), "errors in the console")

	p.signal(syscall.SIGTERM)
	b.until(`feed.dataset.state !== "live"`)
}

// makeBatch submits a batch of 40 lines, one bad and ten late, and a job with a forbidden
// webhook: a dead letter.
func makeBatch(t *testing.T, p *process) *openai.Batch {
	t.Helper()
	prompts := make([]string, 40)
	for i := range prompts {
		prompts[i] = fmt.Sprint("line ", i)
		if i >= 30 {
			prompts[i] = "late"
		}
	}
	prompts[7] = "bad"
	client := newClient(t, 4)
	sdk := openai.NewClient(option.WithBaseURL(p.public+"/v1"), option.WithAPIKey(p.token), option.WithHTTPClient(client))
	require.Eventually(t, func() bool { // the queue's store may still be starting
		_, text := p.admin(http.MethodGet, "/admin/queue", "")
		return strings.Contains(text, `"connected":true`)
	}, patience, 50*time.Millisecond)
	batch := submit(t, &sdk, input(prompts...))

	job := `{"url": "/v1/chat/completions", "method": "POST", "body": {"model": "demo", "messages": [{"role": "user", "content": "hi"}]},
		"webhook": {"url": "https://localhost:9/hook"}}`
	code, text := p.sendWithKey(client, http.MethodPost, "/v1/jobs", p.token, job)
	require.Equal(t, http.StatusAccepted, code, text)
	return batch
}

// imagesDir has the README's screenshots.
var imagesDir = filepath.Join("..", "..", "examples", "gateway", "images")
