package proxy

import (
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/reach"
)

// early relays 1xx responses (RFC 9110 §15.2), which gin's writer can't: it only records the
// status. They arrive on the transport's goroutine while the handler waits in RoundTrip, so the
// header map is free. It is restored afterwards; httputil.ReverseProxy clears it
// (golang/go#81207).
type early struct {
	mu    sync.Mutex
	over  bool
	w     http.ResponseWriter // sends a 1xx at once; nil: there is none
	trace httptrace.ClientTrace
}

func (e *early) start(c *gin.Context) {
	if e.w = reach.Of(c.Request.Context(), c.Writer).Informational(); e.w != nil {
		e.trace.Got1xxResponse = e.relay
	}
}

func (e *early) relay(code int, header textproto.MIMEHeader) error {
	if code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil // between the transport and the upstream
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return nil
	}
	h := e.w.Header()
	saved := maps.Clone(h)
	clear(h)
	copyHeader(h, http.Header(header))
	e.w.WriteHeader(code)
	clear(h)
	maps.Copy(h, saved)
	return nil
}

// stop ensures that no further 1xx is written: one may arrive when the attempt is given up and
// others use the writer.
func (e *early) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
}
