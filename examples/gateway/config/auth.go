package config

// Auth configures how callers are authenticated, in groups with the stage auth. Without any of
// it there is one token: that of GATEWAY_TOKEN, or one that is generated at start and printed.
type Auth struct {
	// Keys is a file of API keys, made by "gateway key". It is reloaded when it changes.
	Keys string `json:"keys,omitempty"`
	// JWT are the accepted issuers of signed tokens.
	JWT []JWT `json:"jwt,omitempty"`
	// Introspection queries a server about all other tokens (RFC 7662).
	Introspection *Introspection `json:"introspection,omitempty"`
	// Certificates accepts client certificates; needs public.tls.client_ca. Default: false.
	Certificates bool `json:"certificates,omitempty"`
	// Forward configures which headers identify the caller to upstreams. Default: none.
	Forward *Forward `json:"forward,omitempty"`
}

// JWT is an issuer of tokens. Its keys come from its discovery document, or from one of
// JWKS, KeyFile and Secret.
type JWT struct {
	// Issuer is the "iss" of its tokens, Audience one of their "aud".
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	// Algorithms are the accepted algorithms. Default: RS256, PS256, ES256, EdDSA; with a secret HS256.
	Algorithms []string `json:"algorithms,omitempty"`
	// JWKS is the URL of a JWK set.
	JWKS string `json:"jwks,omitempty"`
	// KeyFile is a file with a JWK set or PEM public keys. It is reloaded when it changes.
	KeyFile string `json:"key_file,omitempty"`
	// Secret is shared with the issuer, 32 bytes or more: "${JWT_SECRET}".
	Secret string `json:"secret,omitempty"`
}

// Introspection is a server that knows which tokens are active.
type Introspection struct {
	// URL is the endpoint; https, or on this machine.
	URL string `json:"url"`
	// ClientID and ClientSecret are the gateway's own credentials: "${OAUTH_SECRET}".
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	// Audience must be among the token's audiences. Default: any.
	Audience string `json:"audience,omitempty"`
	// CacheTTL is how long the result for an active token is cached. Default: 30s; "off".
	CacheTTL Duration `json:"cache_ttl,omitempty"`
}

// Forward names the headers that identify the caller to upstreams. The client's own headers
// of these names are removed.
type Forward struct {
	// Subject, Tenant, Scopes and Tags are names of headers. Upstreams may trust
	// them only if they are reachable through the gateway alone.
	Subject string `json:"subject,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	Scopes  string `json:"scopes,omitempty"`
	Tags    string `json:"tags,omitempty"`
	// Signed is the name of a header with a JWT about the caller, signed with Secret.
	Signed string `json:"signed,omitempty"`
	// Secret has 32 bytes or more: "${FORWARD_SECRET}".
	Secret string `json:"secret,omitempty"`
	// Issuer and Audience are claims of the signed header.
	Issuer   string `json:"issuer,omitempty"`
	Audience string `json:"audience,omitempty"`
}

// IP is the stage that restricts client addresses.
type IP struct {
	// Allow are the CIDR ranges that may call. Default: all.
	Allow []string `json:"allow,omitempty"`
	// Deny are the CIDR ranges that may not; it takes precedence over Allow. Default: none.
	Deny []string `json:"deny,omitempty"`
}
