package main

import (
	"bytes"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/assert"
)

// What is neither a command nor a flag is refused: nothing starts by mistake.
func TestCommands(t *testing.T) {
	t.Parallel()
	bad := gatewaytest.Write(t, "gateway.json", `{"nothing": 1}`)
	for name, tt := range map[string]struct {
		args   []string
		code   int
		stdout string // part of it
		stderr string
	}{
		"a word":                   {[]string{"foo"}, exitConfig, "", `gateway: unknown command "foo"`},
		"a word, then a flag":      {[]string{"foo", "-v"}, exitConfig, "", `gateway: unknown command "foo"`},
		"an empty word":            {[]string{""}, exitConfig, "", `gateway: unknown command ""`},
		"a word after flags":       {[]string{"-v", "foo"}, exitConfig, "", `gateway: unknown argument "foo"`},
		"a command after flags":    {[]string{"-v", "check"}, exitConfig, "", `gateway: unknown argument "check"`},
		"a word after run":         {[]string{"run", "foo"}, exitConfig, "", `gateway: unknown argument "foo"`},
		"a word after check":       {[]string{"check", "gateway.json"}, exitConfig, "", `gateway: unknown argument "gateway.json"`},
		"a word after version":     {[]string{"version", "foo"}, exitConfig, "", `gateway: unknown argument "foo"`},
		"a flag after version":     {[]string{"version", "-v"}, exitConfig, "", "gateway: version takes no flags"},
		"a word after help":        {[]string{"help", "key"}, exitConfig, "", `gateway: unknown argument "key"`},
		"a word after key":         {[]string{"key", "-file", "f", "-subject", "s", "foo"}, exitConfig, "", "nothing else may follow"},
		"an unknown flag":          {[]string{"-foo"}, exitConfig, "", "-foo"},
		"an unknown flag of check": {[]string{"check", "-foo"}, exitConfig, "", "-foo"},
		"a bad configuration":      {[]string{"check", "-config", bad}, exitConfig, "", "nothing"},
		"and with run":             {[]string{"run", "-config", bad}, exitConfig, "", "nothing"},
		"check":                    {[]string{"check"}, exitOK, "the configuration is good", ""},
		"check as a flag":          {[]string{"-check"}, exitOK, "the configuration is good", ""},
		"check as a flag of run":   {[]string{"run", "-check"}, exitOK, "the configuration is good", ""},
		"version":                  {[]string{"version"}, exitOK, "gateway ", ""},
		"help":                     {[]string{"help"}, exitOK, "gateway check", ""},
		"help as a flag":           {[]string{"-h"}, exitOK, "", "gateway check"},
		"help of key":              {[]string{"key", "-h"}, exitOK, "", "-subject"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, tt.code, run(tt.args, &stdout, &stderr, nil))
			assert.Contains(t, stdout.String(), tt.stdout)
			assert.Contains(t, stderr.String(), tt.stderr)
			if tt.code != exitOK {
				assert.Empty(t, stdout.String())
			}
		})
	}
}
