package plain_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ginfer/ginfer/observe/internal/plain"
	"github.com/stretchr/testify/assert"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      "",
		"gpt-4o (mini)":         "gpt-4o (mini)",
		"Größe 模型":              "Größe 模型",
		"a\nb\r\tc":             "a�b��c",
		"\x1b[31mred":           "�[31mred",
		"a\u2028b\u202ec\ufeff": "a�b�c�",
		"\xff":                  "�",
		strings.Repeat("x", 20): strings.Repeat("x", 16) + "…",
		"ääääääääää":            "ääääääää…",
	} {
		assert.Equal(t, want, plain.Clean(in, 16), "%q", in)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"dial tcp 10.0.0.1:80: connection refused":  "dial tcp 10.0.0.1:80: connection refused",
		`Post "http://h/v1?key=secret": EOF`:        `Post "http://h/v1?…": EOF`,
		"https://user:secret@host/":                 "https://…@host/",
		"bad Authorization: Bearer secret":          "bad Authorization: …",
		"Incorrect API key provided: sk-secret1234": "Incorrect API key provided: sk_…",
		strings.Repeat("x", 1000):                   strings.Repeat("x", 300) + "…",
	} {
		assert.Equal(t, want, plain.Redact(errors.New(in)))
	}
	assert.Empty(t, plain.Redact(nil))
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "a\nb", "\xff", "ä\u202e", strings.Repeat("long", 100)} {
		f.Add(s, 16)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(most%1000, 1)
		got := plain.Clean(s, most)
		assert.True(t, utf8.ValidString(got))
		assert.LessOrEqual(t, len(got), max(most, 0)+len("…"))
		for _, r := range got {
			assert.True(t, unicode.IsPrint(r) || r == utf8.RuneError, "%q", r)
		}
		assert.LessOrEqual(t, len(plain.Redact(errors.New(s))), plain.Text+len("…"))
	})
}
