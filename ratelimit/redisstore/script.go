package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/redis/go-redis/v9"
)

// call is the part of a script call for one bucket.
type call struct {
	bucket key
	args   []any
	reply  []float64 // nil: it failed
}

// run runs a script on some buckets in one round trip, and fills in the replies, with a
// number of values each.
func (s *Store) run(ctx context.Context, script *redis.Script, calls []call, numbers int) error {
	groups := s.group(calls)
	commands := s.send(ctx, script, groups)
	var faults []error
	for i, g := range groups {
		cmd := commands[i]
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") { // the server does not have the script
			keys, args := s.words(g)
			cmd = script.Eval(ctx, s.cfg.Client, keys, args...)
		}
		err := cmd.Err()
		// When another node fails, go-redis sets that error here too, beside the reply.
		if reply, ok := cmd.Val().([]any); ok {
			err = share(g, reply, numbers)
		}
		faults = append(faults, err)
	}
	return fault.Join(faults...)
}

// group groups the calls by command: all in one, but on a cluster only those with the same
// hash tag.
func (s *Store) group(calls []call) (groups [][]*call) {
	for i := range calls {
		c := &calls[i]
		at := slices.IndexFunc(groups, func(g []*call) bool {
			return !s.cluster || g[0].bucket.tag == c.bucket.tag
		})
		if at < 0 {
			groups = append(groups, make([]*call, 0, len(calls)-i))
			at = len(groups) - 1
		}
		groups[at] = append(groups[at], c)
	}
	return groups
}

// send sends one command per group, in one pipeline.
func (s *Store) send(ctx context.Context, script *redis.Script, groups [][]*call) []*redis.Cmd {
	if len(groups) == 1 {
		keys, args := s.words(groups[0])
		return []*redis.Cmd{script.EvalSha(ctx, s.cfg.Client, keys, args...)}
	}
	commands := make([]*redis.Cmd, len(groups))
	_, _ = s.cfg.Client.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its own error
		for i, g := range groups {
			keys, args := s.words(g)
			commands[i] = script.EvalSha(ctx, p, keys, args...)
		}
		return nil
	})
	return commands
}

// words returns the keys and arguments of a command.
func (s *Store) words(group []*call) (keys []string, args []any) {
	keys = make([]string, len(group))
	args = append(make([]any, 0, 2+len(group)*6), s.cfg.Holder, s.cfg.Expiry.Milliseconds())
	for i, c := range group {
		keys[i] = c.bucket.name
		args = append(args, c.args...)
	}
	return keys, args
}

// share distributes a reply to the calls.
func share(group []*call, reply []any, numbers int) error {
	if len(reply) != len(group)*numbers {
		return fmt.Errorf("unexpected reply %.100v", reply)
	}
	for i, c := range group {
		c.reply = make([]float64, numbers)
		for j := range c.reply {
			text, _ := reply[i*numbers+j].(string)
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return fmt.Errorf("unexpected reply %.100v", reply)
			}
			c.reply[j] = v
		}
	}
	return nil
}
