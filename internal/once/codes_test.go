package once_test

import (
	"go/ast"
	"go/token"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// use is one place where the code of an error is written.
type use struct {
	code   string
	status int  // 0: not said there
	retry  bool // a Retry-After is said there
	pos    token.Pos
}

// codeArgs are what takes a code by its position: a package's functions with a parameter
// "code", and its structs with a field "Code", by name.
type codeArgs map[string]codeArg

type codeArg struct {
	code, statusArg int // indexes; -1: none
	status          int
	retry           bool
}

func codeArgsOf(files []*ast.File) codeArgs {
	args := codeArgs{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if i := index(n.Type.Params, "code"); i >= 0 && n.Body != nil {
					args[n.Name.Name] = made(n.Body, codeArg{code: i, statusArg: index(n.Type.Params, "status")})
				}
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok && index(s.Fields, "Code") >= 0 {
					args[n.Name.Name] = codeArg{code: index(s.Fields, "Code"), statusArg: -1}
				}
			}
			return true
		})
	}
	return args
}

// made adds what the error that a function makes says besides.
func made(body *ast.BlockStmt, arg codeArg) codeArg {
	ast.Inspect(body, func(n ast.Node) bool {
		if l, ok := n.(*ast.CompositeLit); ok && field(l, "Code") != nil {
			arg.status, arg.retry = statusOf(field(l, "Status")), field(l, "RetryAfter") != nil
		}
		return true
	})
	return arg
}

// index is that of a parameter or field.
func index(list *ast.FieldList, name string) int {
	i := 0
	for _, group := range list.List {
		for _, n := range group.Names {
			if n.Name == name {
				return i
			}
			i++
		}
	}
	return -1
}

func field(l *ast.CompositeLit, name string) ast.Expr {
	for _, e := range l.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if k, ok := kv.Key.(*ast.Ident); ok && k.Name == name {
				return kv.Value
			}
		}
	}
	return nil
}

// statusOf is the number of a constant of net/http, as http.StatusNotFound.
func statusOf(e ast.Expr) int {
	name := nameOf(e)
	if name == "StatusClientClosed" {
		return 499
	}
	for status := 400; status < 600; status++ {
		text := strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(status))
		if text != "" && name == "Status"+text {
			return status
		}
	}
	return 0
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil && s != ""
}

// scope resolves the names in a file: of its own package, and of those that it imports.
type scope struct {
	own      codeArgs
	imported map[string]codeArgs // by local name
}

const module = "github.com/ginfer/ginfer/"

func scopeOf(f *ast.File, pkg string, all map[string]codeArgs) scope {
	s := scope{own: all[pkg], imported: map[string]codeArgs{}}
	for _, i := range f.Imports {
		to, _ := literal(i.Path)
		local := path.Base(to)
		if i.Name != nil {
			local = i.Name.Name
		}
		if dir, ok := strings.CutPrefix(to, module); ok {
			s.imported[local] = all[dir]
		}
	}
	return s
}

func (s scope) find(e ast.Expr) (codeArg, bool) {
	args := s.own
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if imported, ok := s.imported[nameOf(sel.X)]; ok {
			args = imported
		}
	}
	arg, ok := args[nameOf(e)]
	return arg, ok
}

// codes finds every literal that becomes the code of an error.
func codes(f *ast.File, s scope) []use {
	var found []use
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if code, ok := literal(field(n, "Code")); ok {
				found = append(found, use{code, statusOf(field(n, "Status")), field(n, "RetryAfter") != nil, n.Pos()})
			} else if n.Type != nil {
				found = append(found, s.given(n.Type, n.Elts)...)
			}
		case *ast.AssignStmt:
			found = append(found, assigned(n)...)
		case *ast.CallExpr:
			found = append(found, s.given(n.Fun, n.Args)...)
		}
		return true
	})
	return found
}

// given finds the code among values in the order of their declaration.
func (s scope) given(to ast.Expr, values []ast.Expr) []use {
	arg, ok := s.find(to)
	if !ok || arg.code >= len(values) {
		return nil
	}
	u := use{status: arg.status, retry: arg.retry, pos: to.Pos()}
	if u.code, ok = literal(values[arg.code]); !ok {
		return nil
	}
	if arg.statusArg >= 0 {
		u.status = statusOf(values[arg.statusArg])
	}
	return []use{u}
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func assigned(a *ast.AssignStmt) []use {
	if len(a.Lhs) != len(a.Rhs) {
		return nil
	}
	u := use{pos: a.Pos()}
	for i, l := range a.Lhs {
		switch nameOf(l) {
		case "code", "Code":
			u.code, _ = literal(a.Rhs[i])
		case "Status":
			u.status = statusOf(a.Rhs[i])
		case "RetryAfter":
			u.retry = true
		}
	}
	if u.code == "" {
		return nil
	}
	return []use{u}
}

// documented are the rows of docs/errors.md that have a code: its statuses, and whether
// one has a Retry-After.
func documented(t *testing.T) map[string]documentation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "errors.md"))
	require.NoError(t, err)
	rows := map[string]documentation{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]*) ?\\| ([^|]*)\\| [^|]+ \\|$").FindAllStringSubmatch(string(text), -1) {
		r := rows[row[1]]
		status, _ := strconv.Atoi(row[2])
		r.statuses = append(r.statuses, status)
		r.retry = r.retry || strings.TrimSpace(row[3]) != ""
		rows[row[1]] = r
	}
	return rows
}

type documentation struct {
	statuses []int
	retry    bool
}

func TestEveryCodeIsDocumented(t *testing.T) {
	t.Parallel()
	files, parsed := parse(t, func(dir string) bool {
		return isLibrary(dir) || dir == "examples" || dir == "examples/gateway" || strings.HasPrefix(dir, "examples/gateway/")
	})
	packages := map[string][]*ast.File{}
	for name, f := range parsed {
		packages[path.Dir(name)] = append(packages[path.Dir(name)], f)
	}
	args := map[string]codeArgs{}
	for pkg, files := range packages {
		args[pkg] = codeArgsOf(files)
	}
	docs, used := documented(t), map[string]bool{}
	for name, f := range parsed {
		for _, u := range codes(f, scopeOf(f, path.Dir(name), args)) {
			used[u.code] = true
			row, where := docs[u.code], files.Position(u.pos)
			assert.NotEmpty(t, row.statuses, "docs/errors.md has no row for %s: %v", u.code, where)
			if u.status != 0 {
				assert.Contains(t, row.statuses, u.status, "%s: %v", u.code, where)
			}
			assert.True(t, row.retry || !u.retry, "docs/errors.md has no Retry-After for %s: %v", u.code, where)
		}
	}
	for code := range docs {
		assert.Contains(t, used, code, "docs/errors.md")
	}
	t.Logf("codes: %d", len(used))
}

func TestDocumentedTypes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "errors.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| ([0-9, ]+) \\| `([a-z_]+)` \\| `([a-z_]+)` \\|$").FindAllStringSubmatch(string(text), -1)
	typed := map[int]bool{}
	for _, row := range rows {
		for field := range strings.SplitSeq(row[1], ", ") {
			status, err := strconv.Atoi(field)
			require.NoError(t, err)
			assert.Equal(t, row[2], llm.OpenAIType(status), field)
			assert.Equal(t, row[3], llm.AnthropicType(status), field)
			typed[status] = true
		}
	}
	for code, row := range documented(t) {
		for _, status := range row.statuses {
			assert.True(t, status == 0 || status == 499 || typed[status], "%s: the status %d is in no row of types", code, status)
		}
	}
}
