package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultPrefix is the prefix of keys, by which people and secret scanners recognize one.
const DefaultPrefix = "gk_"

// apiKeyIssuer is the issuer and the method of API keys.
const apiKeyIssuer = "apikey"

// keyHeaders are the headers, besides Authorization, in which clients send keys.
//
//nolint:gochecknoglobals // a constant
var keyHeaders = [...]string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"}

// maxKey is the longest accepted key, in bytes.
const maxKey = 512

// APIKeysConfig configures an APIKeys. Exactly one of File and Lookup is required.
type APIKeysConfig struct {
	// File is the file with the hashes of the keys; see [APIKeys]. NewAPIKeys reads it, and
	// [APIKeys.Run] reloads it when it has changed.
	File string
	// Lookup returns the identity of a key by its hash, in lower-case hexadecimal. It is
	// called for every request. [ErrInvalid] means that the key is unknown; any other
	// error, that this can't be determined now. The identity's Method becomes "apikey", as
	// does an empty Issuer. An expired identity is refused.
	Lookup func(ctx context.Context, hash string) (*Identity, error)
	// Prefix is the prefix of every key. Credentials without it are left to the next
	// verifier. Default: [DefaultPrefix].
	Prefix string
	// OnEvent is called by Run after the file was reloaded. Default: none.
	OnEvent func(context.Context, KeysEvent)
}

// APIKeys is a [Verifier] of API keys in Authorization: Bearer (as OpenAI's clients send
// them), X-Api-Key (Anthropic's), Api-Key (Azure's) or X-Goog-Api-Key (Gemini's). It stores
// only hashes (SHA-256, hexadecimal). Keys have 256 random bits, so a slow hash is not
// needed. A presented key is hashed, in a time that depends only on its length, and looked
// up by its hash; the time of the look-up does not reveal the key. A file, which [AddKey]
// writes, is
//
//	{"keys": [{"hash": "…", "subject": "team-a", "tenant": "acme", "scopes": ["chat"],
//	  "tags": [], "models": ["small-*"], "expires": "2027-01-01T00:00:00Z", "disabled": false}]}
//
// It is safe for concurrent use.
type APIKeys struct {
	cfg  APIKeysConfig
	file atomic.Pointer[keyFile]
}

// NewKey returns a random key and its hash. Show the key to its owner once and store only
// the hash.
func NewKey(prefix string) (key, hash string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	key = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	h := hashOf(key)
	return key, hex.EncodeToString(h[:])
}

// NewAPIKeys checks cfg and returns an APIKeys. The error joins every fault of the file.
func NewAPIKeys(cfg APIKeysConfig) (*APIKeys, error) {
	if (cfg.File == "") == (cfg.Lookup == nil) {
		return nil, errors.New("auth: APIKeysConfig needs exactly one of File and Lookup")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	k := &APIKeys{cfg: cfg}
	if cfg.File != "" {
		if _, err := k.reload(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Verify implements Verifier.
func (k *APIKeys) Verify(r *http.Request) (*Identity, error) {
	caller, err := k.identify(r)
	if err != nil {
		return nil, err
	}
	return caller.Identity, nil
}

func (k *APIKeys) identify(r *http.Request) (*caller, error) {
	key, err := k.presented(r)
	if err != nil {
		return nil, err
	}
	caller, err := k.find(r.Context(), hashOf(key))
	if err != nil {
		return nil, err
	}
	if !caller.Expires.IsZero() && !time.Now().Before(caller.Expires) {
		return nil, fmt.Errorf("%w: the key has expired", ErrInvalid)
	}
	return caller, nil
}

func (k *APIKeys) find(ctx context.Context, h tokenHash) (*caller, error) {
	if file := k.file.Load(); file != nil {
		if caller, ok := file.keys[h]; ok {
			return caller, nil
		}
		return nil, fmt.Errorf("%w: unknown key", ErrInvalid)
	}
	id, err := k.cfg.Lookup(ctx, hex.EncodeToString(h[:]))
	switch {
	case errors.Is(err, ErrInvalid):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case id == nil:
		return nil, fmt.Errorf("%w: unknown key", ErrInvalid)
	}
	out := *id
	out.Method = apiKeyIssuer
	if out.Issuer == "" {
		out.Issuer = apiKeyIssuer
	}
	return newCaller(&out), out.check()
}

// presented returns the key in the request. Two different keys are refused, because two
// programs could use different ones.
func (k *APIKeys) presented(r *http.Request) (string, error) {
	found, err := Bearer(r)
	if errors.Is(err, ErrInvalid) {
		return "", err
	}
	if !strings.HasPrefix(found, k.cfg.Prefix) {
		found = ""
	}
	for _, name := range keyHeaders {
		for _, key := range r.Header[name] {
			if !strings.HasPrefix(key, k.cfg.Prefix) {
				continue
			}
			if found != "" && found != key {
				return "", fmt.Errorf("%w: two different keys", ErrInvalid)
			}
			found = key
		}
	}
	switch {
	case found == "":
		return "", ErrNoCredential
	case len(found) > maxKey:
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxKey)
	}
	return found, nil
}

// reload reads the file and reports whether it has changed. If it is invalid, the previous
// keys stay in use.
func (k *APIKeys) reload() (changed bool, err error) {
	if k.cfg.File == "" {
		return false, nil
	}
	text, err := os.ReadFile(k.cfg.File)
	if err != nil {
		return false, fmt.Errorf("auth: %w", err)
	}
	old := k.file.Load()
	if old != nil && old.text == string(text) {
		return false, nil
	}
	file, err := parseKeyFile(text)
	if err != nil {
		return true, fmt.Errorf("auth: %s: %w", k.cfg.File, err)
	}
	k.file.Store(file)
	return true, nil
}

// Run checks the file every five seconds and reloads it when it has changed, until ctx
// ends. It returns nil.
func (k *APIKeys) Run(ctx context.Context) error {
	ticker := time.NewTicker(filePoll)
	defer ticker.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		changed, err := k.reload()
		message := fmt.Sprint(err)
		if (changed || err != nil) && message != last || changed && err == nil {
			k.notify(ctx, err)
		}
		last = message
	}
}

func (k *APIKeys) notify(ctx context.Context, err error) {
	if k.cfg.OnEvent != nil {
		k.cfg.OnEvent(ctx, KeysEvent{Keys: len(k.file.Load().keys), Err: err})
	}
}
