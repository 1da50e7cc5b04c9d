package faulty_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/faulty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post returns the status, the body, and how the exchange or the body ended.
func post(t *testing.T, client *http.Client, url string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("hello"))
	require.NoError(t, err)
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func TestServer(t *testing.T) {
	t.Parallel()
	plan := faulty.InTurn(
		faulty.Chunked("text/plain", "a", "b"),
		faulty.Plain("503 Busy", "Retry-After: 1\r\n", "busy"),
		faulty.Response{faulty.Drip(faulty.Head("text/plain")+faulty.Chunk("c")+faulty.Chunk(""), 7, 0)},
		faulty.Broken("text/plain", []string{"d"}, faulty.Cut()),
		faulty.Response{faulty.Reset()},
		faulty.Response{faulty.Repeat("garbage\r\n", 0)},
		faulty.Broken("text/plain", []string{"e"}, faulty.Stall()),
	)
	one, two := faulty.Start(t, "one", plan), faulty.Start(t, "two", plan)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	for _, want := range []struct {
		status int
		body   string
		whole  bool
	}{{200, "ab", true}, {503, "busy", true}, {200, "c", true}, {200, "d", false}, {0, "", false}, {0, "", false}} {
		status, body, err := post(t, client, one.URL)
		assert.Equal(t, want.status, status)
		assert.Equal(t, want.body, body)
		assert.Equal(t, want.whole, err == nil, err)
	}
	res, err := client.Post(two.URL, "", http.NoBody)
	require.NoError(t, err)
	_, err = io.ReadFull(res.Body, make([]byte, 1))
	require.NoError(t, err)
	two.Close() // ends the stall
	_, err = io.ReadAll(res.Body)
	require.Error(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, []string{"one", "one", "one", "one", "one", "one", "two"}, plan.Calls())
}

func TestRefusing(t *testing.T) {
	t.Parallel()
	_, _, err := post(t, http.DefaultClient, faulty.Refusing(t))
	require.ErrorContains(t, err, "refused")
}
