package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// job has the fields of a job that the command uses.
type job struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Priority  string `json:"priority"`
	URL       string `json:"url"`
	Attempts  int    `json:"attempts"`
	CreatedAt int64  `json:"created_at"`
}

func (j *job) done() bool { return j.Status != "queued" && j.Status != "in_progress" }

func (c *cli) submitJob(ctx context.Context, f *flags) error {
	in := c.in
	if name := f.Arg(0); name != "-" {
		file, err := os.Open(name) //nolint:gosec // the user's own
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	request := map[string]any{"url": f.endpoint, "body": json.RawMessage(b)}
	if f.priority != "" {
		request["priority"] = f.priority
	}
	if f.expires > 0 {
		request["expires_in"] = int64(f.expires / time.Second)
	}
	if f.webhook != "" {
		request["webhook"] = map[string]string{"url": f.webhook}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	h := jsonHeader()
	h.Set("Idempotency-Key", cmp.Or(f.key, rand.Text()))
	var j job
	if err := c.retry(ctx, func() error {
		return f.api().call(ctx, http.MethodPost, "/jobs", strings.NewReader(string(body)), h, &j)
	}); err != nil {
		return err
	}
	if !f.wait {
		fmt.Fprintln(c.out, j.ID)
		return nil
	}
	fmt.Fprintln(c.info, j.ID)
	return c.result(ctx, f, j.ID)
}

// retry repeats a call that may succeed soon, a few times. The Idempotency-Key makes that safe.
func (c *cli) retry(ctx context.Context, call func() error) error {
	const attempts = 5
	wait := time.NewTimer(0)
	defer wait.Stop()
	for attempt := 1; ; attempt++ {
		err := call()
		if err == nil || !passing(err) || attempt == attempts {
			return err
		}
		wait.Reset(c.poll << (attempt - 1))
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// result waits for a job and writes its response.
func (c *cli) result(ctx context.Context, f *flags, id string) error {
	api, path := f.api(), "/jobs/"+url.PathEscape(id)
	for {
		var j job
		if err := c.retry(ctx, func() error { return api.get(ctx, path+"?wait=60s", &j) }); err != nil {
			return err
		}
		if j.done() {
			return c.into(f, func(w io.Writer) error { return api.save(ctx, path+"/result", w) })
		}
	}
}

func (c *cli) waitJob(ctx context.Context, f *flags) error { return c.result(ctx, f, f.Arg(0)) }

func (c *cli) getJob(ctx context.Context, f *flags) error {
	return c.show(ctx, f.api(), "/jobs/"+url.PathEscape(f.Arg(0)))
}

func (c *cli) cancelJob(ctx context.Context, f *flags) error {
	var j job
	err := f.api().call(ctx, http.MethodPost, "/jobs/"+url.PathEscape(f.Arg(0))+"/cancel", nil, nil, &j)
	if err == nil {
		fmt.Fprintln(c.out, j.Status)
	}
	return err
}

func (c *cli) listJobs(ctx context.Context, f *flags) error {
	jobs, err := all[job](ctx, f.api(), "/jobs", f.limit)
	t := c.table("ID", "STATUS", "PRIORITY", "ATTEMPTS", "URL", "CREATED")
	for i := range jobs {
		j := &jobs[i]
		t.row(j.ID, j.Status, j.Priority, j.Attempts, j.URL, ago(j.CreatedAt))
	}
	t.end()
	return err
}
