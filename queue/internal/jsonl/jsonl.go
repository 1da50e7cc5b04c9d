// Package jsonl reads the input of a batch: one request per line, in the format of the
// OpenAI batch API.
package jsonl

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ginfer/ginfer/internal/llm"
)

// Rules bound a batch.
type Rules struct {
	// Endpoint is the url that all lines must have.
	Endpoint string
	// MaxLines and MaxLine bound the number of lines and the bytes of each.
	MaxLines, MaxLine int
}

// Line is one request.
type Line struct {
	CustomID, Method, URL string
	// Body is the body of the request, unchanged.
	Body json.RawMessage
}

// Fault describes an invalid line in the format of the OpenAI API.
type Fault struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Line    *int    `json:"line"`
}

// maxCustomID is the longest custom_id in bytes.
const maxCustomID = 512

// maxModel is the longest name of a model that is reported, in bytes.
const maxModel = 256

// maxFaults is the number of faults that are reported.
const maxFaults = 100

// Reader reads lines that are not blank.
type Reader struct {
	r      *bufio.Reader
	max    int
	number int
	offset int64
	buf    []byte
}

// NewReader returns a Reader of the rest of an input, which begins at an offset after a
// number of lines.
func NewReader(r io.Reader, maxLine int, offset int64, number int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), max: maxLine, offset: offset, number: number}
}

// ErrTooLong is returned for a line that is too long. The Reader can't continue.
var ErrTooLong = errors.New("jsonl: line too long")

// Next returns the next line, which is valid until the following call. The error is
// io.EOF at the end.
func (r *Reader) Next() ([]byte, error) {
	for {
		line, err := r.line()
		if len(line) == 0 && err != nil {
			return nil, err
		}
		if r.number == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// line reads to the end of a line or of the input.
func (r *Reader) line() ([]byte, error) {
	r.buf = r.buf[:0]
	r.number++
	for {
		part, err := r.r.ReadSlice('\n')
		r.offset += int64(len(part))
		r.buf = append(r.buf, part...)
		if len(bytes.TrimRight(r.buf, "\r\n")) > r.max {
			return nil, fmt.Errorf("%w: %d bytes are allowed", ErrTooLong, r.max)
		}
		switch {
		case err == nil:
			return r.buf, nil
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return r.buf, err
		}
	}
}

// Number is the number of the last line, from 1. Blank lines count.
func (r *Reader) Number() int { return r.number }

// Offset is the offset of the next line.
func (r *Reader) Offset() int64 { return r.offset }

// Check parses one line.
func (rules *Rules) Check(raw []byte) (Line, *Fault) {
	var l Line
	if !json.Valid(raw) || raw[0] != '{' {
		return l, fault("invalid_json_line", "", "This line is not parseable as valid JSON object.")
	}
	for _, member := range []struct {
		name string
		into *string
	}{{"custom_id", &l.CustomID}, {"method", &l.Method}, {"url", &l.URL}} {
		v, err := llm.String(raw, member.name)
		if err != nil {
			return l, missing(member.name, err)
		}
		*member.into = v
	}
	at, err := llm.Member(raw, "body")
	if err != nil {
		return l, missing("body", err)
	}
	l.Body = at.Of(raw)
	return l, rules.check(&l)
}

func (rules *Rules) check(l *Line) *Fault {
	switch {
	case l.CustomID == "" || len(l.CustomID) > maxCustomID:
		return fault("invalid_custom_id", "custom_id", fmt.Sprintf("custom_id must have 1 to %d bytes.", maxCustomID))
	case l.Method != http.MethodPost:
		return fault("invalid_method", "method", "method must be POST.")
	case l.URL != rules.Endpoint:
		return fault("invalid_url", "url", "The url provided for this request does not match the batch endpoint.")
	case l.Body[0] != '{':
		return fault("invalid_body", "body", "body must be a JSON object.")
	}
	return CheckBody(l.Body)
}

// CheckBody refuses a request for a streaming response. Body must be valid JSON.
func CheckBody(body []byte) *Fault {
	at, err := llm.Member(body, "stream")
	switch {
	case errors.Is(err, llm.ErrNotFound):
		return nil
	case err != nil:
		return fault("invalid_body", "body.stream", "body must have one stream member at most.")
	}
	if v := string(at.Of(body)); v != "false" && v != "null" {
		return fault("stream_not_supported", "body.stream", "Streaming is not supported here: leave stream out.")
	}
	return nil
}

func missing(name string, err error) *Fault {
	if errors.Is(err, llm.ErrNotFound) {
		return fault("missing_required_parameter", name, "Missing required parameter: '"+name+"'.")
	}
	return fault("invalid_type", name, "'"+name+"' must appear once, and have the right type.")
}

func fault(code, param, message string) *Fault {
	f := &Fault{Code: code, Message: message}
	if param != "" {
		f.Param = &param
	}
	return f
}

// Summary describes a whole input.
type Summary struct {
	// Count is the number of requests.
	Count int
	// Model is the model of all requests; empty if they differ.
	Model string
}

func (s *Summary) add(body []byte) {
	first := s.Count == 1
	if !first && s.Model == "" {
		return // they differ
	}
	model, err := llm.String(body, "model")
	if err != nil || len(model) > maxModel || !first && model != s.Model {
		model = ""
	}
	s.Model = model
}

// Validate reads all lines. It returns their summary and the first faults. Err is an
// error of in.
func (rules *Rules) Validate(in io.Reader) (sum Summary, faults []*Fault, err error) {
	r := NewReader(in, rules.MaxLine, 0, 0)
	seen := map[[16]byte]struct{}{}
	note := func(f *Fault) {
		number := r.Number()
		f.Line = &number
		faults = append(faults, f)
	}
	for len(faults) < maxFaults {
		raw, err := r.Next()
		if errors.Is(err, ErrTooLong) {
			note(fault("line_too_long", "", fmt.Sprintf("This line is longer than %d bytes.", rules.MaxLine)))
			return sum, faults, nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sum, faults, err
		}
		if sum.Count++; sum.Count > rules.MaxLines {
			note(fault("too_many_requests", "", fmt.Sprintf("A batch may have %d requests.", rules.MaxLines)))
			return sum, faults, nil
		}
		line, f := rules.Check(raw)
		if f == nil {
			f = unique(seen, line.CustomID)
		}
		if f != nil {
			note(f)
			continue
		}
		sum.add(line.Body)
	}
	if sum.Count == 0 && len(faults) == 0 {
		faults = append(faults, fault("empty_file", "input_file_id", "The input file has no requests."))
	}
	return sum, faults, nil
}

func unique(seen map[[16]byte]struct{}, id string) *Fault {
	sum := sha256.Sum256([]byte(id))
	key := [16]byte(sum[:16])
	if _, ok := seen[key]; ok {
		return fault("duplicate_custom_id", "custom_id", "The custom_id for this request is a duplicate of another request: "+strings.ToValidUTF8(id, "?"))
	}
	seen[key] = struct{}{}
	return nil
}
