package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/ginfer/ginfer/routing"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const schemaFile = "config.schema.json"

// generate makes the schema of the configuration from its Go types and their comments.
func generate(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{Anonymous: true, FieldNameTag: "json"}
	for _, typ := range []reflect.Type{reflect.TypeFor[config.Config](), reflect.TypeFor[routing.Table]()} {
		dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", typ.PkgPath()).Output()
		require.NoError(t, err)
		t.Chdir(strings.TrimSpace(string(dir)))
		require.NoError(t, r.AddGoComments(typ.PkgPath(), "."))
	}
	r.Mapper = func(typ reflect.Type) *jsonschema.Schema {
		if typ != reflect.TypeFor[json.RawMessage]() {
			return texts(typ)
		}
		inner := *r
		inner.Mapper, inner.DoNotReference = texts, true
		table := inner.Reflect(routing.Table{})
		table.Version = ""
		return table
	}
	root := r.Reflect(&config.Config{})
	for _, a := range config.Aliases() {
		if !a.Value {
			deprecate(t, root, a)
		}
	}
	schema, err := json.MarshalIndent(root, "", "  ")
	require.NoError(t, err)
	return append(schema, '\n')
}

// deprecate adds the old name of a member.
func deprecate(t *testing.T, root *jsonschema.Schema, a config.Alias) {
	t.Helper()
	typ := reflect.TypeFor[config.Config]()
	for name := range strings.SplitSeq(a.At, ".") {
		if name != "*" && name != "[]" {
			i := slices.IndexFunc(reflect.VisibleFields(typ), func(f reflect.StructField) bool {
				tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				return tag == name
			})
			require.GreaterOrEqual(t, i, 0, a.At)
			typ = typ.Field(i).Type
			if typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			continue
		}
		typ = typ.Elem()
	}
	properties := root.Definitions[typ.Name()].Properties
	today, ok := properties.Get(a.New)
	require.True(t, ok, a.New)
	old := *today
	old.Description, old.Deprecated = "Deprecated: "+a.New+".", true
	properties.Set(a.Old, &old)
}

// texts are the types that are written as text.
func texts(typ reflect.Type) *jsonschema.Schema {
	const some = `([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|0`
	switch typ {
	case reflect.TypeFor[config.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: "^(off|" + some + ")$"}
	case reflect.TypeFor[config.Rate]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)?/(s|m|h)$`}
	case reflect.TypeFor[routing.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: "^(" + some + ")$"}
	}
	return nil
}

func TestSchema(t *testing.T) {
	file, err := filepath.Abs(schemaFile)
	require.NoError(t, err)
	want := generate(t)
	if os.Getenv("UPDATE_SCHEMA") != "" {
		require.NoError(t, os.WriteFile(file, want, 0o600))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	builtin, err := config.Read("")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run: make schema")

	compiler := validator.NewCompiler()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(got))
	require.NoError(t, err)
	require.NoError(t, compiler.AddResource(schemaFile, doc))
	schema, err := compiler.Compile(schemaFile)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		text string
		good bool
	}{
		"built in":      {string(builtin.Text), true},
		"plain proxy":   {gatewaytest.WithGroup(""), true},
		"old name":      {gatewaytest.WithGroup(`, "proxy": {"tries": 1}`), true},
		"unknown field": {gatewaytest.WithGroup(`, "pth": 1`), false},
		"bad duration":  {gatewaytest.WithGroup(`, "proxy": {"idle": "soon"}`), false},
		"good duration": {gatewaytest.WithGroup(`, "proxy": {"idle": "1m30s", "total": "off"}`), true},
		"rate":          {gatewaytest.WithGroup("", `"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "0.5/m"}}`), true},
		"bad rate":      {gatewaytest.WithGroup("", `"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "5"}}`), false},
		"no groups":     {`{}`, false},
		"table's field": {gatewaytest.WithTable(`{"routes": [{"version": "a", "wieght": 1}]}`), false},
		"table":         {gatewaytest.WithTable(`{"routes": [{"version": "a", "weight": 1}]}`), true},
	} {
		v, err := validator.UnmarshalJSON(bytes.NewReader([]byte(tt.text)))
		require.NoError(t, err)
		assert.Equal(t, tt.good, schema.Validate(v) == nil, "%s: %v", name, schema.Validate(v))
	}
}
