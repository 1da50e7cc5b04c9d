package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// batch has the fields of a batch that the command uses.
type batch struct {
	ID           string  `json:"id"`
	Status       string  `json:"status"`
	Endpoint     string  `json:"endpoint"`
	OutputFileID *string `json:"output_file_id"`
	ErrorFileID  *string `json:"error_file_id"`
	CreatedAt    int64   `json:"created_at"`
	Counts       counts  `json:"request_counts"`
	Errors       *struct {
		Data []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Line    *int   `json:"line"`
		} `json:"data"`
	} `json:"errors"`
}

type counts struct {
	Total     int `json:"total"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
}

func (b *batch) done() bool {
	switch b.Status {
	case "completed", "failed", "expired", "cancelled":
		return true
	}
	return false
}

func (c *cli) submitBatch(ctx context.Context, f *flags) error {
	api := f.api()
	file, err := upload(ctx, api, f.Arg(0))
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"input_file_id": file, "endpoint": f.endpoint, "completion_window": "24h"})
	if err != nil {
		return err
	}
	var b batch
	if err := api.call(ctx, http.MethodPost, "/batches", strings.NewReader(string(body)), jsonHeader(), &b); err != nil {
		return err
	}
	fmt.Fprintln(c.out, b.ID)
	if f.watch {
		return c.watch(ctx, api, b.ID)
	}
	return nil
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// upload streams a file, of any size.
func upload(ctx context.Context, api *client, name string) (id string, err error) {
	in, err := os.Open(name) //nolint:gosec // the user's own
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	go func() {
		err := form.WriteField("purpose", "batch")
		if err == nil {
			var part io.Writer
			if part, err = form.CreateFormFile("file", filepath.Base(name)); err == nil {
				_, err = io.Copy(part, in)
			}
		}
		if err == nil {
			err = form.Close()
		}
		_ = w.CloseWithError(err)
	}()
	var file struct {
		ID string `json:"id"`
	}
	err = api.call(ctx, http.MethodPost, "/files", r, http.Header{"Content-Type": {form.FormDataContentType()}}, &file)
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the writer in any case
	return file.ID, err
}

func (c *cli) listBatches(ctx context.Context, f *flags) error {
	batches, err := all[batch](ctx, f.api(), "/batches", f.limit)
	t := c.table("ID", "STATUS", "DONE", "FAILED", "TOTAL", "CREATED")
	for i := range batches {
		b := &batches[i]
		t.row(b.ID, b.Status, b.Counts.Completed, b.Counts.Failed, b.Counts.Total, ago(b.CreatedAt))
	}
	t.end()
	return err
}

func batchPath(f *flags) string { return "/batches/" + url.PathEscape(f.Arg(0)) }

func (c *cli) getBatch(ctx context.Context, f *flags) error {
	return c.show(ctx, f.api(), batchPath(f))
}

// show writes an object as the API returns it.
func (c *cli) show(ctx context.Context, api *client, path string) error {
	var v json.RawMessage
	if err := api.get(ctx, path, &v); err != nil {
		return err
	}
	return c.write(v)
}

func (c *cli) write(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (c *cli) cancelBatch(ctx context.Context, f *flags) error {
	var b batch
	err := f.api().call(ctx, http.MethodPost, batchPath(f)+"/cancel", nil, nil, &b)
	if err == nil {
		fmt.Fprintln(c.out, b.Status)
	}
	return err
}

func (c *cli) watchBatch(ctx context.Context, f *flags) error { return c.watch(ctx, f.api(), f.Arg(0)) }

// maxMisses is how many requests in a row may fail while a batch is watched.
const maxMisses = 60

// watch shows the progress of a batch until it ends.
func (c *cli) watch(ctx context.Context, api *client, id string) error {
	bar := progressbar.NewOptions(1, progressbar.OptionSetWriter(c.info), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(c.poll/10), progressbar.OptionSetRenderBlankState(true))
	tick := time.NewTicker(c.poll)
	defer tick.Stop()
	for misses := 0; ; {
		var b batch
		err := api.get(ctx, "/batches/"+url.PathEscape(id), &b)
		switch {
		case err == nil:
			misses = 0
			draw(bar, &b)
			if b.done() {
				fmt.Fprintln(c.info)
				return c.verdict(&b)
			}
		case !passing(err) || misses == maxMisses:
			return err
		default:
			misses++
			bar.Describe("no response")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func draw(bar *progressbar.ProgressBar, b *batch) {
	bar.Describe(fmt.Sprintf("%-11s", b.Status))
	if b.Counts.Total > 0 {
		bar.ChangeMax(b.Counts.Total)
		_ = bar.Set(b.Counts.Completed + b.Counts.Failed)
	}
}

// verdict prints how a batch ended.
func (c *cli) verdict(b *batch) error {
	fmt.Fprintf(c.info, "%s: %d of %d done, %d failed\n", b.Status, b.Counts.Completed, b.Counts.Total, b.Counts.Failed)
	if b.Errors != nil {
		for _, e := range b.Errors.Data {
			line := ""
			if e.Line != nil {
				line = fmt.Sprintf("line %d: ", *e.Line)
			}
			fmt.Fprintf(c.info, "  %s%s (%s)\n", line, e.Message, e.Code)
		}
	}
	if b.Status != "completed" {
		return fmt.Errorf("%w: %s", errFailed, b.Status)
	}
	return nil
}

func (c *cli) batchResults(ctx context.Context, f *flags) error {
	api := f.api()
	var b batch
	if err := api.get(ctx, batchPath(f), &b); err != nil {
		return err
	}
	id := b.OutputFileID
	if f.failed {
		id = b.ErrorFileID
	}
	switch {
	case !b.done():
		return fmt.Errorf("%w: %s", errEarly, b.Status)
	case id == nil:
		fmt.Fprintln(c.info, "there are none")
		return nil
	}
	return c.into(f, func(w io.Writer) error { return api.save(ctx, "/files/"+url.PathEscape(*id)+"/content", w) })
}

// into calls write with the output that -o names.
func (c *cli) into(f *flags, write func(io.Writer) error) error {
	if f.output == "-" {
		return write(c.out)
	}
	file, err := os.Create(f.output) //nolint:gosec // the user's own
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
