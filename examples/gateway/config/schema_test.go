package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"testing"

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
	require.NoError(t, r.AddGoComments("github.com/ginfer/ginfer/examples/gateway", "."))
	require.NoError(t, r.AddGoComments("github.com/ginfer/ginfer", "../../routing"))
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
	schema, err := json.MarshalIndent(r.Reflect(&Config{}), "", "  ")
	require.NoError(t, err)
	return append(schema, '\n')
}

// texts are the types that are written as text.
func texts(typ reflect.Type) *jsonschema.Schema {
	const some = `([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|0`
	switch typ {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: "^(off|" + some + ")$"}
	case reflect.TypeFor[Rate]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)?/(s|m|h)$`}
	case reflect.TypeFor[routing.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: "^(" + some + ")$"}
	}
	return nil
}

func TestSchema(t *testing.T) {
	t.Parallel()
	want := generate(t)
	if os.Getenv("UPDATE_SCHEMA") != "" {
		require.NoError(t, os.WriteFile(schemaFile, want, 0o600))
	}
	got, err := os.ReadFile(schemaFile)
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
		"built in":      {string(builtin), true},
		"plain proxy":   {withGroup(""), true},
		"unknown field": {withGroup(`, "pth": 1`), false},
		"bad duration":  {withGroup(`, "proxy": {"idle": "soon"}`), false},
		"good duration": {withGroup(`, "proxy": {"idle": "1m30s", "total": "off"}`), true},
		"rate":          {withTop(`"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "0.5/m"}}`), true},
		"bad rate":      {withTop(`"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "5"}}`), false},
		"no groups":     {`{}`, false},
		"table's field": {withTable(`{"routes": [{"version": "a", "wieght": 1}]}`), false},
		"table":         {withTable(`{"routes": [{"version": "a", "weight": 1}]}`), true},
	} {
		v, err := validator.UnmarshalJSON(bytes.NewReader([]byte(tt.text)))
		require.NoError(t, err)
		assert.Equal(t, tt.good, schema.Validate(v) == nil, "%s: %v", name, schema.Validate(v))
	}
}
