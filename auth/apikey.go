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

// DefaultPrefix begins keys, so that people and scanners know one when they see
// it.
const DefaultPrefix = "gk_"

// apiKeyIssuer vouches for keys, and is their method.
const apiKeyIssuer = "apikey"

// keyHeaders are where clients put their keys, besides Authorization.
//
//nolint:gochecknoglobals // a constant
var keyHeaders = [...]string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"}

// maxKey is the longest key, in bytes, that is looked at.
const maxKey = 512

// APIKeysConfig says where keys are known: exactly one of File and Lookup.
type APIKeysConfig struct {
	// File holds the keys' hashes; see [APIKeys]. It is read at once, and by
	// [APIKeys.Run] when it changes.
	File string
	// Lookup finds the identity behind a hash, in lower-case hexadecimal:
	// [ErrInvalid] says that there is none, any other error that it can't be told
	// now. It is asked for each request. An identity without an Issuer gets
	// "apikey", and each gets that Method; one that has expired is refused.
	Lookup func(ctx context.Context, hash string) (*Identity, error)
	// Prefix begins every key. What does not begin so is left to the next
	// verifier. Default [DefaultPrefix].
	Prefix string
	// OnEvent is told when the file was read again. Optional.
	OnEvent func(context.Context, KeyFileEvent)
}

// KeyFileEvent tells of a key file that was read again.
type KeyFileEvent struct {
	// Keys is how many there are now.
	Keys int
	// Err is why the keys from before stay.
	Err error
}

// APIKeys is a [Verifier] for keys in Authorization: Bearer (as OpenAI's clients send
// them), X-Api-Key (Anthropic's), Api-Key (Azure's) or X-Goog-Api-Key (Gemini's). Only
// hashes (SHA-256, hexadecimal) of keys are stored. A key has 256 bits that nobody
// chose, so that its hash need not be slow to make. A key itself is never compared
// with anything, byte by byte: it is hashed, in a time that tells only its length,
// and its hash is looked up, in a time that may tell something of the hash, from
// which nobody can tell the key. A file, which [AddKey] writes, is
//
//	{"keys": [{"hash": "…", "subject": "team-a", "tenant": "acme", "scopes": ["chat"],
//	  "tags": [], "models": ["small-*"], "expires": "2027-01-01T00:00:00Z", "disabled": false}]}
//
// It is safe for concurrent use.
type APIKeys struct {
	cfg  APIKeysConfig
	file atomic.Pointer[keyFile]
}

// NewKey makes a key and its hash. The key is shown to its owner once, and only
// the hash is kept.
func NewKey(prefix string) (key, hash string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	key = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	h := hashOf(key)
	return key, hex.EncodeToString(h[:])
}

// NewAPIKeys checks cfg and returns a verifier. The error names every fault of a
// bad file.
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
	who, err := k.identify(r)
	if err != nil {
		return nil, err
	}
	return who.Identity, nil
}

func (k *APIKeys) identify(r *http.Request) (*caller, error) {
	key, err := k.presented(r)
	if err != nil {
		return nil, err
	}
	who, err := k.find(r.Context(), hashOf(key))
	if err != nil {
		return nil, err
	}
	if !who.Expires.IsZero() && !time.Now().Before(who.Expires) {
		return nil, fmt.Errorf("%w: the key has expired", ErrInvalid)
	}
	return who, nil
}

func (k *APIKeys) find(ctx context.Context, h tokenHash) (*caller, error) {
	if file := k.file.Load(); file != nil {
		if who, ok := file.keys[h]; ok {
			return who, nil
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

// presented finds the key in the request. Two different ones are refused: two
// programs could go by two.
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

// Reload reads the file again. A bad one is refused whole; the keys from before
// stay.
func (k *APIKeys) Reload() error {
	_, err := k.reload()
	return err
}

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

// Run reads the file again when it has changed, until ctx ends; it looks every
// five seconds. It returns nil.
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
			k.tell(ctx, err)
		}
		last = message
	}
}

func (k *APIKeys) tell(ctx context.Context, err error) {
	if k.cfg.OnEvent != nil {
		k.cfg.OnEvent(ctx, KeyFileEvent{Keys: len(k.file.Load().keys), Err: err})
	}
}
