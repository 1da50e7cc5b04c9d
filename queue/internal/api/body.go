package api

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/body"
)

// ReadBody decodes a JSON body of at most limit bytes into v, strictly.
func ReadBody(c *gin.Context, limit int64, v any) ([]byte, error) {
	held, err := body.Hold(c)
	if err != nil {
		return nil, err
	}
	if err := held.Err(); err != nil {
		return nil, err
	}
	text := held.Bytes()
	if !held.Whole || int64(len(text)) > limit {
		body.Drain(c)
		return nil, TooLarge("request_too_large", "The request body is too large.")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return nil, Invalid("invalid_json", "The body is invalid: %s", describe(err))
	}
	if d.More() {
		return nil, Invalid("invalid_json", "There is more than one value in the body.")
	}
	return text, nil
}

// describe words a decoder's error without the names of Go types.
func describe(err error) string {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "the type of " + kind.Field + " is wrong"
	}
	return err.Error()
}

// The bounds of metadata in the OpenAI API: pairs, and bytes of a key and of a value.
const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
)

// CheckMetadata checks the bounds of metadata.
func CheckMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return Invalid("invalid_metadata", "metadata can have %d pairs.", maxMetadata)
	}
	for k, v := range m {
		if len(k) > maxMetadataKey || len(v) > maxMetadataValue {
			return Invalid("invalid_metadata", "A key of metadata can have %d bytes, a value %d.", maxMetadataKey, maxMetadataValue)
		}
	}
	return nil
}
