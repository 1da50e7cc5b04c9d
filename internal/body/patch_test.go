package body_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outbound returns a request with a held body.
func outbound(s string) *http.Request {
	req := httptest.NewRequest(http.MethodPost, "http://x/v1/chat/completions", nil)
	req.Header.Set("Content-Type", "application/json")
	body.Set(req, []byte(s))
	return req
}

func read(t *testing.T, req *http.Request) string {
	t.Helper()
	got, err := io.ReadAll(iotest.HalfReader(req.Body))
	require.NoError(t, err)
	assert.EqualValues(t, len(got), req.ContentLength)
	return string(got)
}

func TestRename(t *testing.T) {
	t.Parallel()
	form := func(model string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nname=\"model\"\r\n\r\n--x\r\n" +
			"Content-Disposition: form-data; name=\"model\"\r\n\r\n" + model + "\r\n--x--\r\n"
	}
	for name, tt := range map[string]struct{ path, kind, body, want string }{
		"named":           {body: `{"model" : "a", "n":1}`, want: `{"model" : "b\"", "n":1}`},
		"by an escape":    {body: `{"mod\u0065l":"a"}`, want: `{"mod\u0065l":"b\""}`},
		"none":            {body: `{ "n":1}`, want: `{"model":"b\"","n":1}`},
		"an empty object": {body: ` { } `, want: ` {"model":"b\""} `},
		"twice":           {body: `{"model":"a","model":"a"}`},
		"no JSON":         {body: `x`},
		"a list":          {body: `[]`},
		"in the path":     {path: "/v1beta/models/a:generateContent", body: `{"contents":[]}`},
		"a form of files": {kind: "multipart/form-data; boundary=x", body: form("a"), want: form(`b"`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := outbound("")
			req.Header.Set("Content-Digest", "x")
			if tt.path != "" {
				req.URL.Path = tt.path
			}
			if tt.kind != "" {
				req.Header.Set("Content-Type", tt.kind)
			}
			body.Set(req, []byte(tt.body))
			out, ok := body.Rename(req, `b"`)
			assert.Equal(t, tt.want != "", ok)
			if !ok {
				return
			}
			assert.Equal(t, `b"`, body.Request(out).Model)
			whole, held := body.Bytes(out)
			assert.True(t, held)
			assert.Equal(t, tt.want, string(whole))
			assert.Equal(t, tt.want, read(t, out))
			assert.Empty(t, out.Header.Get("Content-Digest"))
			again, err := out.GetBody()
			require.NoError(t, err)
			sent, err := io.ReadAll(again)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(sent))
			assert.Equal(t, tt.body, read(t, req), "the earlier request is unchanged")

			out, ok = body.Rename(out, "c")
			require.True(t, ok, "a second name replaces the first")
			assert.Equal(t, strings.NewReplacer(`"b\""`, `"c"`, `b"`, "c").Replace(tt.want), read(t, out))
		})
	}
}

// Members that several stages insert do not conflict.
func TestInsert(t *testing.T) {
	t.Parallel()
	nothing := func(*llm.Request) {}
	for sent, want := range map[string]string{
		`{}`:       `{"y":2,"x":1,"model":"m"}`,
		` { } `:    ` {"y":2,"x":1,"model":"m"} `,
		`{ "a":1}`: `{"y":2,"x":1,"model":"m","a":1}`,
	} {
		req, ok := body.Rename(outbound(sent), "l")
		require.True(t, ok)
		req, ok = body.Insert(req, []byte(`"x":1`), nothing)
		require.True(t, ok)
		req, ok = body.Insert(req, []byte(`"y":2`), nothing)
		require.True(t, ok)
		req, ok = body.Rename(req, "m")
		require.True(t, ok)
		parts, size, ok := body.Segments(req)
		assert.True(t, ok)
		assert.EqualValues(t, len(want), size)
		assert.Equal(t, want, string(bytes.Join(parts, nil)))
		assert.Equal(t, want, read(t, req))
	}
	_, ok := body.Insert(outbound(`[]`), []byte(`"x":1`), nothing)
	assert.False(t, ok)
}

// The beginning of a stream is patched as it flows.
func TestPatchedStream(t *testing.T) {
	t.Parallel()
	sent := `{"model":"m","messages":[],"x":"` + text(5000) + `"}`
	for _, length := range []int64{-1, int64(len(sent))} {
		c := post(strings.NewReader(sent), length)
		c.Request = within(c.Request, body.Config{Limit: 1000})
		_, err := body.Hold(c)
		require.NoError(t, err)
		req, ok := body.Rename(c.Request, "other")
		require.True(t, ok)
		req, ok = body.Insert(req, []byte(`"y":1`), func(*llm.Request) {})
		require.True(t, ok)
		want := strings.Replace(sent, `{"model":"m"`, `{"y":1,"model":"other"`, 1)
		got, err := io.ReadAll(iotest.HalfReader(req.Body))
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
		assert.Equal(t, "other", body.Request(req).Model)
		if length > 0 {
			assert.EqualValues(t, len(want), req.ContentLength)
		} else {
			assert.EqualValues(t, -1, req.ContentLength)
		}
		require.NoError(t, req.Body.Close())
	}
}

func TestOutbound(t *testing.T) {
	t.Parallel()
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("unread"))
	b, ok := body.Bytes(req)
	assert.False(t, ok, "not in memory")
	assert.Nil(t, b)
	rest, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	assert.Equal(t, "unread", string(rest), "Bytes reads nothing")
	assert.Nil(t, body.Request(req))

	for _, none := range []io.ReadCloser{nil, http.NoBody} {
		req.Body = none
		b, ok = body.Bytes(req)
		assert.True(t, ok)
		assert.Empty(t, b)
		again, err := body.Replay(req)()
		require.NoError(t, err)
		assert.Nil(t, again)
	}

	body.Set(req, []byte("hello"))
	assert.EqualValues(t, 5, req.ContentLength)
	assert.Equal(t, "hello", read(t, req))
	b, ok = body.Bytes(req)
	assert.True(t, ok, "also after it was read")
	assert.Equal(t, "hello", string(b))
	for range 2 { // a body for every redirect or repetition
		again, err := body.Replay(req)()
		require.NoError(t, err)
		got, err := io.ReadAll(again)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got))
	}
	body.Set(req, nil)
	assert.Zero(t, req.ContentLength)
	assert.Nil(t, req.Body)
	assert.Nil(t, req.GetBody)

	foreign, err := http.NewRequest(http.MethodPost, "http://x/v1/chat/completions", strings.NewReader(`{"model":"m","stream":true}`))
	require.NoError(t, err)
	assert.True(t, body.Request(foreign).Stream, "a copy is read")
	out, ok := body.Rename(foreign, "n")
	require.True(t, ok)
	assert.JSONEq(t, `{"model":"n","stream":true}`, read(t, out))
}

// A held body is parsed once for several callers.
func TestParsedOnce(t *testing.T) {
	t.Parallel()
	c := post(strings.NewReader(`{"model":"m"}`), 13)
	h, err := body.Hold(c)
	require.NoError(t, err)
	out := c.Request.Clone(t.Context())
	body.Send(out, h)
	assert.Same(t, h.Request(), body.Request(out))
	assert.Same(t, h.Request(), body.Request(c.Request))
}

// An outbound body is sent with its length, even an empty one.
func TestOnTheWire(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{`{"model":"m"}`, ""} {
		req := outbound(sent)
		if out, ok := body.Rename(req, "n"); ok {
			req = out
		}
		var wire bytes.Buffer
		require.NoError(t, req.Write(&wire))
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		require.NoError(t, err)
		assert.EqualValues(t, len(sent), got.ContentLength)
		b, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		assert.Equal(t, strings.ReplaceAll(sent, "m\"}", "n\"}"), string(b))
	}
}

// FuzzPatch compares patches with a decoded object.
func FuzzPatch(f *testing.F) {
	for _, s := range []string{`{}`, ` { } `, `{"model":"a"}`, `{"a":[1,{"model":2}] , "model" : null}`, `{"\u006dodel":"x","b":"\\\""}`, "[1]"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, sent, model string) {
		req, ok := body.Rename(outbound(sent), model)
		if !ok {
			return
		}
		req, ok = body.Insert(req, []byte(`"x-added":1`), func(*llm.Request) {})
		require.True(t, ok)
		whole, _ := body.Bytes(req)
		require.Equal(t, string(whole), read(t, req))
		var before, after map[string]json.RawMessage
		if json.Unmarshal([]byte(sent), &before) != nil {
			return // not all faults are found
		}
		require.NoError(t, json.Unmarshal(whole, &after), "%s", whole)
		name, err := json.Marshal(model)
		require.NoError(t, err)
		require.Equal(t, string(name), string(after["model"]))
		for k, v := range before {
			if k != "model" && k != "x-added" {
				require.Equal(t, string(v), string(after[k]))
			}
		}
	})
}

// FuzzBeginning: the beginning of any body is parsed without changing it.
func FuzzBeginning(f *testing.F) {
	for _, s := range []string{`{"model":"m","messages":[{"role":"user","content":"` + text(300) + `"}]}`, strings.Repeat(`{"a":[`, 70), `{"a":"` + strings.Repeat(`\\\u0041`, 60), text(400)} {
		f.Add(s, 200)
	}
	f.Fuzz(func(t *testing.T, sent string, limit int) {
		if limit < 1 || limit > len(sent) {
			return
		}
		c := post(strings.NewReader(sent), -1)
		c.Request = within(c.Request, body.Config{Limit: int64(limit)})
		h, err := body.Hold(c)
		require.NoError(t, err)
		model, err := h.Model()
		if err == nil && model != "" && !h.Whole {
			var v struct{ Model string }
			if json.Unmarshal([]byte(sent), &v) == nil && strings.Count(strings.ToLower(sent), `model`) == 1 {
				require.Equal(t, v.Model, model)
			}
		}
		rest, err := io.ReadAll(c.Request.Body)
		require.NoError(t, err)
		require.Equal(t, sent, string(rest))
	})
}
