package unixsock_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/unixsock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][2]string{
		"unix:/run/vllm.sock":       {"/run/vllm.sock", ""},
		"unix:///run/vllm.sock":     {"/run/vllm.sock", ""},
		"unix:/run/vllm.sock:/v1":   {"/run/vllm.sock", "/v1"},
		"unix:/run/a b+c%.sock:/":   {"/run/a b+c%.sock", "/"},
		"unix:@vllm":                {"@vllm", ""},
		"unix:/run/x.sock:/a%2Fb/c": {"/run/x.sock", "/a%2Fb/c"},
	} {
		u, err := unixsock.Parse(raw)
		require.NoError(t, err, raw)
		assert.True(t, unixsock.IsHost(u.Host), raw)
		assert.Equal(t, want[1], u.EscapedPath(), raw)
		dial := unixsock.Dial(func(_ context.Context, network, address string) (net.Conn, error) {
			assert.Equal(t, "unix "+want[0], network+" "+address)
			return nil, net.ErrClosed
		})
		_, err = dial(t.Context(), "tcp", net.JoinHostPort(u.Hostname(), "80"))
		require.ErrorIs(t, err, net.ErrClosed)
	}
	for _, raw := range []string{"unix:", "unix:/", "unix:run/x.sock", "unix:/run/x.sock:v1", "unix:/run/x.sock:/a?b", "unix:/run/x.sock:/%zz"} {
		_, err := unixsock.Parse(raw)
		assert.Error(t, err, raw)
	}
}

func TestDialPassesOtherAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"10.0.0.1:80", "[fe80::1%25eth0]:80", "host:443", "[::1]:80"} {
		dial := unixsock.Dial(func(_ context.Context, network, got string) (net.Conn, error) {
			assert.Equal(t, "tcp "+address, network+" "+got)
			return nil, net.ErrClosed
		})
		_, err := dial(t.Context(), "tcp", address)
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

func TestIsPeer(t *testing.T) {
	t.Parallel()
	on := func(local net.Addr) context.Context {
		return context.WithValue(t.Context(), http.LocalAddrContextKey, local)
	}
	unix := on(&net.UnixAddr{Name: "/run/x.sock", Net: "unix"})
	for _, tt := range []struct {
		ctx    context.Context //nolint:containedctx // of a request
		remote string
		want   bool
	}{
		{t.Context(), "@", true},
		{t.Context(), "/run/client.sock", true},
		{unix, "", true},
		{t.Context(), "", false},
		{on(&net.TCPAddr{}), "", false},
		{unix, "10.0.0.1:80", false},
		{t.Context(), "nonsense", false},
	} {
		r := (&http.Request{RemoteAddr: tt.remote}).WithContext(tt.ctx)
		assert.Equal(t, tt.want, unixsock.IsPeer(r), tt.remote)
	}
}
