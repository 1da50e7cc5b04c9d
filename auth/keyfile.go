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
)

// KeyEntry is one key of a file of keys. Hash and Subject are required.
type KeyEntry struct {
	// Hash is the key's SHA-256, in lower-case hexadecimal. [AddKey] makes it.
	Hash string `json:"hash"`
	// Subject names who the key is of.
	Subject string `json:"subject"`
	// Tenant is the customer or team that it belongs to. Default: none.
	Tenant string `json:"tenant,omitzero"`
	// Scopes are what it may do, Tags what kind of caller it is. Default: none.
	Scopes []string `json:"scopes,omitzero"`
	Tags   []string `json:"tags,omitzero"`
	// Models are the models that it may use: names, or beginnings and "*". Default:
	// all; an empty list: none.
	Models []string `json:"models,omitzero"`
	// Expires is when the key ends. Default: never.
	Expires time.Time `json:"expires,omitzero"`
	// Disabled keeps the entry but refuses the key. Default false.
	Disabled bool `json:"disabled,omitzero"`
}

// keyFile is one state of a file of keys.
type keyFile struct {
	text    string
	entries []KeyEntry
	keys    map[tokenHash]*caller // by hash; disabled ones are left out
}

// parseKeyFile reads a file strictly. The error names every bad key by its place.
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
			faults = append(faults, fmt.Errorf("keys[%d]: hash: is also that of keys[%d]", i, j))
			continue
		}
		seen[h] = i
		f.entries = append(f.entries, e)
		if !e.Disabled {
			f.keys[h] = newCaller(e.identity())
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return f, nil
}

func parseEntry(raw []byte) (e KeyEntry, h tokenHash, err error) {
	if err := strictly(raw, &e); err != nil {
		return e, h, err
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(raw, &members) // it was decoded once
	for name, value := range members {
		if string(value) == "null" { // of models: all of them, or none?
			return e, h, fmt.Errorf("%s: must not be null", name)
		}
	}
	h, err = parseHash(e.Hash)
	return e, h, errors.Join(err, e.check())
}

func parseHash(text string) (h tokenHash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) || text != strings.ToLower(text) {
		return h, errors.New("hash: must be 64 hexadecimal digits, in lower case")
	}
	return tokenHash(b), nil
}

// check is of all but the hash.
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

// strictly decodes one JSON object: no unknown fields, none twice, nothing after.
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
