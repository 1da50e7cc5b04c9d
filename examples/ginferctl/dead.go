package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
)

// letter is a dead letter.
type letter struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Of        string `json:"of"`
	Tenant    string `json:"tenant"`
	Reason    string `json:"reason"`
	Attempts  int    `json:"attempts"`
	CreatedAt int64  `json:"created_at"`
}

func (c *cli) listDead(ctx context.Context, f *flags) error {
	letters, err := all[letter](ctx, f.operators(), "/queue/dead", f.limit)
	t := c.table("ID", "KIND", "OF", "TENANT", "ATTEMPTS", "SINCE", "REASON")
	for i := range letters {
		l := &letters[i]
		t.row(l.ID, l.Kind, l.Of, l.Tenant, l.Attempts, ago(l.CreatedAt), l.Reason)
	}
	t.end()
	return err
}

// replayDead replays one dead letter, or all.
func (c *cli) replayDead(ctx context.Context, f *flags) error {
	api, ids := f.operators(), []string{f.Arg(0)}
	if ids[0] == "all" {
		letters, err := all[letter](ctx, api, "/queue/dead", math.MaxInt)
		if err != nil {
			return err
		}
		ids = nil
		for i := range letters {
			ids = append(ids, letters[i].ID)
		}
	}
	for _, id := range ids {
		var done struct {
			ReplayedAs string `json:"replayed_as"`
		}
		if err := api.call(ctx, http.MethodPost, "/queue/dead/"+url.PathEscape(id)+"/replay", nil, nil, &done); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		fmt.Fprintln(c.out, id, done.ReplayedAs)
	}
	return nil
}

func (c *cli) deleteDead(ctx context.Context, f *flags) error {
	var v json.RawMessage
	return f.operators().call(ctx, http.MethodDelete, "/queue/dead/"+url.PathEscape(f.Arg(0)), nil, nil, &v)
}

func (c *cli) status(ctx context.Context, f *flags) error {
	return c.show(ctx, f.operators(), "/queue")
}

// table writes columns.
type table struct{ w *tabwriter.Writer }

func (c *cli) table(head ...string) table {
	t := table{tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.w, strings.Join(head, "\t"))
	return t
}

func (t table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		fmt.Fprint(t.w, plain(fmt.Sprint(cell)))
	}
	fmt.Fprintln(t.w)
}

func (t table) end() { _ = t.w.Flush() }

// plain removes control characters, since the texts come from callers.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

func ago(unix int64) string { return time.Since(time.Unix(unix, 0)).Round(time.Second).String() }
