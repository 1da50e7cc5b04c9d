package jwk_test

import (
	"errors"
	"testing"

	"github.com/ginfer/ginfer/internal/jwk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The example of RFC 7517, appendix A.1: an EC and an RSA key, here without the RSA one's
// "use", and with unusable keys.
const rfc = `{"keys":[
 {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},
 {"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"},
 {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow","kid":"s"},
 {"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","kid":"broken"},
 {"kty":"XX","kid":"unknown"}, 7]}`

func TestParseSet(t *testing.T) {
	t.Parallel()
	keys, err := jwk.ParseSet([]byte(rfc))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	assert.Equal(t, "2011-04-29", keys[0].ID)
	assert.Equal(t, "RS256", keys[0].Algorithm)
	for _, text := range []string{`{}`, `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AA"}]}`} {
		_, err := jwk.ParseSet([]byte(text))
		require.ErrorIs(t, err, jwk.ErrNoKeys, text)
	}
	_, err = jwk.ParseSet([]byte(`[]`))
	require.Error(t, err)
	_, err = jwk.ParsePEM([]byte("hello"))
	assert.ErrorIs(t, err, jwk.ErrNoKeys)
}

func FuzzParseSet(f *testing.F) {
	f.Add(rfc)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := jwk.ParseSet([]byte(text))
		if err == nil && len(keys) == 0 || errors.Is(err, jwk.ErrNoKeys) && len(keys) > 0 {
			t.Fatal("keys and error do not fit")
		}
		for _, k := range keys {
			if k.Public == nil {
				t.Fatal("a key without a key")
			}
		}
	})
}
