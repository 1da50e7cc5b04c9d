package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const upstreamA = `"upstreams": {"a": {"endpoints": [{"url": "http://127.0.0.1:1"}]}}`

func withGroup(fields string, top ...string) string {
	group := `{"path": "/", "stages": [], "upstream": "a"` + fields + `}`
	if strings.Contains(fields, "stages") {
		group = strings.Replace(group, `"stages": [], `, "", 1)
	}
	return `{` + strings.Join(append(top, upstreamA), ", ") + `, "groups": [` + group + `]}`
}

func withTop(fields string) string { return withGroup("", fields) }

func withUpstream(fields string) string {
	return `{"upstreams": {"a": {"endpoints": [{"url": "http://127.0.0.1:1"}]` + fields + `}}, "groups": [{"path": "/", "stages": [], "upstream": "a"}]}`
}

func withTable(table string) string {
	return `{` + upstreamA + `, "groups": [{"path": "/", "routing": {"table": ` + table + `}}]}`
}

// Every bad configuration is refused with file, field and reason, and exit code 2.
func TestBadConfig(t *testing.T) {
	t.Setenv("GATEWAY_TEST_UNSET", "")
	tests := map[string]struct{ text, want string }{
		"empty":              {``, `:1: the text ends too early`},
		"syntax":             {"{\n\"groups\": [,]}", `:2: invalid character ','`},
		"cut off":            {`{"groups": [`, `:1: the text ends too early`},
		"text after":         {withGroup("") + "{}", `:1: text after the end`},
		"nothing but depth":  {strings.Repeat("[", 5000), `:1: too deep`},
		"field twice":        {withGroup(`, "path": "/x"`), `:1: groups[0].path: appears twice`},
		"unknown field":      {"{\"groups\": [{\n\"pth\": \"/\"}]}", `:2: groups[0].pth: unknown field`},
		"another case":       {"{\n\"Groups\": []}", `:2: Groups: unknown field; "groups" is meant?`},
		"wrong type":         {"{\n\"groups\": 7}", `:2: groups: a number can't stand here`},
		"type in a map":      {withUpstream(`, "breaker": {"callers": 7}`), `:1: upstreams.a.breaker.callers: a number can't stand here, want bool`},
		"duration":           {withGroup(`, "proxy": {"idle": 30}`), `:1: groups[0].proxy.idle: a duration is written as "30s"`},
		"negative duration":  {withGroup(`, "proxy": {"idle": "-3s"}`), `:1: groups[0].proxy.idle: "-3s" is not a duration`},
		"no groups":          {`{}`, `groups: at least one is needed`},
		"address":            {`{"public": {"address": "8080"},` + withGroup("")[1:], `public.address: "8080" is not host:port`},
		"trusted":            {`{"trusted_proxies": ["10.0.0.1"],` + withGroup("")[1:], `trusted_proxies[0]: "10.0.0.1" is not a CIDR`},
		"path":               {strings.Replace(withGroup(""), `"/"`, `"v1"`, 1), `groups[0].path: "v1" must begin with /`},
		"method":             {withGroup(`, "methods": ["get"]`), `groups[0].methods[0]: "get" is not a method`},
		"stage":              {strings.Replace(withGroup(""), `[]`, `["tokn"]`, 1), `groups[0].stages[0]: "tokn" is unknown; known: ip, auth, routing, limits, cache, stream`},
		"no upstream":        {strings.Replace(withGroup(""), `, "upstream": "a"`, ``, 1), `groups[0].upstream: is needed when the routing stage is off; known: a`},
		"unknown upstream":   {strings.Replace(withGroup(""), `"upstream": "a"`, `"upstream": "b"`, 1), `groups[0].upstream: "b" is unknown; known: a`},
		"no table":           {strings.Replace(withGroup(""), `[]`, `["routing"]`, 1), `groups[0].routing: the stage is on and has no table`},
		"keys":               {withTop(`"auth": {"keys": "/nope.json"}`), `auth.keys: auth: open /nope.json`},
		"issuer":             {withTop(`"auth": {"jwt": [{"issuer": "http://op.example", "audience": "a"}]}`), `auth.jwt[0]: auth: KeySetConfig.Issuer: must be https`},
		"no audience":        {withTop(`"auth": {"jwt": [{"issuer": "https://op.example"}]}`), `auth.jwt[0]: auth: JWTConfig needs Issuer and Audience`},
		"two sources":        {withTop(`"auth": {"jwt": [{"issuer": "https://op.example", "audience": "a", "jwks": "https://a", "key_file": "b"}]}`), `auth.jwt[0]: only one of jwks, key_file and secret`},
		"short secret":       {withTop(`"auth": {"jwt": [{"issuer": "a", "audience": "a", "secret": "short"}]}`), `auth.jwt[0]: auth: NewSecrets: secret 0 has fewer than 32 bytes`},
		"unset secret":       {withTop(`"auth": {"jwt": [{"issuer": "a", "audience": "a", "secret": "${GATEWAY_TEST_UNSET}"}]}`), `auth.jwt[0].secret: the environment variable GATEWAY_TEST_UNSET is not set`},
		"algorithm":          {withTop(`"auth": {"jwt": [{"issuer": "https://a", "audience": "a", "algorithms": ["none"]}]}`), `"none" is unknown`},
		"introspection":      {withTop(`"auth": {"introspection": {"url": "http://op.example", "client_id": "a", "client_secret": "b"}}`), `auth.introspection: auth: IntrospectionConfig.URL: must be https`},
		"certificates":       {withTop(`"auth": {"certificates": true}`), `auth.certificates: needs public.tls.client_ca`},
		"forward":            {withTop(`"auth": {"forward": {"subject": "a b"}}`), `auth.forward: auth: ForwardConfig.Subject: "a b" is not a header name`},
		"addresses":          {withGroup(`, "stages": ["ip"], "ip": {"allow": ["10.0.0.1/8"]}`), `groups[0]: auth: IPFilterConfig.Allow: [0]: "10.0.0.1/8" has bits set`},
		"limit's unit":       {withTop(`"limits": {"a": {"unit": "bytes", "by": "ip", "rate": "1/s"}}`), `limits.a.unit: "bytes" is unknown; known: requests, tokens`},
		"limit's key":        {withTop(`"limits": {"a": {"unit": "tokens", "by": "header:", "rate": "1/s"}}`), `limits.a.by: "header:" is unknown; known: subject, tenant, ip, everybody, header:NAME`},
		"limit's rate":       {withTop(`"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "1/d"}}`), `:1: limits.a.rate: "1/d" is not a rate such as "50/s"`},
		"no rate":            {withGroup(`, "limits": ["a"]`, `"limits": {"a": {"unit": "tokens", "by": "ip"}}`), `limits.a: either rate or budget is needed`},
		"limit's period":     {withTop(`"limits": {"a": {"unit": "tokens", "by": "ip", "budget": 1, "period": "week"}}`), `limits.a.period: "week" is unknown; known: day, month`},
		"unknown limit":      {withGroup(`, "limits": ["b"]`, `"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "1/s"}}`), `groups[0].limits[0]: "b" is unknown; known: a`},
		"limit twice":        {withGroup(`, "limits": ["a", "a"]`, `"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "1/s"}}`), `groups[0].limits[1]: "a" is named twice`},
		"nobody to limit":    {withGroup(`, "limits": ["a"]`, `"limits": {"a": {"unit": "tokens", "by": "tenant", "rate": "1/s"}}`), `groups[0].limits[0]: "a" goes by the caller, and the auth stage is off`},
		"wait":               {withGroup(`, "wait": {"max": "0s"}`), `groups[0].wait.max: must be above 0`},
		"concurrency":        {withGroup(`, "stages": ["limits"], "concurrency": {"min": 9, "max": 3}`), `groups[0]: ratelimit: AdaptiveConfig: Min 9`},
		"redis":              {withTop(`"redis": {"addresses": [], "replicas": 0}`), `redis.addresses: at least one is needed`},
		"redis' replicas":    {withTop(`"redis": {"addresses": ["127.0.0.1:1"], "replicas": 0}`), `redis.replicas: how many gateways`},
		"redis' policy":      {withTop(`"redis": {"addresses": ["127.0.0.1:1"], "replicas": 1, "when_down": "panic"}`), `redis.when_down: "panic" is unknown; known: share, deny, allow`},
		"client's authority": {`{"public": {"tls": {"cert": "/nope.pem", "key": "/nope.key", "client_ca": "/nope.ca"}},` + withGroup("")[1:], `public.tls.client_ca: open /nope.ca`},
		"two groups":         {`{` + upstreamA + `, "groups": [{"path": "/x", "stages": [], "upstream": "a"}, {"path": "/x/", "stages": [], "upstream": "a"}]}`, `groups[1].path: "/x/" is taken`},
		"tries":              {withGroup(`, "proxy": {"tries": 99}`), `groups[0].proxy.tries: must be 1 to 10`},
		"proxy timeout":      {withGroup(`, "proxy": {"connect": "3ns"}`), `groups[0]: proxy: Timeouts.Connect: 3ns is below a millisecond`},
		"stream limits":      {strings.Replace(withGroup(`, "stream": {"heartbeat": "1h"}`), `[]`, `["stream"]`, 1), `groups[0]: stream: Config.Heartbeat`},
		"no endpoints":       {strings.Replace(withUpstream(""), `{"url": "http://127.0.0.1:1"}`, ``, 1), `upstreams.a.endpoints: at least one is needed`},
		"endpoint":           {strings.Replace(withUpstream(""), `http://`, `ftp://`, 1), `upstreams.a.endpoints[0].url: "ftp://127.0.0.1:1" is not a base URL`},
		"weight":             {strings.Replace(withUpstream(""), `:1"`, `:1", "weight": -1`, 1), `upstreams.a.endpoints[0].weight: must not be negative`},
		"policy":             {withUpstream(`, "policy": "random"`), `upstreams.a.policy: "random" is unknown; known: least_request, cadence, conversations, round_robin, hash`},
		"hash without key":   {withUpstream(`, "policy": "hash"`), `upstreams.a.hash: "policy": "hash" and "hash" go together`},
		"hash with two keys": {withUpstream(`, "policy": "hash", "hash": {"header": "a", "body": "b"}`), `upstreams.a.hash: exactly one of header, body and subject`},
		"cors":               {withGroup(`, "cors": {"origins": []}`), `groups[0].cors.origins: at least one is needed`},
		"cors path":          {withGroup(`, "cors": {"origins": ["https://a.example/"]}`), `groups[0].cors.origins[0]: "https://a.example/" is not an origin`},
		"cors in a name":     {withGroup(`, "cors": {"origins": ["https://a*.example"]}`), `groups[0].cors.origins[0]: "https://a*.example" is not an origin`},
		"cors null":          {withGroup(`, "cors": {"origins": ["null"]}`), `groups[0].cors.origins[0]: "null" is not an origin`},
		"cors for all":       {withGroup(`, "cors": {"origins": ["*"], "credentials": true}`), `groups[0].cors.origins[0]: every origin must not have credentials`},
		"cors for days":      {withGroup(`, "cors": {"origins": ["*"], "max_age": "48h"}`), `groups[0].cors.max_age: must be between`},
		"body budget":        {withTop(`"memory": {"body_budget": -1}`), `memory: limit_percent is 1 to 100 or -1, gogc is positive or -1, body_budget is positive`},
		"body share":         {withTop(`"memory": {"body_share": 1.5}`), `body_share is above 0 and at most 1`},
		"no room for a body": {withGroup(`, "proxy": {"max_body": 1000}`, `"memory": {"body_budget": 2000, "body_share": 0.25}`), `groups[0].proxy.max_body: 1000 bytes have no room in the 500 that`},
		"max body":           {withGroup(`, "proxy": {"max_body": -2}`), `groups[0].proxy.max_body: is a number of bytes, or -1`},
		"stall":              {withGroup(`, "proxy": {"idle": "1m", "stall": "2m"}`), `groups[0].proxy.stall: is never reached: idle ends a response after 1m0s`},
		"stream's idle":      {strings.Replace(withGroup(`, "stream": {"idle": "10m"}`), `[]`, `["stream"]`, 1), `groups[0].stream.idle: is never reached: proxy.idle ends a response after 5m0s`},
		"stream's total":     {withGroup(`, "proxy": {"total": "1m"}, "stream": {"total": "2m"}`), `groups[0].stream.total: is never reached: proxy.total ends a response after 1m0s`},
		"breaker off":        {withUpstream(`, "breaker": {"off": true, "ramp": []}`), `upstreams.a.breaker.off: is set, and other options beside it do nothing`},
		"slow percent":       {withUpstream(`, "breaker": {"slow_percent": 50}`), `upstreams.a.breaker.slow_percent: needs slow_first_byte`},
		"step without ramp":  {withUpstream(`, "breaker": {"ramp": [], "step": "2s"}`), `upstreams.a.breaker.step: does nothing when ramp is empty`},
		"ramp":               {withUpstream(`, "breaker": {"ramp": [2]}`), `upstreams.a: breaker: Settings.Ramp: 2 is not within 0 and 1`},
		"successes":          {withUpstream(`, "breaker": {"successes": -1}`), `upstreams.a: breaker: Settings: Successes can't be off`},
		"protocol":           {withUpstream(`, "protocol": "http3"`), `upstreams.a.protocol: "http3" is unknown; known: http1, http2, h2c`},
		"health path":        {withUpstream(`, "health": {"path": "x"}`), `upstreams.a.health.path: "x" must begin with /`},
		"unset variable":     {withUpstream(`, "headers": {"Authorization": "Bearer ${GATEWAY_TEST_UNSET}"}`), `upstreams.a.headers.Authorization: the environment variable GATEWAY_TEST_UNSET is not set`},
		"header value":       {withUpstream(`, "headers": {"X": "a\nb"}`), `upstreams.a.headers.X: the value has characters`},
		"missing CA":         {withUpstream(`, "ca_file": "/nope.pem"`), `upstreams.a: `},
		"certificate":        {`{"public": {"tls": {"cert": "/nope.pem", "key": "/nope.key"}},` + withGroup("")[1:], `public.tls: open /nope.pem`},
		"table's field":      {withTable("{\"routes\": [\n{\"version\": \"a\", \"wieght\": 1}]}"), `:2: groups[0].routing.table.routes[0].wieght: unknown field`},
		"table's upstream":   {withTable("{\"routes\": [\n\n{\"version\": \"zz\"}]}"), `:3: groups[0].routing.table.routes[0].version: there is no upstream "zz"; known: a`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := write(t, "my.json", tt.text)
			var out, errs bytes.Buffer
			assert.Equal(t, exitConfig, run([]string{"-check", "-config", path}, &out, &errs, nil))
			assert.Contains(t, errs.String(), path, "the file is named")
			assert.Contains(t, strings.ReplaceAll(errs.String(), path, ""), tt.want)
			assert.Empty(t, out.String())
		})
	}
}

// All faults are told at once.
func TestAllFaults(t *testing.T) {
	t.Parallel()
	_, err := load(t, write(t, "my.json", `{"public": {"address": "x"}, "groups": [{"path": "a", "stages": ["b"], "upstream": "v9"}]}`))
	for _, want := range []string{"public.address", "groups[0].path", "groups[0].stages[0]", "groups[0].upstream"} {
		require.ErrorContains(t, err, want)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	assert.Equal(t, exitConfig, run([]string{"-nope"}, &out, &errs, nil))
	assert.Contains(t, errs.String(), "-config")
	errs.Reset()
	assert.Equal(t, exitConfig, run([]string{"-config", "/nope.json"}, &out, &errs, nil))
	assert.Contains(t, errs.String(), "/nope.json")
	assert.Equal(t, exitOK, run([]string{"-check"}, &out, &errs, nil))
	assert.Equal(t, "the configuration is good\n", out.String())
}

func TestYAML(t *testing.T) {
	t.Parallel()
	const text = `
upstreams:
  a:
    endpoints: [{url: "http://127.0.0.1:1"}]
groups:
  - path: /
    stages: []
    upstream: a
    proxy: {idle: 30s}
`
	g, err := load(t, write(t, "my.yaml", text))
	require.NoError(t, err)
	assert.Equal(t, "30s", mustText(t, g.current.Load().cfg.Groups[0].Proxy.Idle))
	_, err = load(t, write(t, "my.yml", text+"groups: []\n"))
	require.ErrorContains(t, err, "my.yml", "a key twice")
	_, err = load(t, write(t, "my.yaml", strings.Replace(text, "upstream: a", "upstrem: a", 1)))
	assert.ErrorContains(t, err, "groups[0].upstrem: unknown field")
}

func mustText(t *testing.T, d Duration) string {
	t.Helper()
	b, err := d.MarshalJSON()
	require.NoError(t, err)
	return strings.Trim(string(b), `"`)
}

// The configurations in README.md and in the guides are good.
func TestReadme(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "key")
	t.Setenv("OAUTH_SECRET", "secret")
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```")
	var configs []string
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			configs = append(configs, block[1])
		}
	}
	cert, key := authority(t, "server")
	for i, config := range configs {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Chdir(t.TempDir())
			for name, text := range map[string]string{"keys.json": `{"keys": []}`, "tls.crt": string(cert), "tls.key": string(key)} {
				require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
			}
			if !strings.Contains(config, `"groups"`) { // one group of a configuration
				config = `{"upstreams": {"web": {"endpoints": [{"url": "http://127.0.0.1:1"}]}}, "groups": [` + config + `]}`
			}
			_, err := load(t, write(t, "my.json", config))
			require.NoError(t, err, config)
		})
	}
}

// A refused change leaves what is in force, and says why.
func TestRefusedReload(t *testing.T) {
	t.Parallel()
	path := write(t, "my.json", withGroup(""))
	g, err := load(t, path)
	require.NoError(t, err)
	before := g.current.Load()
	require.NoError(t, os.WriteFile(path, []byte(`{"groups": []}`), 0o600))
	require.Error(t, g.load(t.Context()))
	assert.Same(t, before, g.current.Load())
	assert.Contains(t, g.status().LastError, "groups: at least one is needed")
	require.NoError(t, os.WriteFile(path, []byte(withGroup("")), 0o600))
	require.NoError(t, g.load(t.Context()))
	assert.Empty(t, g.status().LastError)
	assert.Same(t, before, g.current.Load(), "the same text is no change")
}

// A pool that did not change keeps its health and counts over a reload.
func TestPoolsOutliveReloads(t *testing.T) {
	t.Parallel()
	path := write(t, "my.json", withGroup(""))
	g, err := load(t, path)
	require.NoError(t, err)
	before := g.pools["a"]
	require.NoError(t, os.WriteFile(path, []byte(withGroup(`, "proxy": {"tries": 1}`)), 0o600))
	require.NoError(t, g.load(t.Context()))
	assert.Same(t, before, g.pools["a"])
	require.NoError(t, os.WriteFile(path, []byte(withUpstream(`, "slow_start": "1s"`)), 0o600))
	require.NoError(t, g.load(t.Context()))
	assert.NotSame(t, before, g.pools["a"])
}

func FuzzParse(f *testing.F) {
	f.Add(string(builtin))
	f.Add(withGroup(""))
	f.Add(`{"groups":[{"path":"/","stages":["routing"],"routing":{"table":{"routes":[]}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		src := source{name: "x.json", text: []byte(text)}
		cfg, err := src.parse()
		if (cfg == nil) == (err == nil) {
			t.Fatal("neither a configuration nor an error, or both")
		}
	})
}
