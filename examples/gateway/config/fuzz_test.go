package config_test

import (
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/config"
	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/require"
)

func FuzzParse(f *testing.F) {
	builtin, err := config.Read("")
	require.NoError(f, err)
	f.Add(string(builtin.Text))
	f.Add(gatewaytest.WithGroup(""))
	f.Add(`{"groups":[{"path":"/","stages":["routing"],"routing":{"table":{"routes":[]}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		src := config.Source{Name: "x.json", Text: []byte(text)}
		cfg, err := src.Parse()
		if (cfg == nil) == (err == nil) {
			t.Fatal("neither a configuration nor an error, or both")
		}
	})
}
