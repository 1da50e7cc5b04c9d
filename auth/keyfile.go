package auth

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

// KeyEntry is one key of a key file. Hash and Subject are required.
type KeyEntry struct {
	// Hash is the key's SHA-256, in lower-case hexadecimal. [AddKey] computes it. Required.
	Hash string `json:"hash"`
	// Subject is the name of the key's owner. Required.
	Subject string `json:"subject"`
	// Tenant is the customer or team of the owner. Default: none.
	Tenant string `json:"tenant,omitzero"`
	// Scopes are the permissions of the owner, Tags its labels. Default: none.
	Scopes []string `json:"scopes,omitzero"`
	Tags   []string `json:"tags,omitzero"`
	// Models are the models that the owner may use: names, or prefixes that end in "*".
	// Default: all; an empty list: none.
	Models []string `json:"models,omitzero"`
	// Expires is when the key expires. Default: never.
	Expires time.Time `json:"expires,omitzero"`
	// Disabled refuses the key but keeps its entry. Default: false.
	Disabled bool `json:"disabled,omitzero"`
}

// keyFile is an immutable version of a key file.
type keyFile struct {
	text    string
	entries []KeyEntry
	keys    map[tokenHash]*caller // by hash, without disabled ones
}

// parseKeyFile parses a file strictly. The error names every invalid key by its index.
func parseKeyFile(text []byte) (*keyFile, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := strictly(text, &doc); err != nil {
		return nil, err
	}
	if doc.Keys == nil {
		return nil, errors.New("keys: must be a list")
	}
	f := &keyFile{text: string(text), keys: make(map[tokenHash]*caller, len(doc.Keys))}
	seen := make(map[tokenHash]int)
	var faults []error
	for i, raw := range doc.Keys {
		e, h, err := parseEntry(raw)
		if err != nil {
			faults = append(faults, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		if j, twice := seen[h]; twice {
			faults = append(faults, fmt.Errorf("keys[%d]: hash: is a duplicate of keys[%d]", i, j))
			continue
		}
		seen[h] = i
		f.entries = append(f.entries, e)
		if !e.Disabled {
			f.keys[h] = newCaller(e.identity())
		}
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	return f, nil
}

func parseEntry(raw []byte) (e KeyEntry, h tokenHash, err error) {
	if err := strictly(raw, &e); err != nil {
		return e, h, err
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(raw, &members) // decoded before, so valid
	for name, value := range members {
		if string(value) == "null" { // of models, null could mean all or none
			return e, h, fmt.Errorf("%s: must not be null", name)
		}
	}
	h, err = parseHash(e.Hash)
	return e, h, fault.Join(err, e.check())
}

func parseHash(text string) (h tokenHash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) || text != strings.ToLower(text) {
		return h, errors.New("hash: must be 64 hexadecimal digits, in lower case")
	}
	return tokenHash(b), nil
}

// check validates all fields but the hash.
func (e *KeyEntry) check() error {
	switch {
	case e.Subject == "":
		return errors.New("subject: is missing")
	case !isPlain(e.Subject) || !isPlain(e.Tenant):
		return errors.New("subject or tenant: has a control character")
	}
	return nil
}

func (e *KeyEntry) identity() *Identity {
	return &Identity{Subject: e.Subject, Issuer: apiKeyIssuer, Tenant: e.Tenant, Scopes: e.Scopes, Tags: e.Tags, Models: e.Models, Expires: e.Expires, Method: apiKeyIssuer}
}

// strictly decodes one JSON object without unknown fields, duplicates, or text after it.
func strictly(text []byte, into any) error {
	if err := unique(text); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}
