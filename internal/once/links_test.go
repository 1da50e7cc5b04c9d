package once_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// anchor is GitHub's name for a heading.
func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsNumber(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}

// pages are the texts of all pages, without blocks of code.
func pages(t *testing.T, root fs.FS) map[string]string {
	t.Helper()
	texts := map[string]string{}
	require.NoError(t, fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case path.Ext(name) != ".md":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		texts[name] = fence.ReplaceAllString(string(text), "")
		return err
	}))
	return texts
}

func anchors(text string) []string {
	var found []string
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		found = append(found, anchor(h[1]))
	}
	return found
}

func TestLinksResolve(t *testing.T) {
	t.Parallel()
	root := os.DirFS(filepath.Join("..", ".."))
	texts, links := pages(t, root), 0
	for name, text := range texts {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(found[1])
			require.NoError(t, err, "%s: %s", name, found[1])
			if u.IsAbs() {
				continue
			}
			links++
			target := name
			if u.Path != "" {
				target = path.Join(path.Dir(name), u.Path)
			}
			_, err = fs.Stat(root, target)
			require.NoError(t, err, "%s: %s", name, found[1])
			if u.Fragment != "" {
				assert.Contains(t, anchors(texts[target]), u.Fragment, "%s: %s", name, found[1])
			}
		}
	}
	assert.Greater(t, links, 50)
}
