package batch

import (
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jsonl"
)

// view is a batch in the format of the OpenAI API.
type view struct {
	ID               string            `json:"id"`
	Object           string            `json:"object"`
	Endpoint         string            `json:"endpoint"`
	Model            string            `json:"model,omitempty"`
	Errors           *errorList        `json:"errors"`
	InputFileID      string            `json:"input_file_id"`
	CompletionWindow string            `json:"completion_window"`
	Status           string            `json:"status"`
	OutputFileID     *string           `json:"output_file_id"`
	ErrorFileID      *string           `json:"error_file_id"`
	CreatedAt        int64             `json:"created_at"`
	InProgressAt     *int64            `json:"in_progress_at"`
	ExpiresAt        *int64            `json:"expires_at"`
	FinalizingAt     *int64            `json:"finalizing_at"`
	CompletedAt      *int64            `json:"completed_at"`
	FailedAt         *int64            `json:"failed_at"`
	ExpiredAt        *int64            `json:"expired_at"`
	CancellingAt     *int64            `json:"cancelling_at"`
	CancelledAt      *int64            `json:"cancelled_at"`
	RequestCounts    requestCounts     `json:"request_counts"`
	Usage            *usage            `json:"usage,omitempty"`
	Metadata         map[string]string `json:"metadata"`
}

type errorList struct {
	Object string         `json:"object"`
	Data   []*jsonl.Fault `json:"data"`
}

type requestCounts struct {
	Total     int `json:"total"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
}

func (r *record) view() *view {
	v := &view{
		ID: r.ID, Object: "batch", Endpoint: r.Endpoint, Model: r.Model, InputFileID: r.Input, CompletionWindow: r.Window, Status: r.Status,
		CreatedAt: r.Created.Unix(), InProgressAt: api.Unix(r.InProgress), ExpiresAt: api.Unix(r.Expires), FinalizingAt: api.Unix(r.Finalizing),
		CompletedAt: api.Unix(r.Completed), FailedAt: api.Unix(r.Failed), ExpiredAt: api.Unix(r.Expired), CancellingAt: api.Unix(r.Cancelling),
		CancelledAt: api.Unix(r.Cancelled), RequestCounts: requestCounts{r.Total, r.OK, r.Bad}, Usage: r.Usage, Metadata: r.Metadata,
	}
	if len(r.Errors) > 0 {
		v.Errors = &errorList{"list", r.Errors}
	}
	if r.Output != "" {
		v.OutputFileID = &r.Output
	}
	if r.ErrorFile != "" {
		v.ErrorFileID = &r.ErrorFile
	}
	return v
}
