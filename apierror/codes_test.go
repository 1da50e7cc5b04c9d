package apierror_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every code that the module's packages respond with is in the table of the package
// comment, and the table has no other.
func TestCodesAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(doc), "# Codes")
	require.True(t, ok)
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^//\t([a-z_]+) +(?:[0-9]{3}|batch) `).FindAllStringSubmatch(table, -1) {
		assert.False(t, documented[row[1]], "%s is listed twice", row[1])
		documented[row[1]] = true
	}
	used := usedCodes(t)
	require.Greater(t, len(used), 50, "the source was read")
	for code, where := range used {
		assert.True(t, documented[code], "%s of %s is missing", code, where)
	}
	for code := range documented {
		assert.Contains(t, used, code, "no package responds with it")
	}
}

// usedCodes returns the codes in the source of the library, with a file of each.
func usedCodes(t *testing.T) map[string]string {
	t.Helper()
	used := map[string]string{}
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return err
		case slices.Contains([]string{"../internal/e2e", "../internal/testkit", "../examples", "../benchmarks"}, path):
			return filepath.SkipDir
		}
		names, err := filepath.Glob(path + "/*.go")
		p := codes{used: used, makers: map[string]int{}, fields: map[string]int{}}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			p.declare(f)
			p.funcs = append(p.funcs, funcsOf(f)...)
		}
		p.dir = path
		p.collect()
		return err
	}))
	return used
}

func funcsOf(f *ast.File) (funcs []*ast.FuncDecl) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			funcs = append(funcs, fn)
		}
	}
	return funcs
}

// codes collects the codes of a package.
type codes struct {
	dir    string
	used   map[string]string
	funcs  []*ast.FuncDecl
	fields map[string]int // of structs with a field Code, its position
	makers map[string]int // of functions with a code as a parameter, its position
}

// declare finds the structs with a field Code.
func (p *codes) declare(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				if at := position(s.Fields, "Code"); at >= 0 {
					p.fields[spec.Name.Name] = at
				}
			}
		}
		return true
	})
}

// position returns the position of a name in a list of fields or parameters, or -1.
func position(list *ast.FieldList, name string) int {
	at := 0
	for _, field := range list.List {
		for _, n := range field.Names {
			if n.Name == name {
				return at
			}
			at++
		}
	}
	return -1
}

// collect walks the functions twice: the first walk finds the makers.
func (p *codes) collect() {
	for range 2 {
		for _, fn := range p.funcs {
			ast.Inspect(fn, func(n ast.Node) bool {
				for _, x := range p.codesIn(n) {
					p.add(fn, x)
				}
				return true
			})
		}
	}
}

// codesIn returns the expressions of codes in a node: of "Code: x" or a plain x in a
// literal, of "e.Code = x", and of the call of a maker.
func (p *codes) codesIn(n ast.Node) (found []ast.Expr) {
	switch n := n.(type) {
	case *ast.CompositeLit:
		name, _ := n.Type.(*ast.Ident)
		for i, e := range n.Elts {
			kv, keyed := e.(*ast.KeyValueExpr)
			if key, ok := keyOf(kv); ok && key == "Code" {
				found = append(found, kv.Value)
			} else if at, ok := p.fields[nameOf(name)]; ok && !keyed && i == at {
				found = append(found, e)
			}
		}
	case *ast.AssignStmt:
		for i, to := range n.Lhs {
			if s, ok := to.(*ast.SelectorExpr); ok && s.Sel.Name == "Code" && len(n.Lhs) == len(n.Rhs) {
				found = append(found, n.Rhs[i])
			}
		}
	case *ast.CallExpr:
		name, _ := n.Fun.(*ast.Ident)
		if at, ok := p.makers[nameOf(name)]; ok {
			found = append(found, n.Args[at])
		}
	}
	return found
}

func keyOf(kv *ast.KeyValueExpr) (string, bool) {
	if kv == nil {
		return "", false
	}
	key, ok := kv.Key.(*ast.Ident)
	return nameOf(key), ok
}

func nameOf(x *ast.Ident) string {
	if x == nil {
		return ""
	}
	return x.Name
}

// add adds a literal, or what the function assigns to a variable. A parameter makes the
// function a maker.
func (p *codes) add(fn *ast.FuncDecl, x ast.Expr) {
	if lit, ok := x.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		p.used[strings.Trim(lit.Value, `"`)] = p.dir
	}
	v, ok := x.(*ast.Ident)
	if !ok {
		return
	}
	if at := position(fn.Type.Params, v.Name); at >= 0 {
		p.makers[fn.Name.Name] = at
		return
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
			for i, to := range a.Lhs {
				if name, ok := to.(*ast.Ident); ok && name.Name == v.Name && a.Rhs[i] != x {
					if lit, ok := a.Rhs[i].(*ast.BasicLit); ok {
						p.used[strings.Trim(lit.Value, `"`)] = p.dir
					}
				}
			}
		}
		return true
	})
}
