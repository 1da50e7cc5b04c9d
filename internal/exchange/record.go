package exchange

import (
	"net/http"
	"sync"
	"time"

	"github.com/ginfer/ginfer/internal/llm"
)

// record is the part of an attempt that is filled in while it runs: its endpoint, its response,
// its end, and the hooks for them.
type record struct {
	mu       sync.Mutex
	endpoint string
	version  string
	others   int

	head     time.Time
	content  time.Time
	status   int
	header   http.Header
	grpc     int          // the grpc-status in the header; -1: none
	body     *body        // nil: there is none yet
	room     body         // memory for it
	scanner  *llm.Scanner // from the pool of scanners, until the end; unread while nothing is scanned
	scans    bool
	events   int64
	bytes    int64
	blank    bool // only white space so far
	eof      bool
	closed   bool
	panicked bool
	err      error
	ended    bool
	end      End
	hooks    hooks
}

// Endpoint returns the attempt's endpoint; "" without a balancer.
func (r *record) Endpoint() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endpoint
}

// SetVersion records the model version that the attempt goes to, for layers below that keep
// versions apart.
func (r *record) SetVersion(version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version = version
}

// Version returns the version that SetVersion recorded; "" without routing.
func (r *record) Version() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

// SetOthers records the number of other available endpoints that are still unused.
func (r *record) SetOthers(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.others = n
}

// Others returns the number that SetOthers recorded.
func (r *record) Others() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.others
}

func (r *record) isEnded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// works reports whether the stream has a reason to be silent.
func (r *record) works() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scanner.Phase() == llm.PhaseWork
}

// hasContent reports whether the response has content so far. In a format that is not
// scanned, everything but white space counts. The caller holds r.mu.
func (r *record) hasContent() bool {
	if r.scans && r.scanner.Declared() {
		return r.scanner.Opening() == llm.Begun
	}
	return !r.blank
}

// scanEvents has the filter decide on each event that ends in p. The caller holds r.mu; it
// is released while the filter runs.
func (r *record) scanEvents(p []byte, f *filtering) {
	for at := 0; at < len(p) && r.scans; {
		n, ended := r.scanner.WriteEvent(p[at:])
		at += n
		if ended {
			e := r.scanner.LastEvent()
			r.mu.Unlock()
			f.event(at, e)
			r.mu.Lock()
		}
	}
}

// hasOpened reports whether enough was read to judge the attempt.
func (r *record) hasOpened() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended || !r.content.IsZero() || r.scanner.Opening() != llm.Silent
}

// recycle returns the scanner to the pool: the End has its results. The caller holds r.mu.
func (r *record) recycle() {
	if r.scanner == unread() {
		return
	}
	scanners.Put(r.scanner)
	r.scanner, r.scans = unread(), false
}

// ending returns the End with this verdict. The caller holds r.mu.
func (r *record) ending(a *Attempt, v Verdict) End {
	s := r.scanner
	usage, counted := s.Usage()
	api := a.api
	if r.body != nil {
		api = s.API()
	}
	return End{
		Verdict: v, Attempt: a, Status: r.status, Header: r.header, Said: s.Failure(),
		Stream: s.Stream(), Whole: r.eof && !s.Cut() || s.Terminal(), Readable: s.Readable(),
		Usage: usage, Counted: counted, Delivered: s.Delivered(), Events: s.Events(), Finish: s.Finish(), Place: s.Place(), API: api, Summary: s.Summary(),
		Start: a.start, Head: r.head, Content: r.content, Over: time.Now(), Bytes: r.bytes,
	}
}

// Status returns the response's status; 0: there is no response yet.
func (r *record) Status() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Header returns the response's header; nil: there is no response yet. It must not be changed.
func (r *record) Header() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.header
}

// IsStream reports whether the response is a stream with scanned events.
func (r *record) IsStream() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body != nil && r.body.stream
}

// Delivered returns the estimated number of tokens received so far.
func (r *record) Delivered() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		return r.end.Delivered
	case r.scans:
		return r.scanner.Delivered()
	}
	return 0
}

// Place returns the position in the attempt's stream, from which the terminal event of a broken
// stream is made.
func (r *record) Place() llm.Place {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		return r.end.Place
	case !r.scans:
		return llm.Place{}
	}
	return r.scanner.Place()
}
