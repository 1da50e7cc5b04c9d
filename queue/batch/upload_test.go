package batch_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const boundary = "b0undary"

// part is one part of a form. A file has a name.
type part struct{ field, file, content string }

// multipart is a body of parts in their order.
func multipart(parts ...part) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q", boundary, p.field)
		if p.file != "" {
			fmt.Fprintf(&b, `; filename="%s"`, p.file)
		}
		fmt.Fprintf(&b, "\r\n\r\n%s\r\n", p.content)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.String()
}

func post(a *queuetest.App, body string) (int, string) {
	w := a.Do(http.MethodPost, "/v1/files", body, "Content-Type", "multipart/form-data; boundary="+boundary)
	return w.Code, w.Body.String()
}

// A form is read in any order; one that is malformed leaves nothing behind.
func TestForm(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	file, purpose := part{"file", "in.jsonl", "x"}, part{"purpose", "", "batch"}
	anchor := part{"expires_after[anchor]", "", "created_at"}
	seconds := func(n string) part { return part{"expires_after[seconds]", "", n} }
	many := []part{file, purpose}
	for range 20 {
		many = append(many, part{"more", "", "x"})
	}
	tests := []struct {
		name   string
		body   string
		status int
		code   string
	}{
		{"file first", multipart(file, purpose), 200, ""},
		{"purpose first", multipart(purpose, file), 200, ""},
		{"an unknown field", multipart(purpose, part{"user", "", "x"}, file), 200, ""},
		{"an hour", multipart(purpose, file, anchor, seconds("3600")), 200, ""},
		{"30 days", multipart(purpose, file, anchor, seconds("2592000")), 200, ""},
		{"less than an hour", multipart(purpose, file, anchor, seconds("3599")), 400, "invalid_expires_after"},
		{"more than 30 days", multipart(purpose, file, anchor, seconds("2592001")), 400, "invalid_expires_after"},
		{"a time that overflows", multipart(purpose, file, anchor, seconds("9223372036854775807")), 400, "invalid_expires_after"},
		{"a negative time", multipart(purpose, file, anchor, seconds("-3600")), 400, "invalid_expires_after"},
		{"a fraction", multipart(purpose, file, anchor, seconds("3600.5")), 400, "invalid_expires_after"},
		{"another anchor", multipart(purpose, file, part{"expires_after[anchor]", "", "last_used"}, seconds("3600")), 400, "invalid_expires_after"},
		{"an anchor alone", multipart(purpose, file, anchor), 400, "invalid_expires_after"},
		{"no file", multipart(purpose), 400, "missing_file"},
		{"two files", multipart(purpose, file, file), 400, "invalid_form"},
		{"too many parts", multipart(many...), 400, "invalid_form"},
		{"purpose of an output", multipart(part{"purpose", "", "batch_output"}, file), 400, "invalid_purpose"},
		{"a long purpose", multipart(part{"purpose", "", strings.Repeat("batch", 100)}, file), 400, "invalid_purpose"},
		{"cut in the file", strings.TrimSuffix(multipart(purpose, file), "\r\n--"+boundary+"--\r\n"), 400, "invalid_form"},
		{"cut in a header", "--" + boundary + "\r\nContent-Dis", 400, "invalid_form"},
		{"empty", "", 400, "missing_file"},
	}
	kept := 0
	for _, tt := range tests {
		status, body := post(a, tt.body)
		assert.Equal(t, tt.status, status, "%s: %s", tt.name, body)
		if tt.code != "" {
			assert.Contains(t, body, `"`+tt.code+`"`, tt.name)
		} else {
			kept++
		}
	}
	assert.Len(t, a.Want(http.StatusOK, http.MethodGet, "/v1/files", "")["data"], kept)
}

// The name of a file comes from the client, and goes into a header of the response.
func TestFileNames(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	for name, want := range map[string]string{
		"in.jsonl":               "in.jsonl",
		"/etc/passwd":            "passwd",
		`C:\\x\\in.jsonl`:        "in.jsonl",
		"../../in.jsonl":         "in.jsonl",
		"dir/":                   "dir",
		"///":                    "file",
		"ein grüner.jsonl":       "ein grüner.jsonl",
		"\xff.jsonl":             ".jsonl",
		strings.Repeat("x", 300): strings.Repeat("x", 200),
	} {
		status, body := post(a, multipart(part{"purpose", "", "batch"}, part{"file", name, "x"}))
		require.Equal(t, http.StatusOK, status, "%q: %s", name, body)
		assert.Contains(t, body, `"filename":"`+want+`"`, "%q", name)
	}
	for _, f := range a.Want(http.StatusOK, http.MethodGet, "/v1/files", "")["data"].([]any) {
		id := queuetest.Object(f.(map[string]any)).Str("id")
		w := a.Do(http.MethodGet, "/v1/files/"+id+"/content", "")
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Regexp(t, `^attachment; filename\*?=[ -~]+$`, w.Header().Get("Content-Disposition"))
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		assert.Equal(t, "1", w.Header().Get("Content-Length"))
	}
}

// Bytes go through unchanged: an upload is no text.
func TestFileContent(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	const chunk = 128 << 10
	for _, content := range []string{"", "\x00\xff\r\n", strings.Repeat("y", chunk), strings.Repeat("z\n", chunk)} {
		id := a.Upload(content)
		file := a.Want(http.StatusOK, http.MethodGet, "/v1/files/"+id, "")
		assert.InDelta(t, len(content), file["bytes"], 0.1)
		assert.Equal(t, "file", file.Str("object"))
		assert.Equal(t, "processed", file.Str("status"))
		assert.Equal(t, content, a.Do(http.MethodGet, "/v1/files/"+id+"/content", "").Body.String())
	}
}
