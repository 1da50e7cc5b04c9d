package gatewaytest

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// CheckConfigs loads each block of JSON in Markdown pages as a configuration, or as one group
// of a configuration.
func CheckConfigs(t *testing.T, pages ...string) {
	t.Helper()
	t.Setenv("OPENAI_API_KEY", "key")
	t.Setenv("OAUTH_SECRET", "secret")
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```")
	var configs []string
	for _, page := range pages {
		text, err := os.ReadFile(page) //nolint:gosec // the test names the file
		require.NoError(t, err)
		for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			configs = append(configs, block[1])
		}
	}
	require.NotEmpty(t, configs)
	cert, key := Authority(t, "server")
	for i, config := range configs {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Chdir(t.TempDir())
			for name, text := range map[string]string{"keys.json": `{"keys": []}`, "tls.crt": string(cert), "tls.key": string(key)} {
				require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
			}
			if !strings.Contains(config, `"groups"`) { // one group of a configuration
				config = `{"upstreams": {"web": {"endpoints": [{"url": "http://127.0.0.1:1"}]}}, "groups": [` + config + `]}`
			}
			_, err := Load(t, Write(t, "my.json", config))
			require.NoError(t, err, config)
		})
	}
}
