package main

import (
	"fmt"
	"io"
)

// banner tells a person where everything is, and what to paste.
func banner(w io.Writer, p *ports, g *gateway) {
	public, private := p.public.url(), p.private.url()
	token := g.token
	if !g.current.Load().authn.one {
		token = "$KEY" // the operator's callers have their own
	}
	_, _ = fmt.Fprintf(w, `public: %[1]s
private: %[2]s
token: %[3]s
config: %[4]s
page: %[2]s/admin/

Try:
  curl %[1]s/v1/models -H 'Authorization: Bearer %[3]s'
  curl %[1]s/v1/chat/completions -H 'Authorization: Bearer %[3]s' -H 'Content-Type: application/json' -d '{"model":"demo","messages":[{"role":"user","content":"What is a gateway?"}]}'
  curl -N %[1]s/v1/chat/completions -H 'Authorization: Bearer %[3]s' -H 'Content-Type: application/json' -H 'X-User-Id: alice' -d '{"model":"demo","stream":true,"messages":[{"role":"user","content":"What is a gateway?"}]}'
`, public, private, token, g.current.Load().source.name)
}
