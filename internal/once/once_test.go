// Package once tests rules of the whole tree: each decision about the wire formats and about
// blame is made in one place, every error code is documented, and every link resolves.
package once_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rule is code that may exist once. Exceptions are allowed with a reason.
type rule struct {
	name    string
	home    []string // packages or files it belongs to
	allowed map[string]string
	finds   func(*ast.File) []token.Pos
}

func rules() []rule {
	return []rule{
		{
			name: "SSE splitter", home: []string{"internal/llm"}, finds: split,
			allowed: map[string]string{
				"apierror/render.go":   "writes an event",
				"queue/jobs/events.go": "writes an event",
			},
		},
		{
			name: "streaming JSON scanner", home: []string{"internal/llm"}, finds: structure,
			allowed: map[string]string{
				"internal/body/prefix.go":   "completes truncated JSON for a parser",
				"cache/internal/jcs/jcs.go": "canonical JSON for keys of the cache: hashing, not reading",
			},
		},
		{name: "blame decision", home: []string{"internal/exchange/judge.go"}, finds: blames, allowed: map[string]string{
			"proxy/attempt.go": "a write to the client failed, or the status is invalid: a fact for the judge",
			"proxy/relay.go":   "a write to the client failed: a fact for the judge",
			"proxy/report.go":  "reports of the application are passed to the judge",
			"proxy/upgrade.go": "the upstream switched to a protocol that was not requested: a fact for the judge",
		}},
		{name: "body wrapper", home: []string{"internal/exchange"}, finds: bodies, allowed: map[string]string{
			"internal/h1/conn.go": "returns the connection to the pool at the end of its response",
		}},
		{name: "request parse", home: []string{"internal/body/held.go"}, finds: calls("llm", "ReadRequest"), allowed: nil},
	}
}

// split finds text that ends an event, or starts its data.
func split(f *ast.File) []token.Pos {
	return literals(f, func(s string) bool {
		return s == `"\n\n"` || strings.HasPrefix(s, `"data:`) || s == "`data:`"
	})
}

// structure finds hand-written JSON parsers: cases of both braces and both brackets in one
// function.
func structure(f *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		fn, ok := n.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			return true
		}
		seen := map[string]bool{}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.CHAR {
				seen[l.Value] = true
			}
			return true
		})
		if seen["'{'"] && seen["'['"] && (seen["'\"'"] || seen["'}'"]) {
			found = append(found, fn.Pos())
		}
		return true
	})
	return found
}

// blames finds verdicts: a Blame in a composite literal or an assignment.
func blames(f *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Blame" {
				found = append(found, n.Pos())
			}
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				if s, ok := l.(*ast.SelectorExpr); ok && s.Sel.Name == "Blame" {
					found = append(found, n.Pos())
				}
			}
		}
		return true
	})
	return found
}

// bodies finds assignments to the body of a response.
func bodies(f *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		for _, l := range a.Lhs {
			if s, ok := l.(*ast.SelectorExpr); ok && s.Sel.Name == "Body" {
				if of, ok := s.X.(*ast.Ident); ok && (of.Name == "res" || of.Name == "resp" || of.Name == "response") {
					found = append(found, a.Pos())
				}
			}
		}
		return true
	})
	return found
}

func calls(pkg, name string) func(*ast.File) []token.Pos {
	return func(f *ast.File) []token.Pos {
		var found []token.Pos
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == name {
				if of, ok := s.X.(*ast.Ident); ok && of.Name == pkg {
					found = append(found, s.Pos())
				}
			}
			return true
		})
		return found
	}
}

func literals(f *ast.File, is func(string) bool) []token.Pos {
	var found []token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && is(l.Value) {
			found = append(found, l.Pos())
		}
		return true
	})
	return found
}

// isLibrary reports whether a folder is part of the library.
func isLibrary(path string) bool {
	for _, no := range []string{"examples", "benchmarks", "internal/e2e", "internal/testkit", ".git", ".ci", "deploy", "docs"} {
		if path == no || strings.HasPrefix(path, no+"/") {
			return false
		}
	}
	return !strings.HasSuffix(path, "/storetest")
}

// library parses the files of the library.
func library(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	return parse(t, isLibrary)
}

// parse parses the Go files, without tests, in the directories for which in returns true.
func parse(t *testing.T, in func(dir string) bool) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	root := os.DirFS(filepath.Join("..", ".."))
	files, parsed := token.NewFileSet(), map[string]*ast.File{}
	require.NoError(t, fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && !in(name):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		parsed[name], err = parser.ParseFile(files, name, text, parser.SkipObjectResolution)
		return err
	}))
	return files, parsed
}

func TestEachExistsOnce(t *testing.T) {
	t.Parallel()
	files, parsed := library(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			home, used := 0, 0
			for name, f := range parsed {
				found := r.finds(f)
				switch {
				case isHome(r.home, name):
					home += len(found)
				case r.allowed[name] != "":
					assert.NotEmpty(t, found, "%s needs no exception", name)
					used++
				case len(found) > 0:
					assert.Fail(t, "another place", "%s: %v", r.name, files.Position(found[0]))
				}
			}
			assert.Positive(t, home, "it exists")
			assert.Len(t, r.allowed, used, "every exception exists")
			t.Logf("%s: 1, exceptions that are none: %d", r.name, used)
		})
	}
}

func isHome(homes []string, name string) bool {
	for _, h := range homes {
		if name == h || strings.HasPrefix(name, h+"/") {
			return true
		}
	}
	return false
}
