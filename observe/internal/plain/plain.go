// Package plain makes texts that others chose fit for logs: no line can be forged with
// them, and no secret that an error quotes gets there.
package plain

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The longest texts, in bytes, that others choose.
const (
	// Word is that of a name or an id.
	Word = 128
	// Text is that of an error.
	Text = 300

	maxRegex = 4096
)

// Clean returns s without what could begin a line, move a terminal's cursor or turn
// the direction of text, and no longer than most bytes.
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

// What an error of somebody's own RoundTripper may quote: the query of a URL, a
// credential in front of its host, headers, keys.
var (
	queries     = regexp.MustCompile(`\?[^\s"'<>]*`)
	userinfos   = regexp.MustCompile(`://[^/\s@"']*@`)
	credentials = regexp.MustCompile(`(?i)\b(bearer|basic|cookie:|authorization:|(?:x-(?:goog-)?)?api-key:)\s*[^"]*`)
	keys        = regexp.MustCompile(`\b(sk|pk|rk|gk|key)[-_][\w-]{8,}`)
)

// Redact is the text of an error without secrets.
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
