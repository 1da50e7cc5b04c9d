package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/ginfer/ginfer/queue/internal/jet"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
)

// outputView is a line of an output file, as the OpenAI API has it.
type outputView struct {
	ID       string        `json:"id"`
	CustomID string        `json:"custom_id"`
	Response *responseLine `json:"response"`
	Error    *lineError    `json:"error"`
}

type responseLine struct {
	StatusCode int             `json:"status_code"`
	RequestID  string          `json:"request_id"`
	Body       json.RawMessage `json:"body"`
}

// outputLine is the line of an answer.
func outputLine(t *task, a *answer) []byte {
	v := outputView{ID: newID("batch_req_"), CustomID: t.CustomID}
	if a.err != nil {
		v.Error = errorOf(a.err)
		return encodeLine(&v)
	}
	body := json.RawMessage(a.body)
	if !json.Valid(body) {
		body, _ = json.Marshal(string(a.body)) // a text can always be
	}
	v.Response = &responseLine{StatusCode: a.status, RequestID: a.requestID(), Body: body}
	if v.Response.RequestID == "" {
		v.Response.RequestID = t.name()
	}
	return encodeLine(&v)
}

// encodeLine leaves the texts as they came: no <>& is escaped.
func encodeLine(v *outputView) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // everything in it is valid
	return b.Bytes()
}

// missing is the line of a request that was not carried out.
func missing(customID, status string) []byte {
	e := &lineError{"batch_expired", "This request could not be executed before the completion window expired."}
	if status == statusCancelled {
		e = &lineError{"batch_cancelled", "This request was not executed before the batch was cancelled."}
	}
	return encodeLine(&outputView{ID: newID("batch_req_"), CustomID: customID, Error: e})
}

// seal fixes which results count, and the names of the files.
func (b *driver) seal(ctx context.Context) error {
	last, err := b.store.LastResult(ctx)
	if err != nil {
		return err
	}
	s := &seal{Last: last, OutputID: newID(filePrefix), ErrorID: newID(filePrefix)}
	err = b.update(ctx, func(rec *batchRecord) {
		now := time.Now()
		rec.Seal = s
		switch {
		case rec.Status == statusCancelling:
			s.Status = statusCancelled
			return
		case len(rec.Errors) > 0:
			s.Status = statusFailed
		case rec.OK+rec.Bad < rec.Total && !now.Before(rec.Expires):
			s.Status = statusExpired // unless all are there after all
		default:
			s.Status = statusCompleted
		}
		rec.Status, rec.Finalizing = statusFinalizing, now
	})
	if err == nil {
		b.store.Notify(b.rec.ID, wordStop) // what still runs is for nothing
	}
	return err
}

// finish makes the files and ends the batch. It can be done again: the files are the
// same each time.
func (b *driver) finish(ctx context.Context) error {
	m := newMaker(b)
	if b.rec.Total > 0 {
		if err := m.make(ctx); err != nil {
			return err
		}
	}
	if err := m.record(ctx); err != nil {
		return err
	}
	kind := Done
	err := b.update(ctx, func(rec *batchRecord) {
		now := time.Now()
		rec.OK, rec.Bad, rec.Usage = m.ok, m.bad, m.tokens.sum
		rec.Output, rec.ErrorFile = m.files()
		rec.Status = rec.Seal.Status
		if rec.Status == statusExpired && m.missing == 0 {
			rec.Status = statusCompleted
		}
		switch rec.Status {
		case statusExpired:
			rec.Expired, kind = now, Expired
		case statusCancelled:
			rec.Cancelled, kind = now, Cancelled
		case statusFailed:
			rec.Failed, kind = now, Failed
		default:
			rec.Completed = now
		}
	})
	if err != nil {
		return err
	}
	b.event(ctx, kind)
	_ = b.store.DropResults(ctx, b.rec.ID) // they are in the files; else they expire
	return nil
}

// maker puts the files together, in the order of the input.
type maker struct {
	*driver
	output, errors *sink
	// What the lines are.
	ok, bad, missing int
	// tokens are counted here because here each line is read once, and as one result.
	tokens tokens
}

func newMaker(b *driver) *maker {
	return &maker{driver: b, output: &sink{id: b.rec.Seal.OutputID, store: b.store}, errors: &sink{id: b.rec.Seal.ErrorID, store: b.store}}
}

const (
	// makeChunk lines are read together, makeReaders at once.
	makeChunk   = 256
	makeReaders = 16
)

func (m *maker) make(ctx context.Context) (err error) {
	in, err := m.input(ctx, 0, 0)
	if err != nil && !errors.Is(err, jet.ErrNotFound) {
		return err
	}
	defer func() { err = errors.Join(err, m.output.close(err), m.errors.close(err)) }()
	for first := 0; first < m.rec.Total; first += makeChunk {
		results, err := m.results(ctx, first, min(makeChunk, m.rec.Total-first))
		if err != nil {
			return err
		}
		for _, r := range results {
			customID, err := m.customID(&in)
			if err == nil {
				err = m.line(ctx, customID, r)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// customID reads the next line's. When the input was deleted under way, all that is
// known of a line is in its result.
func (m *maker) customID(in **jsonl.Reader) (string, error) {
	if *in == nil {
		return "", nil
	}
	raw, err := (*in).Next()
	if errors.Is(err, jet.ErrNotFound) {
		*in = nil
		return "", nil
	}
	if err != nil {
		return "", noEOF(err)
	}
	l, _ := m.rules().Check(raw)
	return l.CustomID, nil
}

// results reads the results of n lines. One without has no outcome.
func (m *maker) results(ctx context.Context, first, n int) ([]jet.Result, error) {
	all, faults := make([]jet.Result, n), make([]error, n)
	var wg sync.WaitGroup
	for reader := range makeReaders {
		wg.Go(func() {
			for i := reader; i < n; i += makeReaders {
				r, err := m.store.Result(ctx, m.rec.ID, first+i)
				switch {
				case errors.Is(err, jet.ErrNotFound), err == nil && r.Sequence > m.rec.Seal.Last:
				case err != nil:
					faults[i] = err
				default:
					all[i] = r
				}
			}
		})
	}
	wg.Wait()
	return all, errors.Join(faults...)
}

func (m *maker) line(ctx context.Context, customID string, r jet.Result) error {
	m.tokens.add(r.Value)
	switch r.Outcome {
	case outcomeOK:
		m.ok++
		return m.output.write(ctx, r.Value)
	case "":
		m.bad++
		m.missing++
		return m.errors.write(ctx, missing(customID, m.rec.Seal.Status))
	}
	m.bad++
	return m.errors.write(ctx, r.Value)
}

// files are the IDs of those that were needed.
func (m *maker) files() (output, errorFile string) { return m.output.used(), m.errors.used() }

// record lists the files among those of the owner.
func (m *maker) record(ctx context.Context) error {
	now := time.Now()
	expires := now.Add(m.q.cfg.FileTTL)
	if m.rec.OutputTTL > 0 && now.Add(m.rec.OutputTTL).Before(expires) {
		expires = now.Add(m.rec.OutputTTL)
	}
	for s, name := range map[*sink]string{m.output: "_output.jsonl", m.errors: "_error.jsonl"} {
		if s.used() == "" {
			continue
		}
		rec := &fileRecord{ID: s.id, Owner: m.rec.Owner, Name: m.rec.ID + name, Purpose: purposeOutput, Bytes: s.size, Created: now, Expires: expires}
		if err := createFile(ctx, m.store, rec); err != nil && !errors.Is(err, jet.ErrExists) {
			return err
		}
	}
	return nil
}

// sink stores what is written to it. It begins with the first write.
type sink struct {
	id    string
	store *jet.Store
	w     *io.PipeWriter
	end   chan error
	size  int64
}

func (s *sink) write(ctx context.Context, line []byte) error {
	if s.w == nil {
		r, w := io.Pipe()
		s.w, s.end = w, make(chan error, 1)
		go func() {
			n, err := s.store.Save(ctx, s.id, r)
			s.size = n
			_ = r.CloseWithError(err)
			s.end <- err
		}()
	}
	_, err := s.w.Write(line)
	return err
}

// close waits until all is stored. An err leaves nothing.
func (s *sink) close(err error) error {
	if s.w == nil {
		return nil
	}
	_ = s.w.CloseWithError(err)
	return <-s.end
}

func (s *sink) used() string {
	if s.w == nil {
		return ""
	}
	return s.id
}
