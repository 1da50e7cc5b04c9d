package jet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/ginctx"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// conn is the connection that the parts of a Store share.
type conn struct {
	cfg Config
	nc  *nats.Conn
	js  jetstream.JetStream
}

const (
	attempts       = 4
	attemptTimeout = 3 * time.Second
	backoff        = 150 * time.Millisecond
)

type hastyKey struct{}

// hasteLimit bounds a call with a Hasty context, so that a client gets its response within a
// second.
const hasteLimit = 700 * time.Millisecond

// Hasty returns a context for calls that a client waits for.
func Hasty(ctx context.Context) context.Context { return context.WithValue(ctx, hastyKey{}, true) }

func hasty(ctx context.Context) bool { return ginctx.Value(ctx, hastyKey{}) != nil }

// retry calls a function, which must be idempotent, until it succeeds or fails for
// good. A call shortly after the loss of a broker can time out.
func (c *conn) retry(ctx context.Context, call func(context.Context) error) error {
	if hasty(ctx) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, hasteLimit)
		defer cancel()
	}
	var err error
	for attempt := range attempts {
		err = nats.ErrDisconnected // a call would time out
		if c.nc.IsConnected() {
			err = once(ctx, call)
		}
		if err == nil || !temporary(err) || ctx.Err() != nil || attempt == attempts-1 {
			break
		}
		if !Sleep(ctx, backoff<<attempt) {
			break
		}
	}
	return classify(err)
}

func once(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return call(ctx)
}

// create is retry for calls that must not be interrupted: a server that stops while it
// creates a stream may leave it incomplete.
func (c *conn) create(ctx context.Context, call func(context.Context) error) error {
	return c.retry(ctx, func(ctx context.Context) error { return once(context.WithoutCancel(ctx), call) })
}

// inline is the longest payload, in bytes, that is sent within a message.
func (c *conn) inline() int { return min(int(c.nc.MaxPayload())-16<<10, 512<<10) }

// last reads the last message of a subject.
func (c *conn) last(ctx context.Context, in jetstream.Stream, subject string) (m *jetstream.RawStreamMsg, err error) {
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		m, err = in.GetLastMsgForSubject(ctx, subject)
		return err
	})
	if errors.Is(err, ErrNotFound) && c.cfg.Replicas > 1 {
		return c.newest(ctx, in, subject)
	}
	return m, err
}

// newest reads from the leader of a stream. The client does so only for streams
// without direct reads.
func (c *conn) newest(ctx context.Context, in jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	var m *jetstream.RawStreamMsg
	err = c.retry(ctx, func(ctx context.Context) error {
		reply, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+in.CachedInfo().Config.Name, request)
		if err == nil {
			m, err = readReply(reply.Data)
		}
		return err
	})
	return m, err
}

func readReply(data []byte) (*jetstream.RawStreamMsg, error) {
	var reply struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Seq  uint64 `json:"seq"`
			Hdrs []byte `json:"hdrs"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, reply.Error
	}
	if reply.Message == nil {
		return nil, jetstream.ErrMsgNotFound
	}
	m := &jetstream.RawStreamMsg{Sequence: reply.Message.Seq, Data: reply.Message.Data}
	if len(reply.Message.Hdrs) > 0 {
		h, err := nats.DecodeHeadersMsg(reply.Message.Hdrs)
		if err != nil {
			return nil, err
		}
		m.Header = h
	}
	return m, nil
}

// Notify sends a word about an ID to all processes. It may be lost.
func (c *conn) Notify(id, word string) {
	_ = c.nc.Publish(c.cfg.Name+".n."+id, []byte(word))
}

// Listen calls each with every notification, those of this process too, until stop is
// called.
func (c *conn) Listen(each func(id, word string)) (stop func(), err error) {
	prefix := c.cfg.Name + ".n."
	sub, err := c.nc.Subscribe(prefix+"*", func(m *nats.Msg) { each(strings.TrimPrefix(m.Subject, prefix), string(m.Data)) })
	if err != nil {
		return nil, classify(err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Sleep waits for d. It returns false if ctx ends before.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
