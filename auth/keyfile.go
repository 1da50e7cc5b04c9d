package auth

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// keyFile is one state of a file of keys.
type keyFile struct {
	text string
	keys map[string]*Identity // by hash; disabled ones are left out
}

// keyEntry is one key of a file.
type keyEntry struct {
	Hash     string    `json:"hash"`
	Subject  string    `json:"subject"`
	Tenant   string    `json:"tenant"`
	Scopes   []string  `json:"scopes"`
	Tags     []string  `json:"tags"`
	Models   []string  `json:"models"`
	Expires  time.Time `json:"expires"`
	Disabled bool      `json:"disabled"`
}

// parseKeyFile reads a file strictly. The error names every bad key by its place.
func parseKeyFile(text []byte) (*keyFile, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := strictly(text, &doc); err != nil {
		return nil, err
	}
	f := &keyFile{text: string(text), keys: make(map[string]*Identity, len(doc.Keys))}
	seen := make(map[string]int)
	var faults []error
	for i, raw := range doc.Keys {
		var e keyEntry
		if err := strictly(raw, &e); err != nil {
			faults = append(faults, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		if e.Models == nil && bytes.Contains(raw, []byte(`"models"`)) { // null would mean all of them
			faults = append(faults, fmt.Errorf("keys[%d].models: must be a list", i))
			continue
		}
		if fault := e.check(); fault != nil {
			faults = append(faults, fmt.Errorf("keys[%d].%w", i, fault))
			continue
		}
		if j, twice := seen[e.Hash]; twice {
			faults = append(faults, fmt.Errorf("keys[%d].hash: is also that of keys[%d]", i, j))
			continue
		}
		seen[e.Hash] = i
		if !e.Disabled {
			f.keys[e.Hash] = e.identity()
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return f, nil
}

func (e *keyEntry) check() error {
	if b, err := hex.DecodeString(e.Hash); err != nil || len(b) != 32 || e.Hash != hex.EncodeToString(b) {
		return errors.New("hash: must be 64 hexadecimal digits, in lower case")
	}
	if e.Subject == "" {
		return errors.New("subject: is missing")
	}
	return nil
}

func (e *keyEntry) identity() *Identity {
	return &Identity{Subject: e.Subject, Issuer: "apikey", Tenant: e.Tenant, Scopes: e.Scopes, Tags: e.Tags, Models: e.Models, Expires: e.Expires, Method: "apikey"}
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
