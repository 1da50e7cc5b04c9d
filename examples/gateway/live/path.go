package live

import (
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// pathParameters are what servlet containers remove before they resolve a path.
var pathParameters = regexp.MustCompile(`;[^/]*`)

// plain normalizes a path as most servers do: double slashes become one, path parameters are
// removed.
func plain(p string) string {
	if strings.Contains(p, ";") {
		p = pathParameters.ReplaceAllString(p, "")
	}
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

// fold normalizes a decoded path as any server might: it decodes it again, ignores case,
// control characters, path parameters, and the spaces and dots at the end of a segment,
// and replaces other spellings of a character. Paths with the same result may be the same file
// of some upstream.
func fold(p string) string {
	if isFolded(p) {
		return p
	}
	for range maxDecoded {
		next, err := url.PathUnescape(p)
		if err != nil || next == p {
			break
		}
		p = next
	}
	p, _, _ = strings.Cut(shortest(p), "\x00") // where strings end in C
	p = cases.Fold().String(norm.NFKC.String(p))
	p = strings.Map(func(r rune) rune {
		switch {
		case r == '\\':
			return '/'
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector):
			return -1
		}
		return r
	}, p)
	segments := strings.Split(pathParameters.ReplaceAllString(p, ""), "/")
	for i, s := range segments {
		if s = strings.TrimSpace(s); s != "." && s != ".." {
			s = strings.TrimRight(s, ". ")
		}
		segments[i] = s
	}
	return path.Clean("/" + strings.Join(segments, "/"))
}

// maxDecoded is how often a path is decoded again.
const maxDecoded = 4

// isFolded reports whether fold changes nothing, as for nearly every path.
func isFolded(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '/':
			if i > 0 && p[i-1] == '/' || i > 0 && i == len(p)-1 {
				return false
			}
		case c == '.':
			if i == 0 || p[i-1] == '/' || i == len(p)-1 || p[i+1] == '/' {
				return false
			}
		default:
			return false
		}
	}
	return strings.HasPrefix(p, "/")
}

// shortest replaces overlong encodings of ASCII characters, which some decoders accept.
func shortest(p string) string {
	if utf8.ValidString(p) {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		long := 0
		switch c := p[i]; {
		case c == 0xc0 || c == 0xc1:
			long = 1
		case c == 0xe0 && i+1 < len(p) && p[i+1] <= 0x81:
			long = 2
		case c == 0xf0 && i+1 < len(p) && p[i+1] == 0x80:
			long = 3
		}
		if long == 0 || i+long >= len(p) {
			b.WriteByte(p[i])
			continue
		}
		i += long
		b.WriteByte(p[i-1]<<6&0x40 | p[i]&0x3f)
	}
	return b.String()
}

// below returns what follows a prefix of whole segments; the prefix has no slash at its end.
func below(p, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(p, prefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// Find returns the group with the longest path that matches the normalized path; nil: none. A
// path that some upstream may take for one of another group matches none: case counts, but
// /V1/models can't reach /v1/models through a group for /.
func (a *App) Find(p string) *Group {
	group := a.longest(func(g *Group) bool {
		_, ok := below(plain(p), g.prefix)
		return ok
	})
	if group == nil {
		return nil
	}
	folded := fold(p)
	other := a.longest(func(g *Group) bool {
		_, ok := below(folded, g.folded)
		return ok
	})
	if other == nil || other.folded != group.folded {
		return nil
	}
	return group
}

// longest returns the group with the longest path of those that match.
func (a *App) longest(match func(*Group) bool) *Group {
	for _, g := range a.Groups { // the longest first
		if match(g) {
			return g
		}
	}
	return nil
}

// cutPrefix removes a group's prefix, in any of the spellings that Find accepts, and keeps the
// encoding of the rest.
func cutPrefix(u *url.URL, prefix string) {
	raw := u.EscapedPath()
	for range strings.Count(prefix, "/") {
		raw = afterSlash(trimSlashes(raw))
	}
	switch {
	case raw == "":
		raw = "/"
	case raw[0] != '/': // an encoded one
		raw = "/" + raw[len("%2F"):]
	}
	if decoded, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = decoded, raw
	}
}

func trimSlashes(raw string) string {
	for {
		switch {
		case strings.HasPrefix(raw, "/"):
			raw = raw[1:]
		case isSlash(raw):
			raw = raw[3:]
		case strings.HasPrefix(raw, ";"): // a segment of nothing but parameters
			raw = afterSlash(raw)
		default:
			return raw
		}
	}
}

// afterSlash returns raw from its first slash on.
func afterSlash(raw string) string {
	for i := range len(raw) {
		if raw[i] == '/' || isSlash(raw[i:]) {
			return raw[i:]
		}
	}
	return ""
}

// isSlash reports whether raw begins with an encoded slash.
func isSlash(raw string) bool { return len(raw) >= 3 && strings.EqualFold(raw[:3], "%2f") }
