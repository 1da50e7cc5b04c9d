package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ginfer/ginfer/routing/rollout"
)

func (c *cli) listRollouts(ctx context.Context, f *flags) error {
	var all []rollout.Status
	if err := f.operators().get(ctx, "/rollouts", &all); err != nil {
		return err
	}
	t := c.table("NAME", "STATE", "SHARE", "FOR", "EVIDENCE", "REASON")
	for i := range all {
		t.row(rolloutRow(&all[i])...)
	}
	t.end()
	return nil
}

// rolloutRow says how far a rollout is, and what speaks most against its canary.
func rolloutRow(s *rollout.Status) []any {
	var worst rollout.Check
	evidence := "-"
	for _, check := range s.Checks {
		if check.Limit > 0 && check.Evidence*worst.Limit >= worst.Evidence*check.Limit {
			worst = check
			evidence = fmt.Sprintf("%s %.3g of %.0f", check.Name, check.Evidence, check.Limit)
		}
	}
	return []any{s.Name, s.State, fmt.Sprintf("%.4g %%", 100*s.Share), time.Since(s.Since).Round(time.Second), evidence, s.Reason}
}

// decideRollout does by hand what the command's second word says.
func decideRollout(action string) func(*cli, context.Context, *flags) error {
	return func(c *cli, ctx context.Context, f *flags) error {
		var s rollout.Status
		path := "/rollouts/" + url.PathEscape(f.Arg(0)) + "/" + action
		if err := f.operators().call(ctx, http.MethodPost, path, strings.NewReader(""), nil, &s); err != nil {
			return err
		}
		fmt.Fprintln(c.out, plain(fmt.Sprintf("%s %v %.4g %%", s.Name, s.State, 100*s.Share)))
		return nil
	}
}
