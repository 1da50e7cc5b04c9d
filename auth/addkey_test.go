package auth_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAddKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.json")
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	entries := []auth.KeyEntry{
		{Subject: "a"},
		{Subject: "b", Tenant: "acme", Scopes: []string{"chat"}, Tags: []string{"staff"}, Models: []string{"small-*"}, Expires: until},
		{Subject: "no models", Models: []string{}},
		{Subject: "off", Disabled: true},
	}
	var keys []string
	for _, e := range entries {
		key, err := auth.AddKey(file, "x-", e)
		require.NoError(t, err)
		keys = append(keys, key)
	}
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	v, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file, Prefix: "x-"})
	require.NoError(t, err)
	for i, want := range []*auth.Identity{
		{Subject: "a", Issuer: "apikey", Method: "apikey"},
		{Subject: "b", Issuer: "apikey", Tenant: "acme", Scopes: []string{"chat"}, Tags: []string{"staff"}, Models: []string{"small-*"}, Expires: until, Method: "apikey"},
		{Subject: "no models", Issuer: "apikey", Models: []string{}, Method: "apikey"},
		nil,
	} {
		assert.NotContains(t, string(text), keys[i], "a key is not stored")
		id, err := v.Verify(presenting("", keys[i]))
		if want == nil {
			require.ErrorIs(t, err, auth.ErrInvalid)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, want, id)
	}
}

// An invalid file stays unchanged.
func TestAddKeyRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text, want string
		entry      auth.KeyEntry
	}{
		"a bad file":             {`{"keys":[{"hash":"x","subject":"a"}]}`, "keys[0]: hash", auth.KeyEntry{Subject: "a"}},
		"an empty file":          {``, "unexpected EOF", auth.KeyEntry{Subject: "a"}},
		"unknown fields":         {`{"keys":[],"more":1}`, "unknown field", auth.KeyEntry{Subject: "a"}},
		"no subject":             {`{"keys":[]}`, "subject", auth.KeyEntry{}},
		"a line break in a name": {`{"keys":[]}`, "control character", auth.KeyEntry{Subject: "a\nb"}},
		"a hash":                 {`{"keys":[]}`, "Hash is set", auth.KeyEntry{Subject: "a", Hash: "x"}},
	} {
		file := keyFile(t, tt.text)
		require.NoError(t, os.Chmod(file, 0o640))
		key, err := auth.AddKey(file, "x-", tt.entry)
		require.ErrorContains(t, err, tt.want, name)
		assert.Empty(t, key, name)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, tt.text, string(text), name)
		assert.NoFileExists(t, file+".new", name)
	}
	file := keyFile(t, `{"keys":[]}`)
	require.NoError(t, os.Chmod(file, 0o640))
	_, err := auth.AddKey(file, "x-", auth.KeyEntry{Subject: "a"})
	require.NoError(t, err)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm(), "its permissions stay")
	require.NoError(t, os.WriteFile(file+".new", nil, 0o600))
	_, err = auth.AddKey(file, "x-", auth.KeyEntry{Subject: "a"})
	require.ErrorContains(t, err, "another AddKey is running")
	_, err = auth.AddKey("/nope/keys.json", "x-", auth.KeyEntry{Subject: "a"})
	require.ErrorContains(t, err, "/nope/keys.json")
}

// Of two concurrent calls, both add their key or one is refused.
func TestAddKeyTogether(t *testing.T) {
	t.Parallel()
	file := keyFile(t, `{"keys":[]}`)
	var mu sync.Mutex
	var keys []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if key, err := auth.AddKey(file, "x-", auth.KeyEntry{Subject: "a"}); err == nil {
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, key)
			}
		})
	}
	wg.Wait()
	v, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file, Prefix: "x-"})
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		_, err := v.Verify(presenting("", key))
		require.NoError(t, err)
	}
}
