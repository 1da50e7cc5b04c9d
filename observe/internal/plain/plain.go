// Package plain makes text from others safe for logs: it can't forge a line, and errors
// keep no secrets.
package plain

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of text from others, in bytes.
const (
	// Word is the limit of a name or an ID.
	Word = 128
	// Text is the limit of an error.
	Text = 300

	maxRegex = 4096
)

// Clean returns s without characters that start a line, move a terminal's cursor or change
// the direction of text, truncated to most bytes.
func Clean(s string, most int) string {
	if len(s) <= most && isPlain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > most {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isPlain reports whether s is printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Secrets that an error of a RoundTripper may quote: the query and the credential of a URL,
// headers, keys.
var (
	queries     = regexp.MustCompile(`\?[^\s"'<>]*`)
	userinfos   = regexp.MustCompile(`://[^/\s@"']*@`)
	credentials = regexp.MustCompile(`(?i)\b(bearer|basic|cookie:|authorization:|(?:x-(?:goog-)?)?api-key:)\s*[^"]*`)
	keys        = regexp.MustCompile(`\b(sk|pk|rk|gk|key)[-_][\w-]{8,}`)
)

// Redact returns the text of an error without secrets.
func Redact(err error) string {
	if err == nil {
		return ""
	}
	s := err.Error()
	s = s[:min(len(s), maxRegex)]
	s = queries.ReplaceAllString(s, "?…")
	s = userinfos.ReplaceAllString(s, "://…@")
	s = credentials.ReplaceAllString(s, "$1 …")
	s = keys.ReplaceAllString(s, "${1}_…")
	return Clean(s, Text)
}
