package batch

import (
	"bytes"
	"encoding/json"

	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/task"
)

// outputView is a line of an output file in the format of the OpenAI API.
type outputView struct {
	ID       string        `json:"id"`
	CustomID string        `json:"custom_id"`
	Response *responseLine `json:"response"`
	Error    *task.Error   `json:"error"`
}

type responseLine struct {
	StatusCode int             `json:"status_code"`
	RequestID  string          `json:"request_id"`
	Body       json.RawMessage `json:"body"`
}

// outputLine returns the line of a response.
func outputLine(t *task.Task, res *task.Response) []byte {
	v := outputView{ID: api.NewID("batch_req_"), CustomID: t.CustomID}
	if res.Err != nil {
		v.Error = task.ErrorOf(res.Err)
		return encodeLine(&v)
	}
	body := json.RawMessage(res.Body)
	if !json.Valid(body) {
		body, _ = json.Marshal(string(res.Body)) // never fails
	}
	v.Response = &responseLine{StatusCode: res.Status, RequestID: res.RequestID(), Body: body}
	if v.Response.RequestID == "" {
		v.Response.RequestID = t.Name()
	}
	return encodeLine(&v)
}

// encodeLine encodes a line without escaping <>&.
func encodeLine(v *outputView) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // never fails: everything in it is valid
	return b.Bytes()
}

// missing returns the line of a request that was not carried out.
func missing(customID, status string) []byte {
	e := &task.Error{Code: "batch_expired", Message: "This request could not be executed before the completion window expired."}
	if status == statusCancelled {
		e = &task.Error{Code: "batch_cancelled", Message: "This request was not executed before the batch was cancelled."}
	}
	return encodeLine(&outputView{ID: api.NewID("batch_req_"), CustomID: customID, Error: e})
}
