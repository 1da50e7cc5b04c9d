package jobs

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue/internal/hook"
)

// Webhooks configures the webhooks of jobs. A call is a POST, signed as
// https://www.standardwebhooks.com specifies. The receiver must verify the signature and
// respond with a 2xx status.
type Webhooks struct {
	// Secrets sign the calls: "whsec_" and 24 to 64 bytes in base64. Each call has a
	// signature of every secret, so that a new one can be added before an old one is
	// removed. Required.
	Secrets []string
	// Hosts are the hosts that may be called: names, or ".example.com" for all
	// subdomains. Default: all with public addresses.
	Hosts []string
	// Networks are networks that may be called although they are not public. Default:
	// none.
	Networks []netip.Prefix
	// PlainHTTP allows URLs without TLS. Default: false.
	PlainHTTP bool
	// Timeout bounds one call. Default: 10 s.
	Timeout time.Duration
	// Attempts is the maximum number of attempts of a call before it is a dead letter.
	// Default: 10.
	Attempts int
	// Backoff is the wait before the second attempt. It doubles, up to an hour. Default:
	// 5 s.
	Backoff time.Duration
	// Concurrency is the number of calls that run at once in this process. Default: 16.
	Concurrency int
}

func (w *Webhooks) check() error {
	if w == nil {
		return nil
	}
	var faults []error
	if len(w.Secrets) == 0 {
		faults = append(faults, errors.New("jobs: Webhooks.Secrets is required"))
	}
	for i, s := range w.Secrets {
		if _, err := hook.Secret(s); err != nil {
			faults = append(faults, fmt.Errorf("jobs: Webhooks.Secrets[%d]: %w", i, err))
		}
	}
	if w.Timeout < 0 || w.Attempts < 0 || w.Backoff < 0 || w.Concurrency < 0 {
		faults = append(faults, errors.New("jobs: a bound in Webhooks is negative"))
	}
	return fault.Join(faults...)
}

func (w *Webhooks) complete() *Webhooks {
	c := *w
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Attempts = cmp.Or(c.Attempts, 10)
	c.Backoff = cmp.Or(c.Backoff, 5*time.Second)
	c.Concurrency = cmp.Or(c.Concurrency, 16)
	return &c
}
