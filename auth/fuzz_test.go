package auth_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/auth"
)

func FuzzBearer(f *testing.F) {
	for _, header := range []string{"Bearer abc", "bearer  a.b.c ", "Bearer\tx", "Basic x", "Bearer a,b", ""} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, err := auth.Bearer(&http.Request{Header: http.Header{"Authorization": {header}}})
		switch {
		case err == nil && (token == "" || strings.ContainsAny(token, " \t,\"") || !strings.HasSuffix(strings.Trim(header, " \t"), " "+token)):
			t.Fatalf("%q became the token %q", header, token)
		case err != nil && (token != "" || errors.Is(err, auth.ErrNoCredential) == errors.Is(err, auth.ErrInvalid)):
			t.Fatalf("%q: %q, %v", header, token, err)
		}
	})
}

// An accepted file has the same meaning for another JSON parser.
func FuzzKeyFile(f *testing.F) {
	_, hash := auth.NewKey("")
	f.Add(`{"keys":[{"hash":"` + hash + `","subject":"a","models":["m"],"expires":"2027-01-01T00:00:00Z"}]}`)
	f.Add(`{"keys":[{"hash":"` + hash + `","subject":"a","models":null}]}`)
	f.Add(`{"keys":[]}{}`)
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file}); err != nil {
			return
		}
		var doc struct{ Keys []map[string]any }
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("accepted %q: %v", text, err)
		}
		if _, err := auth.AddKey(file, "x-", auth.KeyEntry{Subject: "b"}); err != nil {
			t.Fatalf("accepted %q, but: %v", text, err)
		}
		if _, err := auth.NewAPIKeys(auth.APIKeysConfig{File: file}); err != nil {
			t.Fatalf("%q became invalid: %v", text, err)
		}
	})
}

// No response of a server yields an identity without a subject.
func FuzzIntrospectionResponse(f *testing.F) {
	f.Add(`{"active":true,"sub":"u","exp":4e9,"scope":"a b","aud":["x"]}`)
	f.Add(`{"active":true,"client_id":"c","models":null}`)
	f.Fuzz(func(t *testing.T, response string) {
		v, err := auth.NewIntrospection(auth.IntrospectionConfig{URL: "https://a.example", ClientID: "c", ClientSecret: "s", Client: &http.Client{
			Transport: responses(func(*http.Request) (int, string, string) { return 200, "", response }),
		}})
		if err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(bearer(t.Context(), "t"))
		if err == nil && (id.Subject == "" || strings.ContainsAny(id.Subject, "\r\n\x00")) {
			t.Fatalf("%q is %+v", response, id)
		}
	})
}
