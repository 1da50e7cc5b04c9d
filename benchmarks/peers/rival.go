package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rival is a proxy to compare with.
type rival struct {
	name, title string
	program     string // it is skipped when this is not installed
	args        func(s *setup) ([]string, error)
}

// setup is where a rival listens, and what it forwards to.
type setup struct {
	dir, self      string // this program
	gateway        string // its binary
	address, admin string
	endpoints      []string // of the same model server
}

// rivals in the order of the report.
func rivals(before string) []rival {
	self := func(role string) func(*setup) ([]string, error) {
		return func(s *setup) ([]string, error) { return []string{s.self, role, s.address, s.endpoints[0]}, nil }
	}
	all := []rival{
		{"haproxy", "HAProxy, JWT and rate", "haproxy", haproxy},
		{"nginx", "nginx, key and rate", "nginx", nginx},
		{"traefik", "Traefik, key and rate", "traefik", traefik},
		{"bare", "bare `httputil.ReverseProxy`, tuned", "", self("bare")},
		{"gin", "gin-jwt, ulule/limiter, gobreaker, ReverseProxy", "", self("gin")},
		{"gateway", "**ginfer's gateway**", "", func(s *setup) ([]string, error) { return gateway(s, s.gateway) }},
	}
	if before != "" {
		all = append(all, rival{"before", "ginfer's gateway before", "", func(s *setup) ([]string, error) { return gateway(s, before) }})
	}
	return all
}

// installed are the rivals that can run here and are asked for.
func installed(all []rival, only string) (found []rival) {
	for _, r := range all {
		_, err := exec.LookPath(r.program)
		if (r.program == "" || err == nil) && (only == "" || strings.Contains(","+only+",", ","+r.name+",")) {
			found = append(found, r)
		}
	}
	return found
}

func (s *setup) file(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// gateway has JWT, two limits, routing by version, two endpoints with breakers, the stream guard,
// token counts, access log, metrics, recent requests and live figures.
func gateway(s *setup, program string) ([]string, error) {
	file, err := s.file(filepath.Base(program)+".json", fmt.Sprintf(`{
"public": {"address": %q}, "private": {"address": %q},
"auth": {"jwt": [{"issuer": "https://op.example", "audience": "api", "algorithms": ["HS256"], "secret": %q}]},
"limits": {"requests": {"unit": "requests", "by": "subject", "rate": "1000000/s", "burst": 1000000},
  "tokens": {"unit": "tokens", "by": "tenant", "rate": "1000000000/s", "burst": 10000000000}},
"upstreams": {"v1": {"endpoints": [{"url": "http://%s"}, {"url": "http://%s"}]}},
"groups": [{"path": "/v1", "stages": ["auth", "routing", "limits", "stream"], "limits": ["requests", "tokens"],
  "routing": {"table": {"routes": [{"model": "demo", "version": "v1"}, {"model": "idle", "version": "v1"}]}}}]}`,
		s.address, s.admin, secret, s.endpoints[0], s.endpoints[1]))
	return []string{program, "-config", file}, err
}

func haproxy(s *setup) ([]string, error) {
	file, err := s.file("haproxy.cfg", fmt.Sprintf(`global
  nbthread 1
  maxconn 9900
defaults
  mode http
  timeout client 5m
  timeout server 5m
  timeout connect 5s
  option http-keep-alive
frontend in
  bind %s
  http-request set-var(txn.token) http_auth_bearer
  http-request deny deny_status 401 unless { var(txn.token),jwt_verify("HS256","%s") 1 }
  stick-table type string len 64 size 100k expire 1m store http_req_rate(10s)
  http-request track-sc0 var(txn.token),jwt_payload_query('$.sub')
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 100000000 }
  default_backend model
backend model
  balance leastconn
  http-reuse always
  server a %s
  server b %s
`, s.address, secret, s.endpoints[0], s.endpoints[1]))
	return []string{"haproxy", "-db", "-f", file}, err
}

func nginx(s *setup) ([]string, error) {
	file, err := s.file("nginx.conf", fmt.Sprintf(`daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.error;
events { worker_connections 20000; }
http {
  access_log %[1]s/nginx.access;
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  client_max_body_size 10m; client_body_buffer_size 512k;
  keepalive_requests 1000000000;
  limit_req_zone $http_x_api_key zone=callers:1m rate=1000000r/s;
  upstream model { server %[3]s; server %[4]s; keepalive 10000; keepalive_requests 1000000000; }
  server {
    listen %[2]s;
    location / {
      if ($http_x_api_key != "%[5]s") { return 401; }
      limit_req zone=callers burst=100000 nodelay;
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 5m;
    }
  }
}`, s.dir, s.address, s.endpoints[0], s.endpoints[1], secret))
	return []string{"nginx", "-c", file}, err
}

func traefik(s *setup) ([]string, error) {
	routes, err := s.file("routes.yml", fmt.Sprintf(`http:
  routers:
    model: {rule: "Header(`+"`X-Api-Key`, `%s`"+`)", service: model, middlewares: [rate]}
  middlewares:
    rate: {rateLimit: {average: 1000000, burst: 1000000, sourceCriterion: {requestHeaderName: X-Api-Key}}}
  services:
    model: {loadBalancer: {servers: [{url: "http://%s"}, {url: "http://%s"}], responseForwarding: {flushInterval: 1ms}}}
`, secret, s.endpoints[0], s.endpoints[1]))
	if err != nil {
		return nil, err
	}
	file, err := s.file("traefik.yml", fmt.Sprintf(`entryPoints: {web: {address: "%s"}}
providers: {file: {filename: %s}}
accessLog: {filePath: %s/traefik.access}
serversTransport: {maxIdleConnsPerHost: 10000}
`, s.address, routes, s.dir))
	return []string{"traefik", "--configFile=" + file}, err
}
