package main

// Auth says how callers are known, in groups with the auth stage. Without any of
// it there is one token, made at the start and printed, or that of GATEWAY_TOKEN.
type Auth struct {
	// Keys is a file of API keys, made by "gateway key". It is read again when it changes.
	Keys string `json:"keys,omitempty"`
	// JWT are the issuers whose signed tokens are good.
	JWT []JWT `json:"jwt,omitempty"`
	// Introspection asks a server about tokens that are none of these (RFC 7662).
	Introspection *Introspection `json:"introspection,omitempty"`
	// Certificates lets callers in by client certificate; needs public.tls.client_ca. Default false.
	Certificates bool `json:"certificates,omitempty"`
	// Forward says what upstreams are told of the caller. Default: nothing.
	Forward *Forward `json:"forward,omitempty"`
}

// JWT is an issuer. Its keys come from its discovery document, or from one of
// JWKS, KeyFile and Secret.
type JWT struct {
	// Issuer is the tokens' "iss", Audience among their "aud".
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	// Algorithms that are accepted. Default RS256, PS256, ES256, EdDSA; with a secret HS256.
	Algorithms []string `json:"algorithms,omitempty"`
	// JWKS is the URL of a JWK set.
	JWKS string `json:"jwks,omitempty"`
	// KeyFile has a JWK set or PEM public keys. It is read again when it changes.
	KeyFile string `json:"key_file,omitempty"`
	// Secret is shared with the issuer, 32 bytes or more: "${JWT_SECRET}".
	Secret string `json:"secret,omitempty"`
}

// Introspection is a server that knows which tokens are active.
type Introspection struct {
	// URL is the endpoint; https, or on this machine.
	URL string `json:"url"`
	// ClientID and ClientSecret are the gateway's own: "${OAUTH_SECRET}".
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	// Audience must be among the token's, when it is set.
	Audience string `json:"audience,omitempty"`
	// CacheTTL is how long an active token is not asked for again. Default 30s; "off".
	CacheTTL Duration `json:"cache_ttl,omitempty"`
}

// Forward names the headers that tell upstreams who calls. The client's own of
// these names never pass.
type Forward struct {
	// Subject, Tenant, Scopes and Tags are names of headers. Upstreams may believe
	// them only if nobody else can reach them.
	Subject string `json:"subject,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	Scopes  string `json:"scopes,omitempty"`
	Tags    string `json:"tags,omitempty"`
	// Signed is the name of a header with a JWT about the caller, signed with Secret.
	Signed string `json:"signed,omitempty"`
	// Secret has 32 bytes or more: "${FORWARD_SECRET}".
	Secret string `json:"secret,omitempty"`
	// Issuer and Audience are the signed header's.
	Issuer   string `json:"issuer,omitempty"`
	Audience string `json:"audience,omitempty"`
}

// IP is the stage that refuses addresses.
type IP struct {
	// Allow are the CIDR ranges that may call. Default: all.
	Allow []string `json:"allow,omitempty"`
	// Deny are those that may not, whatever Allow says.
	Deny []string `json:"deny,omitempty"`
}
