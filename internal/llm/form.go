package llm

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"

	"github.com/ginfer/ginfer/internal/fault"
)

// maxFormValue is the longest field of a form that is read, in bytes.
const maxFormValue = 64 << 10

// readForm reads a form, with files (as for transcription) or of fields alone.
func (q *Request) readForm(contentType string, body []byte) {
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err == nil && mediaType == "application/x-www-form-urlencoded" {
		values, fault := url.ParseQuery(string(body))
		for name, all := range values {
			for _, v := range all {
				q.field(name, []byte(v))
			}
		}
		err = fault
	} else if err == nil {
		err = q.parts(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	}
	if err != nil && q.ModelFault == nil {
		q.ModelFault = fault.Join(ErrSyntax, err)
	}
}

func (q *Request) parts(r *multipart.Reader) error {
	for {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if part.FileName() != "" {
			q.InputBytes += mediaBytes
			continue
		}
		v, err := io.ReadAll(io.LimitReader(part, maxFormValue))
		if err != nil {
			return err
		}
		q.field(part.FormName(), v)
	}
}

// field takes a field that is not a file.
func (q *Request) field(name string, v []byte) {
	switch same, folded := isName([]byte(`"`+name+`"`), "model"); {
	case same && q.Model == "" && q.ModelFault == nil:
		q.Model = string(v)
	case same, folded:
		q.Model, q.ModelFault = "", ErrDuplicate
	}
	switch name {
	case "prompt", "input":
		q.InputBytes += int64(len(v))
	case "stream":
		q.Stream = string(v) == "true"
	case "n":
		n, _ := count(v)
		q.N = max(q.N, n)
	}
}
