package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginfer/ginfer/auth"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withSignature replaces a token's signature.
func withSignature(token string, signature []byte) string {
	return token[:strings.LastIndexByte(token, '.')+1] + b64(signature)
}

// No other encoding of an ES256 signature is valid, in particular not zeros
// (CVE-2022-21449).
func TestJWTSignatures(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	good := s.token(t, "ES256", claims(), nil)
	signature, err := base64.RawURLEncoding.DecodeString(good[strings.LastIndexByte(good, '.')+1:])
	require.NoError(t, err)
	r, sv := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, sv})
	require.NoError(t, err)
	n := elliptic.P256().Params().N
	pair := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	require.Equal(t, signature, pair(r, sv))
	for name, forged := range map[string][]byte{
		"none":              {},
		"zeros":             make([]byte, 64),
		"r of zero":         pair(new(big.Int), sv),
		"s of zero":         pair(r, new(big.Int)),
		"r is the order":    pair(n, sv),
		"s is the order":    pair(r, n),
		"both of the order": pair(n, n),
		"all ones":          []byte(strings.Repeat("\xff", 64)),
		"DER":               der,
		"short":             signature[:63],
		"long":              append(signature[:64:64], 0),
		"of ES384's length": append(make([]byte, 32), signature...),
		"halves turned":     append(signature[32:64:64], signature[:32]...),
	} {
		_, err := newJWT(t, s.source, nil).Verify(bearer(t.Context(), withSignature(good, forged)))
		require.ErrorIs(t, err, auth.ErrInvalid, name)
		assert.NotContains(t, err.Error(), "ecdsa", name)
	}
	_, err = newJWT(t, s.source, nil).Verify(bearer(t.Context(), good))
	require.NoError(t, err)
}

// Keys with which anyone can sign.
func TestJWTWeakKeys(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	n := s.source.keys["RS256"][0].(*rsa.PublicKey).N
	for name, key := range map[string]any{
		"e is 1":         &rsa.PublicKey{N: n, E: 1},
		"e is even":      &rsa.PublicKey{N: n, E: 2},
		"e is negative":  &rsa.PublicKey{N: n, E: -3},
		"a tiny modulus": &rsa.PublicKey{N: big.NewInt(3233), E: 17},
		"no modulus":     &rsa.PublicKey{N: new(big.Int), E: 65537},
	} {
		token := s.token(t, "RS256", claims(), nil)
		v := newJWT(t, &source{keys: map[string][]any{"RS256": {key}}}, nil)
		_, err := v.Verify(bearer(t.Context(), token))
		require.ErrorIs(t, err, auth.ErrInvalid, name)
	}
}

// Times, members and audiences of malicious issuers.
func TestJWTClaims(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	exp := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	body := func(exp, more string) string {
		return `{"iss":"https://op.example","aud":"api","sub":"alice","exp":` + exp + more + `}`
	}
	audience := func(aud string) string {
		return `{"iss":"https://op.example","sub":"alice","exp":` + exp + `,"aud":` + aud + `}`
	}
	deep := func(open, end string) string { return strings.Repeat(open, 2500) + strings.Repeat(end, 2500) }
	for name, tt := range map[string]struct {
		claims string
		good   bool
	}{
		"plain":                   {body(exp, ""), true},
		"exp a fraction":          {body(exp+".5", ""), true},
		"exp in exponents":        {body("4e9", ""), true},
		"nbf and iat fractions":   {body(exp, `,"nbf":1.5,"iat":1.5`), true},
		"nbf the epoch":           {body(exp, `,"nbf":0`), true},
		"exp beyond all":          {body("1e300", ""), false},
		"exp beyond float":        {body("1e400", ""), false},
		"exp beyond the calendar": {body("9223372036854775807", ""), false},
		"exp negative":            {body("-1", ""), false},
		"exp zero":                {body("0", ""), false},
		"exp as text":             {body(`"`+exp+`"`, ""), false},
		"exp true":                {body("true", ""), false},
		"exp a list":              {body("["+exp+"]", ""), false},
		"nbf beyond all":          {body(exp, `,"nbf":1e300`), false},
		"nbf as text":             {body(exp, `,"nbf":"0"`), false},
		"nbf null":                {body(exp, `,"nbf":null`), false},
		"iat beyond all":          {body(exp, `,"iat":1e300`), false},
		"sub twice, escaped":      {body(exp, `,"s\u0075b":"root"`), false},
		"sub twice, long s":       {body(exp, `,"ſub":"root"`), false},
		"exp twice":               {body(exp, `,"exp":1`), false},
		"not UTF-8":               {body(exp, ",\"x\":\"\xff\""), false},
		"a subject of two lines":  {strings.Replace(body(exp, ""), "alice", `alice\nroot`, 1), false},
		"a subject with a zero":   {strings.Replace(body(exp, ""), "alice", `a\u0000b`, 1), false},
		"deep lists":              {body(exp, `,"x":`+deep("[", "]")), true},
		"unfinished lists":        {body(exp, `,"x":`+strings.Repeat("[", 5000)), false},
		"audiences":               {audience(`["other","api"]`), true},
		"aud of more than text":   {audience(`["api",7]`), false},
		"aud a list of lists":     {audience(`[["api"]]`), false},
		"aud a number":            {audience(`7`), false},
		"aud an object":           {audience(`{"api":1}`), false},
		"aud empty":               {audience(`[]`), false},
		"aud of nothing":          {audience(`[""]`), false},
		"another case of aud":     {audience(`"API"`), false},
	} {
		token := s.raw(t, `{"alg":"HS256"}`, tt.claims)
		if len(token) > 8<<10 {
			t.Fatalf("%s: the token is too long to test anything else", name)
		}
		_, err := newJWT(t, s.source, nil).Verify(bearer(t.Context(), token))
		if tt.good {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, auth.ErrInvalid, name)
	}
}

// Header fields that are mere names, and those that change the meaning of a token.
func TestJWTHeaders(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for name, tt := range map[string]struct {
		field string
		value any
		good  bool
	}{
		"a key of SQL":           {"kid", "' OR 1=1 --", true},
		"a key of a path":        {"kid", "../../../../dev/null", true},
		"a key of a zero":        {"kid", "a\x00b", true},
		"a thumbprint":           {"x5t", "abc", true},
		"RFC 9068":               {"typ", "at+jwt", true},
		"RFC 9068, in full":      {"typ", "application/AT+JWT", true},
		"no type":                {"typ", "", true},
		"for logging out":        {"typ", "logout+jwt", false},
		"for a proof":            {"typ", "dpop+jwt", false},
		"type not a name":        {"typ", 7, false},
		"a token within":         {"cty", "JWT", false},
		"understanding required": {"crit", []string{}, false},
		"its own key":            {"jwk", nil, false},
	} {
		token := s.token(t, "HS256", claims(), map[string]any{tt.field: tt.value})
		_, err := newJWT(t, s.source, nil).Verify(bearer(t.Context(), token))
		if tt.good {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, auth.ErrInvalid, name)
	}
	strict := newJWT(t, s.source, func(c *auth.JWTConfig) { c.Type = "at+jwt" })
	_, err := strict.Verify(bearer(t.Context(), s.token(t, "HS256", claims(), map[string]any{"typ": "at+JWT"})))
	require.NoError(t, err)
	_, err = strict.Verify(bearer(t.Context(), s.token(t, "HS256", claims(), nil)))
	require.ErrorIs(t, err, auth.ErrInvalid, "an ID token is not an access token")
}

// A header with many members costs no more than its length.
func TestJWTManyMembers(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	var members strings.Builder
	for i := range 700 {
		members.WriteString(`,"` + strconv.Itoa(i) + `":0`)
	}
	text, err := json.Marshal(claims())
	require.NoError(t, err)
	token := s.raw(t, `{"alg":"HS256"`+members.String()+`}`, string(text))
	v := newJWT(t, s.source, func(c *auth.JWTConfig) { c.CacheTTL = -1 })
	start := time.Now()
	for range 20 {
		_, err = v.Verify(bearer(t.Context(), token))
		require.NoError(t, err)
	}
	assert.Less(t, time.Since(start), 2*time.Second)
}

// Where the token may be in a request, and in which form.
func TestJWTRequests(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	token := s.token(t, "ES256", claims(), nil)
	for name, tt := range map[string]struct {
		target  string
		headers http.Header
		want    error
	}{
		"a lower-case scheme":  {"/", http.Header{"Authorization": {"bearer " + token}}, nil},
		"spaces around":        {"/", http.Header{"Authorization": {" Bearer  " + token + " "}}, nil},
		"in the query":         {"/?access_token=" + token, nil, auth.ErrNoCredential},
		"in a cookie":          {"/", http.Header{"Cookie": {"access_token=" + token}}, auth.ErrNoCredential},
		"for a proxy":          {"/", http.Header{"Proxy-Authorization": {"Bearer " + token}}, auth.ErrNoCredential},
		"of an underscore":     {"/", http.Header{"X_authorization": {"Bearer " + token}}, auth.ErrNoCredential},
		"Bearer twice":         {"/", http.Header{"Authorization": {"Bearer bearer " + token}}, auth.ErrInvalid},
		"a tab":                {"/", http.Header{"Authorization": {"Bearer\t" + token}}, auth.ErrInvalid},
		"a tab after":          {"/", http.Header{"Authorization": {"Bearer " + token + "\tx"}}, auth.ErrInvalid},
		"two of them":          {"/", http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, auth.ErrInvalid},
		"Basic before it":      {"/", http.Header{"Authorization": {"Basic eDp5", "Bearer " + token}}, auth.ErrInvalid},
		"quoted":               {"/", http.Header{"Authorization": {`Bearer "` + token + `"`}}, auth.ErrInvalid},
		"a line break within":  {"/", http.Header{"Authorization": {"Bearer " + token[:len(token)-9] + "\n" + token[len(token)-9:]}}, auth.ErrInvalid},
		"a parameter after it": {"/", http.Header{"Authorization": {"Bearer " + token + ",x=y"}}, auth.ErrInvalid},
		"no space":             {"/", http.Header{"Authorization": {"Bearer" + token}}, auth.ErrNoCredential},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.target, http.NoBody)
		require.NoError(t, err)
		if tt.headers != nil {
			r.Header = tt.headers
		}
		_, err = newJWT(t, s.source, nil).Verify(r)
		require.ErrorIs(t, err, tt.want, name)
	}
}

// With two trusted issuers, each verifier leaves the other's tokens alone.
func TestJWTTwoIssuers(t *testing.T) {
	t.Parallel()
	a, b := newSigner(t), newSigner(t)
	other := newJWT(t, b.source, func(c *auth.JWTConfig) { c.Issuer = "https://b.example" })
	authn := auth.Middleware(auth.Config{Verifiers: []auth.Verifier{newJWT(t, a.source, nil), other}})
	of := func(s *signer, issuer string) int {
		c := claims()
		c["iss"] = issuer
		_, w := through(bearer(t.Context(), s.token(t, "ES256", c, nil)), authn)
		return w.Code
	}
	assert.Equal(t, http.StatusOK, of(a, "https://op.example"))
	assert.Equal(t, http.StatusOK, of(b, "https://b.example"))
	assert.Equal(t, http.StatusUnauthorized, of(a, "https://b.example"), "signed by the other issuer")
	assert.Equal(t, http.StatusUnauthorized, of(b, "https://op.example"))
	assert.Equal(t, http.StatusUnauthorized, of(a, "https://c.example"), "of neither issuer")
}

// An issuer may replace a key by one with the same ID, or without an ID.
func TestJWTKeyReplaced(t *testing.T) {
	t.Parallel()
	for _, kid := range []string{"", "k"} {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{}
			set := func(s *signer) {
				point, err := s.source.keys["ES256"][0].(*ecdsa.PublicKey).Bytes()
				require.NoError(t, err)
				p.set(200, setOf(t, map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(point[1:33]), "y": b64(point[33:])}))
			}
			first, second := newSigner(t), newSigner(t)
			set(first)
			k := newKeySet(t, p, nil)
			defer run(k)()
			v, err := auth.NewJWT(auth.JWTConfig{Keys: k, Algorithms: []string{"ES256"}, Issuer: "https://op.example", Audience: "api"})
			require.NoError(t, err)
			verify := func(s *signer) error {
				_, err := v.Verify(bearer(t.Context(), s.token(t, "ES256", claims(), map[string]any{"kid": kid})))
				return err
			}
			require.NoError(t, verify(first))
			set(second)
			require.NoError(t, verify(second), "it requests the keys")
			require.ErrorIs(t, verify(first), auth.ErrInvalid)
			for range 300 {
				require.ErrorIs(t, verify(first), auth.ErrInvalid)
			}
			assert.LessOrEqual(t, p.count(), 3, "bad signatures cause no fetch")
		})
	}
}

// An invalid credential stays invalid, whatever the user's functions return.
func TestJWTOwnClaims(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for name, tt := range map[string]struct {
		id   *auth.Identity
		err  error
		want int
	}{
		"none":              {nil, auth.ErrNoCredential, http.StatusUnauthorized},
		"any":               {nil, jwt.ErrTokenMalformed, http.StatusUnauthorized},
		"can't tell":        {nil, auth.ErrUnavailable, http.StatusServiceUnavailable},
		"no identity":       {nil, nil, http.StatusUnauthorized},
		"a name of no name": {&auth.Identity{Subject: "a\x1b[2J"}, nil, http.StatusUnauthorized},
	} {
		v := newJWT(t, s.source, func(c *auth.JWTConfig) {
			c.Claims = func(map[string]any) (*auth.Identity, error) { return tt.id, tt.err }
		})
		id, w := through(bearer(t.Context(), s.token(t, "HS256", claims(), nil)),
			auth.Middleware(auth.Config{Optional: true, Verifiers: []auth.Verifier{v, fixed{id: &auth.Identity{Subject: "root"}}}}))
		assert.Equal(t, tt.want, w.Code, name)
		assert.Nil(t, id, name)
	}
}
