package exchange_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/internal/exchange"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrefetchDecidesBeforeAnythingPasses(t *testing.T) {
	t.Parallel()
	failure := `data: {"error":{"type":"server_error"}}` + "\n\n"
	for _, tt := range []struct {
		name, contentType string
		pieces            []string
		want              string
		read              int // pieces, at most
	}{
		{"content", sse, []string{": ping\n\n", text, stop, done}, "success nobody", 2},
		{"error first", sse, []string{": ping\n\n", failure, done}, "failure endpoint repeatable", 2},
		{"empty", sse, []string{": ping\n\n", done}, "failure endpoint repeatable", 3},
		{"cut before content", sse, []string{"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n"}, "failure endpoint repeatable", 2},
		{"nothing to say", sse, []string{"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n", done}, "success nobody", 2},
		{"JSON", "application/json", []string{" ", `{"choices":[{"message":`, `{"content":"Hi"}}]}`}, "success nobody", 3},
		{"JSON error", "application/json", []string{`{"error":`, `{"type":"server_error"}}`}, "failure endpoint repeatable", 2},
		{"JSON cut", "application/json", []string{`{"choices":`}, "failure endpoint repeatable", 2},
		{"white space", "application/json", []string{"  "}, "failure endpoint repeatable", 2},
		{"nothing that can be read", "audio/mpeg", []string{"a"}, "success nobody", 1},
	} {
		for _, hold := range []time.Duration{0, time.Minute} {
			src := &source{pieces: append([]string(nil), tt.pieces...)}
			reads := 0
			src.before = func() { reads++ }
			a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: true, Hold: hold}}, chat)
			res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(200, tt.contentType, src), nil }))
			require.NoError(t, err)
			a.Prefetch()
			a.Prefetch()
			assert.Equal(t, tt.want, show(a.Verdict()), tt.name)
			assert.Equal(t, tt.read, reads, tt.name)
			all, err := io.ReadAll(iotest.OneByteReader(res.Body))
			require.NoError(t, err)
			assert.Equal(t, strings.Join(tt.pieces, ""), string(all))
			require.NoError(t, res.Body.Close())
			c.requireBalanced(t)
		}
	}
}

func TestBufferedResponsePassesAfterHold(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ contentType, life, end string }{
		"comments":    {sse, ": ping\n\n", text + stop},
		"white space": {"application/json", " ", `{"choices":[{"message":{"content":"Hi"}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := script{kind: tt.contentType}
				for range 12 {
					s.parts = append(s.parts, part{time.Second, tt.life})
				}
				s.parts = append(s.parts, part{0, tt.end})
				a, req, c := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: true, Hold: 2500 * time.Millisecond, Idle: 5 * time.Second}}, chat)
				res, err := a.Do(req, s)
				require.NoError(t, err)
				start := time.Now()
				a.Prefetch()
				assert.Equal(t, 2500*time.Millisecond, time.Since(start))
				p := make([]byte, 1000)
				n, err := res.Body.Read(p)
				require.NoError(t, err)
				assert.Equal(t, tt.life+tt.life, string(p[:n]), "at once")
				assert.Equal(t, 2500*time.Millisecond, time.Since(start))
				for i := 3; i <= 12; i++ {
					n, err = res.Body.Read(p)
					require.NoError(t, err)
					assert.Equal(t, tt.life, string(p[:n]))
					assert.Equal(t, time.Duration(i)*time.Second, time.Since(start))
				}
				assert.Equal(t, tt.end, readAll(t, res))
				require.NoError(t, res.Body.Close())
				assert.Equal(t, "success nobody", show(endOf(a).Verdict))
				c.requireBalanced(t)
			})
		})
	}
}

// endless is a body without an end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}

func (*endless) Close() error { return nil }

func TestEvidenceOfAnErrorIsBounded(t *testing.T) {
	t.Parallel()
	src := new(endless)
	a, req, c := begin(t, new(exchange.Exchange), chat)
	res, err := a.Do(req, transport(func(*http.Request) (*http.Response, error) { return response(500, "text/html", src), nil }))
	require.NoError(t, err)
	a.Prefetch()
	assert.Equal(t, 64<<10, src.read)
	_, err = io.CopyN(io.Discard, res.Body, 100<<10)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, "failure endpoint repeatable", show(endOf(a).Verdict))
	c.requireBalanced(t)

	synctest.Test(t, func(t *testing.T) {
		a, req, _ := begin(t, new(exchange.Exchange), chat)
		body := `{"error":{"code":"insufficient_quota"}}`
		res, err := a.Do(req, script{status: 503, kind: "application/json", parts: []part{{time.Millisecond, body}}, hangs: true})
		require.NoError(t, err)
		start := time.Now()
		a.Prefetch()
		assert.Equal(t, time.Second, time.Since(start))
		assert.Equal(t, exchange.Credential, a.Verdict().Blame)
		p := make([]byte, 100)
		n, err := res.Body.Read(p)
		require.NoError(t, err)
		assert.Equal(t, body, string(p[:n]))
		require.NoError(t, res.Body.Close())
	})
}

func TestPrefetchedBufferIsGivenBack(t *testing.T) { //nolint:paralleltest // it counts bytes
	const streams = 64
	p := make([]byte, 32<<10)
	allocated := func(read bool) int {
		var before, after runtime.MemStats
		var bodies [streams]io.Closer
		runtime.ReadMemStats(&before)
		for i := range bodies {
			a, req := (&exchange.Exchange{Limits: exchange.Limits{Prefetch: true}}).Begin(post(t.Context(), chat))
			res, err := a.Do(req, give(200, sse, ": ping\n\n", text, stop)) //nolint:bodyclose // there is none, or it is closed elsewhere
			require.NoError(t, err)
			a.Prefetch()
			if read { // and no more: the stream is in progress
				_, err = res.Body.Read(p)
				require.NoError(t, err)
			}
			bodies[i] = res.Body
		}
		runtime.ReadMemStats(&after)
		for _, b := range bodies {
			require.NoError(t, b.Close())
		}
		return int(after.TotalAlloc-before.TotalAlloc) / streams
	}
	assert.Greater(t, allocated(false), allocated(true)+16<<10)
}

func TestPrefetchAfterRead(t *testing.T) {
	t.Parallel()
	a, req, _ := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: true}}, chat)
	res, err := a.Do(req, give(200, sse, ":\n\n", text, stop))
	require.NoError(t, err)
	p := make([]byte, 100)
	_, err = res.Body.Read(p)
	require.NoError(t, err)
	a.Prefetch()
	n, err := res.Body.Read(p)
	require.NoError(t, err)
	assert.Equal(t, text, string(p[:n]))
	require.NoError(t, res.Body.Close())
}

func TestPrefetchWithoutBody(t *testing.T) {
	t.Parallel()
	a, req, _ := begin(t, &exchange.Exchange{Limits: exchange.Limits{Prefetch: true}}, chat)
	a.Prefetch()
	_, err := a.Do(req, fail(errLost)) //nolint:bodyclose // there is none, or it is closed elsewhere
	require.Error(t, err)
	a.Prefetch()
	assert.Equal(t, "failure endpoint repeatable", show(a.Verdict()))
}

// chunks cuts data at the sizes in by.
func chunks(data, by []byte) []string {
	var out []string
	for i := 0; len(data) > 0; i++ {
		n := len(data)
		if len(by) > 0 {
			n = min(n, 1+int(by[i%len(by)]))
		}
		out, data = append(out, string(data[:n])), data[n:]
	}
	return out
}

// readBy reads all with buffers of the sizes in by.
func readBy(r io.Reader, by []byte) (string, error) {
	var b strings.Builder
	for i := 0; ; i++ {
		n := 7
		if len(by) > 0 {
			n = 1 + int(by[i%len(by)])
		}
		p := make([]byte, n)
		n, err := r.Read(p)
		b.Write(p[:n])
		if err != nil {
			return b.String(), err
		}
	}
}

func FuzzBytesPassUnchanged(f *testing.F) {
	f.Add([]byte(whole), []byte{3, 200}, []byte{0, 50}, uint8(0))
	f.Add([]byte(":\r\n\r\n"+strings.ReplaceAll(whole, "\n", "\r\n")), []byte{0}, []byte{255}, uint8(1))
	f.Add([]byte(`{"error":{"code":"x"}}`), []byte{}, []byte{1}, uint8(2))
	f.Add([]byte(strings.Repeat(": x\n\n", 20_000)), []byte{255}, []byte{255}, uint8(1))
	f.Fuzz(func(t *testing.T, data, cuts, reads []byte, how uint8) {
		kind := [...]string{sse, "application/json", "application/x-ndjson", ""}[how%4]
		status := [...]int{200, 500}[how/4%2]
		x := &exchange.Exchange{Limits: exchange.Limits{Prefetch: true}}
		if how/8%2 == 1 {
			x.Limits.Hold = time.Minute
		}
		a, req, c := begin(t, x, chat)
		if how/16%2 == 1 {
			a.SetFilter(keep)
		}
		res, err := a.Do(req, give(status, kind, chunks(data, cuts)...))
		require.NoError(t, err)
		a.Prefetch()
		got, err := readBy(res.Body, reads)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, string(data), got)
		require.NoError(t, res.Body.Close())
		require.EqualValues(t, len(data), endOf(a).Bytes)
		c.requireBalanced(t)
	})
}
