package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/ginfer/ginfer/internal/testkit/need"
	"github.com/stretchr/testify/require"
)

// browser is a Chromium with one page open.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // it is how chromedp knows a page

	mu  sync.Mutex
	all []string // errors and warnings of the console
}

// browserPatience bounds each wait, browserLife the whole test.
const (
	browserPatience = 15 * time.Second
	browserLife     = 90 * time.Second
)

// shooting reports whether to update the README's screenshots.
func shooting() bool { return os.Getenv("UPDATE_SCREENSHOTS") == "1" }

// newBrowser starts Chromium. Without it the test is skipped, unless
// GINFER_REQUIRE_CHROMIUM=1.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		need.Missing(t, "GINFER_REQUIRE_CHROMIUM", "chromium is not installed")
	}
	life := browserLife
	if shooting() {
		life += 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), life) // it must outlive the test's context, to close the browser
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WindowSize(1280, 1000), chromedp.WSURLReadTimeout(30*time.Second), chromedp.Flag("disable-dev-shm-usage", true))
	ctx, end := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(end)
	ctx, _ = chromedp.NewContext(ctx)
	b := &browser{t: t, ctx: ctx}
	console := chromedp.Console(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		for m, err := range console { // with violations of the content security policy
			if err != nil {
				return
			}
			if m.IsException() || m.Type == "error" || m.Type == "warning" {
				b.mu.Lock()
				b.all = append(b.all, m.String()+" "+m.URL)
				b.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		reader.Wait()
	})
	b.do(chromedp.EmulateViewport(1280, 1000))
	return b
}

func (b *browser) faults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.all...)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...), "%v", b.faults())
}

// value evaluates an expression.
func value[T any](b *browser, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	require.NoError(b.t, err, js)
	return v
}

// text evaluates an expression as a string.
func (b *browser) text(js string) string {
	b.t.Helper()
	return value[string](b, "String("+js+")")
}

// until waits for an expression to be true.
func (b *browser) until(js string) {
	b.t.Helper()
	deadline := time.Now().Add(browserPatience)
	for b.text(js) != "true" {
		if time.Now().After(deadline) {
			b.t.Fatalf("not true: %s\n%v\n%s", js, b.faults(), b.text("document.body.innerText"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// click clicks the first element that matches.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(selector, chromedp.NodeVisible))
}

// press clicks twice, as buttons of actions that are hard to undo require.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.click(selector)
	b.until(`document.querySelector(` + quoted(selector) + `).dataset.sure === "?"`)
	b.click(selector)
}

// shoot takes a screenshot of elements side by side.
func (b *browser) shoot(name string, selectors ...string) {
	b.t.Helper()
	if !shooting() {
		return
	}
	list, err := json.Marshal(selectors)
	require.NoError(b.t, err)
	box := value[page.Viewport](b, `(() => {
		const all = `+string(list)+`.map((s) => document.querySelector(s).getBoundingClientRect());
		const y = Math.min(...all.map((r) => r.top)) + scrollY - 12, bottom = Math.max(...all.map((r) => r.bottom)) + scrollY + 12;
		return {x: 0, y, width: innerWidth, height: bottom - y, scale: 1};
	})()`)
	b.save(name, box)
}

func (b *browser) save(name string, clip page.Viewport) {
	b.t.Helper()
	beyond := true
	res, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Clip: &clip, CaptureBeyondViewport: &beyond})
	require.NoError(b.t, err)
	small := shrink(b.t, res.Data)
	require.Less(b.t, len(small), 200_000, name)
	require.NoError(b.t, os.MkdirAll(imagesDir, 0o755))
	require.NoError(b.t, os.WriteFile(filepath.Join(imagesDir, name), small, 0o644))
}

// shrink reduces an image to 256 colours, a third of the bytes.
func shrink(t *testing.T, text []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(text))
	require.NoError(t, err)
	count := map[color.Color]int{}
	size := from.Bounds()
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			count[from.At(x, y)]++
		}
	}
	// The most frequent of similar colours stands for all of them, which leaves room for
	// those of thin lines.
	all := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	var palette, rest color.Palette
	seen := map[[3]uint32]bool{}
	for _, c := range all {
		r, g, b, _ := c.RGBA()
		if like := [3]uint32{r >> 12, g >> 12, b >> 12}; !seen[like] {
			seen[like] = true
			palette = append(palette, c)
		} else {
			rest = append(rest, c)
		}
	}
	palette = append(palette, rest...)
	palette = palette[:min(len(palette), 256)]
	to := image.NewPaletted(size, palette)
	draw.Draw(to, size, from, size.Min, draw.Src)
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to))
	return out.Bytes()
}

// whole is the viewport of the whole page at a width.
func (b *browser) whole(width float64) page.Viewport {
	b.t.Helper()
	return page.Viewport{Width: width, Height: value[float64](b, `document.documentElement.scrollHeight`), Scale: 1}
}

// shootAfter is the time span that the charts show in the screenshots.
var shootAfter = 3 * time.Minute

// picture takes the screenshot of the whole page after shootAfter.
func (b *browser) picture() {
	b.t.Helper()
	if !shooting() {
		return
	}
	time.Sleep(shootAfter) // the charts fill
	b.save("page.png", b.whole(1280))
	if dir := os.Getenv("UPDATE_SCREENSHOTS_MORE"); dir != "" { // for review only
		b.more(dir)
	}
}

// more takes screenshots of the dark and the narrow page.
func (b *browser) more(dir string) {
	b.t.Helper()
	keep := imagesDir
	imagesDir = dir
	defer func() { imagesDir = keep }()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	require.NoError(b.t, err)
	time.Sleep(2 * time.Second)
	b.save("dark.png", b.whole(1280))
	_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	require.NoError(b.t, err)
	b.do(chromedp.EmulateViewport(400, 900))
	time.Sleep(2 * time.Second)
	b.save("narrow.png", b.whole(400))
	b.do(chromedp.EmulateViewport(1280, 1000))
}

func quoted(s string) string {
	text, _ := json.Marshal(s) // strings can't fail
	return string(text)
}

// tokenModel streams tokens with pauses like a model. The prompts "fail", "bad" and "late"
// select a failure, a refusal and a delay.
type tokenModel struct {
	late chan struct{} // closing it releases late responses
}

func (m *tokenModel) serve(t *testing.T) string {
	t.Helper()
	s := newServer(t, m)
	return s.URL
}

func (m *tokenModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	body := string(text)
	switch {
	case strings.Contains(body, `"fail"`):
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case strings.Contains(body, `"bad"`):
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"No."}}`)
		return
	case strings.Contains(body, `"late"`):
		select {
		case <-m.late:
		case <-r.Context().Done():
			return
		}
	}
	if !strings.Contains(body, `"stream":true`) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"c","object":"chat.completion","model":"demo","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Yes."}}],"usage":{"prompt_tokens":9,"completion_tokens":24,"total_tokens":33}}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	n := 12 + len(body)%7 + int(time.Now().UnixNano()/1e6%20)
	for i := range n {
		pause := 6 * time.Millisecond
		if i == 0 {
			pause = time.Duration(25+time.Now().UnixNano()/1e3%60) * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return
		}
		_, _ = fmt.Fprintf(w, `data: {"id":"c","object":"chat.completion.chunk","model":"demo","choices":[{"index":0,"delta":{"content":"word%d "}}]}`+"\n\n", i)
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = fmt.Fprintf(w, `data: {"id":"c","object":"chat.completion.chunk","model":"demo","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":%d,"total_tokens":%d}}`+"\n\ndata: [DONE]\n\n", n, 40+n)
}
