package upgrade_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/upgrade"
	"github.com/stretchr/testify/assert"
)

func TestRequested(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		connection, offers []string
		want               bool
	}{
		"nothing":                  {},
		"WebSocket":                {[]string{"Upgrade"}, []string{"websocket"}, true},
		"in other letters":         {[]string{"keep-alive, UPGRADE"}, []string{"WebSocket"}, true},
		"in a second line":         {[]string{"keep-alive", "upgrade"}, []string{"h2c", "websocket"}, true},
		"in a list":                {[]string{"upgrade"}, []string{"TLS/1.2, websocket"}, true},
		"h2c":                      {[]string{"Upgrade, HTTP2-Settings"}, []string{"h2c"}, false},
		"TLS":                      {[]string{"Upgrade"}, []string{"TLS/1.2"}, false},
		"several":                  {[]string{"Upgrade"}, []string{"TLS/1.3, HTTP/2.0,IRC/6.9"}, false},
		"no Connection":            {nil, []string{"websocket"}, false},
		"another Connection":       {[]string{"close"}, []string{"websocket"}, false},
		"Connection alone, nginx":  {[]string{"upgrade"}, nil, false},
		"an empty value":           {[]string{"upgrade"}, []string{""}, false},
		"only commas":              {[]string{",,upgrade"}, []string{", ,"}, false},
		"a name that begins alike": {[]string{"upgrade"}, []string{"websocket2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{Header: http.Header{}}
			if tt.connection != nil {
				r.Header["Connection"] = tt.connection
			}
			if tt.offers != nil {
				r.Header["Upgrade"] = tt.offers
			}
			assert.Equal(t, tt.want, upgrade.Requested(r))
		})
	}
}
