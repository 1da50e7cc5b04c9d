package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
	"github.com/stretchr/testify/assert"
)

func withTop(fields string) string { return gatewaytest.WithGroup("", fields) }

// Every bad configuration is refused with file, field and reason, and exit code 2.
func TestBadConfig(t *testing.T) {
	t.Setenv("GATEWAY_TEST_UNSET", "")
	tests := map[string]struct{ text, want string }{
		"empty":              {``, `:1: the text ends too early`},
		"syntax":             {"{\n\"groups\": [,]}", `:2: invalid character ','`},
		"cut off":            {`{"groups": [`, `:1: the text ends too early`},
		"text after":         {gatewaytest.WithGroup("") + "{}", `:1: text after the end`},
		"nothing but depth":  {strings.Repeat("[", 5000), `:1: too deep`},
		"field twice":        {gatewaytest.WithGroup(`, "path": "/x"`), `:1: groups[0].path: appears twice`},
		"unknown field":      {"{\"groups\": [{\n\"pth\": \"/\"}]}", `:2: groups[0].pth: unknown field`},
		"another case":       {"{\n\"Groups\": []}", `:2: Groups: unknown field; "groups" is meant?`},
		"wrong type":         {"{\n\"groups\": 7}", `:2: groups: a number can't stand here`},
		"type in a map":      {gatewaytest.WithUpstream(`, "breaker": {"callers": 7}`), `:1: upstreams.a.breaker.callers: a number can't stand here, want bool`},
		"duration":           {gatewaytest.WithGroup(`, "proxy": {"idle": 30}`), `:1: groups[0].proxy.idle: a duration is written as "30s"`},
		"negative duration":  {gatewaytest.WithGroup(`, "proxy": {"idle": "-3s"}`), `:1: groups[0].proxy.idle: "-3s" is not a duration`},
		"no groups":          {`{}`, `groups: at least one is needed`},
		"address":            {`{"public": {"address": "8080"},` + gatewaytest.WithGroup("")[1:], `public.address: "8080" is not host:port`},
		"socket":             {`{"public": {"address": "unix:gateway.sock"},` + gatewaytest.WithGroup("")[1:], `public.address: "unix:gateway.sock" is not the absolute path`},
		"socket mode":        {`{"private": {"socket_mode": "rw"},` + gatewaytest.WithGroup("")[1:], `private.socket_mode: "rw" are not permissions`},
		"endpoint's socket":  {strings.Replace(gatewaytest.WithUpstream(""), `http://127.0.0.1:1`, `unix:vllm.sock`, 1), `upstreams.a.endpoints[0].url: "unix:vllm.sock" is not a base URL`},
		"trusted":            {`{"trusted_proxies": ["10.0.0.1"],` + gatewaytest.WithGroup("")[1:], `trusted_proxies[0]: "10.0.0.1" is not a CIDR`},
		"path":               {strings.Replace(gatewaytest.WithGroup(""), `"/"`, `"v1"`, 1), `groups[0].path: "v1" must begin with /`},
		"method":             {gatewaytest.WithGroup(`, "methods": ["get"]`), `groups[0].methods[0]: "get" is not a method`},
		"stage":              {strings.Replace(gatewaytest.WithGroup(""), `[]`, `["tokn"]`, 1), `groups[0].stages[0]: "tokn" is unknown; known: ip, auth, routing, limits, cache, stream`},
		"no upstream":        {strings.Replace(gatewaytest.WithGroup(""), `, "upstream": "a"`, ``, 1), `groups[0].upstream: is needed when the routing stage is off; known: a`},
		"unknown upstream":   {strings.Replace(gatewaytest.WithGroup(""), `"upstream": "a"`, `"upstream": "b"`, 1), `groups[0].upstream: "b" is unknown; known: a`},
		"no table":           {strings.Replace(gatewaytest.WithGroup(""), `[]`, `["routing"]`, 1), `groups[0].routing: the stage is on and has no table`},
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
		"addresses":          {gatewaytest.WithGroup(`, "stages": ["ip"], "ip": {"allow": ["10.0.0.1/8"]}`), `groups[0]: auth: IPFilterConfig.Allow: [0]: "10.0.0.1/8" has bits set`},
		"limit's unit":       {withTop(`"limits": {"a": {"unit": "bytes", "by": "ip", "rate": "1/s"}}`), `limits.a.unit: "bytes" is unknown; known: requests, tokens`},
		"limit's key":        {withTop(`"limits": {"a": {"unit": "tokens", "by": "header:", "rate": "1/s"}}`), `limits.a.by: "header:" is unknown; known: subject, tenant, ip, everybody, header:NAME`},
		"limit's rate":       {withTop(`"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "1/d"}}`), `:1: limits.a.rate: "1/d" is not a rate such as "50/s"`},
		"no rate":            {gatewaytest.WithGroup(`, "limits": ["a"]`, `"limits": {"a": {"unit": "tokens", "by": "ip"}}`), `limits.a: either rate or budget is needed`},
		"limit's period":     {withTop(`"limits": {"a": {"unit": "tokens", "by": "ip", "budget": 1, "period": "week"}}`), `limits.a.period: "week" is unknown; known: day, month`},
		"unknown limit":      {gatewaytest.WithGroup(`, "limits": ["b"]`, `"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "1/s"}}`), `groups[0].limits[0]: "b" is unknown; known: a`},
		"limit twice":        {gatewaytest.WithGroup(`, "limits": ["a", "a"]`, `"limits": {"a": {"unit": "tokens", "by": "ip", "rate": "1/s"}}`), `groups[0].limits[1]: "a" is named twice`},
		"no caller to limit": {gatewaytest.WithGroup(`, "limits": ["a"]`, `"limits": {"a": {"unit": "tokens", "by": "tenant", "rate": "1/s"}}`), `groups[0].limits[0]: "a" depends on the caller, and the auth stage is off`},
		"wait":               {gatewaytest.WithGroup(`, "wait": {"max": "0s"}`), `groups[0].wait.max: must be above 0`},
		"concurrency":        {gatewaytest.WithGroup(`, "stages": ["limits"], "concurrency": {"min": 9, "max": 3}`), `groups[0]: ratelimit: AdaptiveConfig: Min 9`},
		"redis":              {withTop(`"redis": {"addresses": [], "replicas": 0}`), `redis.addresses: at least one is needed`},
		"redis' replicas":    {withTop(`"redis": {"addresses": ["127.0.0.1:1"], "replicas": 0}`), `redis.replicas: how many gateways`},
		"redis' policy":      {withTop(`"redis": {"addresses": ["127.0.0.1:1"], "replicas": 1, "failure_mode": "panic"}`), `redis.failure_mode: "panic" is unknown; known: local_share, fail_closed, fail_open`},
		"client's authority": {`{"public": {"tls": {"cert": "/nope.pem", "key": "/nope.key", "client_ca": "/nope.ca"}},` + gatewaytest.WithGroup("")[1:], `public.tls.client_ca: open /nope.ca`},
		"two groups":         {`{` + gatewaytest.UpstreamA + `, "groups": [{"path": "/x", "stages": [], "upstream": "a"}, {"path": "/x/", "stages": [], "upstream": "a"}]}`, `groups[1].path: "/x/" is taken`},
		"attempts":           {gatewaytest.WithGroup(`, "proxy": {"attempts": 99}`), `groups[0].proxy.attempts: must be 1 to 10`},
		"tries":              {gatewaytest.WithGroup(`, "proxy": {"tries": 99}`), `:1: groups[0].proxy.tries: must be 1 to 10`},
		"both names":         {gatewaytest.WithGroup(`, "proxy": {"tries": 2, "attempts": 2}`), `:1: groups[0].proxy.tries: is the old name of attempts; set only attempts`},
		"proxy timeout":      {gatewaytest.WithGroup(`, "proxy": {"connect": "3ns"}`), `groups[0]: proxy: Timeouts.Connect: 3ns is below a millisecond`},
		"stream limits":      {strings.Replace(gatewaytest.WithGroup(`, "stream": {"heartbeat": "1h"}`), `[]`, `["stream"]`, 1), `groups[0]: stream: Config.Heartbeat`},
		"no endpoints":       {strings.Replace(gatewaytest.WithUpstream(""), `{"url": "http://127.0.0.1:1"}`, ``, 1), `upstreams.a.endpoints: at least one is needed`},
		"endpoint":           {strings.Replace(gatewaytest.WithUpstream(""), `http://`, `ftp://`, 1), `upstreams.a.endpoints[0].url: "ftp://127.0.0.1:1" is not a base URL`},
		"weight":             {strings.Replace(gatewaytest.WithUpstream(""), `:1"`, `:1", "weight": -1`, 1), `upstreams.a.endpoints[0].weight: must not be negative`},
		"replica wait":       {gatewaytest.WithGroup(`, "cache": {"replica_wait": "5s"}`), `groups[0].cache.replica_wait: other replicas are reached through redis`},
		"policy":             {gatewaytest.WithUpstream(`, "policy": "random"`), `upstreams.a.policy: "random" is unknown; known: least_request, token_rate, prefix_affinity, round_robin, hash`},
		"hash without key":   {gatewaytest.WithUpstream(`, "policy": "hash"`), `upstreams.a.hash: "policy": "hash" and "hash" go together`},
		"hash with two keys": {gatewaytest.WithUpstream(`, "policy": "hash", "hash": {"header": "a", "body": "b"}`), `upstreams.a.hash: exactly one of header, body and subject`},
		"hash load bound":    {gatewaytest.WithUpstream(`, "policy": "hash", "hash": {"header": "a", "load_bound": 1}`), `upstreams.a.hash.load_bound: 1 must be at least 1.01`},
		"cors":               {gatewaytest.WithGroup(`, "cors": {"origins": []}`), `groups[0].cors.origins: at least one is needed`},
		"cors path":          {gatewaytest.WithGroup(`, "cors": {"origins": ["https://a.example/"]}`), `groups[0].cors.origins[0]: "https://a.example/" is not an origin`},
		"cors in a name":     {gatewaytest.WithGroup(`, "cors": {"origins": ["https://a*.example"]}`), `groups[0].cors.origins[0]: "https://a*.example" is not an origin`},
		"cors null":          {gatewaytest.WithGroup(`, "cors": {"origins": ["null"]}`), `groups[0].cors.origins[0]: "null" is not an origin`},
		"cors for all":       {gatewaytest.WithGroup(`, "cors": {"origins": ["*"], "credentials": true}`), `groups[0].cors.origins[0]: every origin must not have credentials`},
		"cors for days":      {gatewaytest.WithGroup(`, "cors": {"origins": ["*"], "max_age": "48h"}`), `groups[0].cors.max_age: must be between`},
		"body budget":        {withTop(`"memory": {"body_budget": -1}`), `memory: limit_percent is 1 to 100 or -1, gogc is positive or -1, body_budget is positive`},
		"body share":         {withTop(`"memory": {"body_share": 1.5}`), `body_share is above 0 and at most 1`},
		"no room for a body": {gatewaytest.WithGroup(`, "proxy": {"max_body": 1000}`, `"memory": {"body_budget": 2000, "body_share": 0.25}`), `groups[0].proxy.max_body: 1000 bytes exceed the 500 that`},
		"max body":           {gatewaytest.WithGroup(`, "proxy": {"max_body": -2}`), `groups[0].proxy.max_body: is a number of bytes, or -1`},
		"stall":              {gatewaytest.WithGroup(`, "proxy": {"idle": "1m", "stall": "2m"}`), `groups[0].proxy.stall: is never reached: idle ends a response after 1m0s`},
		"stream's idle":      {strings.Replace(gatewaytest.WithGroup(`, "stream": {"idle": "10m"}`), `[]`, `["stream"]`, 1), `groups[0].stream.idle: is never reached: proxy.idle ends a response after 5m0s`},
		"stream's total":     {gatewaytest.WithGroup(`, "proxy": {"total": "1m"}, "stream": {"total": "2m"}`), `groups[0].stream.total: is never reached: proxy.total ends a response after 1m0s`},
		"breaker off":        {gatewaytest.WithUpstream(`, "breaker": {"off": true, "ramp": []}`), `upstreams.a.breaker.off: is set, and other options beside it have no effect`},
		"slow percent":       {gatewaytest.WithUpstream(`, "breaker": {"slow_percent": 50}`), `upstreams.a.breaker.slow_percent: needs slow_first_byte`},
		"step without ramp":  {gatewaytest.WithUpstream(`, "breaker": {"ramp": [], "step": "2s"}`), `upstreams.a.breaker.step: has no effect when ramp is empty`},
		"ramp":               {gatewaytest.WithUpstream(`, "breaker": {"ramp": [2]}`), `upstreams.a: breaker: Settings.Ramp: 2 is not within 0 and 1`},
		"successes":          {gatewaytest.WithUpstream(`, "breaker": {"successes": -1}`), `upstreams.a: breaker: Settings: Successes can't be off`},
		"protocol":           {gatewaytest.WithUpstream(`, "protocol": "http3"`), `upstreams.a.protocol: "http3" is unknown; known: http1, http2, h2c`},
		"health path":        {gatewaytest.WithUpstream(`, "health": {"path": "x"}`), `upstreams.a.health.path: "x" must begin with /`},
		"unset variable":     {gatewaytest.WithUpstream(`, "headers": {"Authorization": "Bearer ${GATEWAY_TEST_UNSET}"}`), `upstreams.a.headers.Authorization: the environment variable GATEWAY_TEST_UNSET is not set`},
		"header value":       {gatewaytest.WithUpstream(`, "headers": {"X": "a\nb"}`), `upstreams.a.headers.X: the value has characters`},
		"forward proxy":      {gatewaytest.WithUpstream(`, "proxy": "ftp://user:secret@p"`), `upstreams.a.proxy: must be none or a URL such as http://proxy:3128`},
		"proxy's variable":   {gatewaytest.WithUpstream(`, "proxy": "http://u:${GATEWAY_TEST_UNSET}@p"`), `upstreams.a.proxy: the environment variable GATEWAY_TEST_UNSET is not set`},
		"idle connections":   {gatewaytest.WithUpstream(`, "connections": {"idle": 4}`), `:1: upstreams.a.connections.idle: a duration is written as "30s"`},
		"connections' count": {gatewaytest.WithUpstream(`, "connections": {"max_requests": -2}`), `upstreams.a.connections.max_requests: must be -1 (unlimited) or more`},
		"connections kept":   {gatewaytest.WithUpstream(`, "connections": {"max_idle": -2}`), `upstreams.a.connections.max_idle: must be -1 (none) or more`},
		"most connections":   {gatewaytest.WithUpstream(`, "connections": {"max": -1}`), `upstreams.a.connections.max: must not be negative`},
		"missing CA":         {gatewaytest.WithUpstream(`, "ca_file": "/nope.pem"`), `upstreams.a: `},
		"certificate":        {`{"public": {"tls": {"cert": "/nope.pem", "key": "/nope.key"}},` + gatewaytest.WithGroup("")[1:], `public.tls: open /nope.pem`},
		"table's field":      {gatewaytest.WithTable("{\"routes\": [\n{\"version\": \"a\", \"wieght\": 1}]}"), `:2: groups[0].routing.table.routes[0].wieght: unknown field`},
		"table's upstream":   {gatewaytest.WithTable("{\"routes\": [\n\n{\"version\": \"zz\"}]}"), `:3: groups[0].routing.table.routes[0].version: there is no upstream "zz"; known: a`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := gatewaytest.Write(t, "my.json", tt.text)
			var out, errs bytes.Buffer
			assert.Equal(t, exitConfig, run([]string{"-check", "-config", path}, &out, &errs, nil))
			assert.Contains(t, errs.String(), path, "the file is named")
			assert.Contains(t, strings.ReplaceAll(errs.String(), path, ""), tt.want)
			assert.Empty(t, out.String())
		})
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

// The configurations in README.md are valid.
func TestReadme(t *testing.T) { gatewaytest.CheckConfigs(t, "README.md") }
