package batch

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// upload is the content of a form.
type upload struct {
	file    fileRecord
	stored  bool
	anchor  string
	seconds int64
}

func (f *files) post(c *gin.Context) error {
	store, owner, err := f.host.StoreOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	have, err := store.Records.Keys(ctx, strings.TrimSuffix(api.Key(api.FileRecords, owner, ""), "."))
	if err != nil {
		return err
	}
	if len(have) >= f.cfg.Files {
		return api.TooMany("too_many_files", "You have too many files. Delete some.")
	}
	c.Request.Body = body.Guarded(c)
	form, err := c.Request.MultipartReader()
	if err != nil {
		return api.Invalid("invalid_form", "The body must be multipart/form-data.")
	}
	now := time.Now()
	u := upload{file: fileRecord{ID: api.NewID(api.FilePrefix), Owner: owner, Created: now, Expires: now.Add(f.host.FileTTL)}}
	if err = f.readForm(ctx, store, form, &u); err == nil {
		err = f.finish(ctx, store, &u)
	}
	if err != nil {
		if u.stored {
			_ = store.Files.Remove(context.WithoutCancel(ctx), u.file.ID)
		}
		return err
	}
	c.JSON(http.StatusOK, u.file.view())
	return nil
}

// readForm reads the parts in any order.
func (f *files) readForm(ctx context.Context, store *jet.Store, form *multipart.Reader, u *upload) error {
	const most = 16
	for range most {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f.readPart(ctx, store, part, u)
		}
		if err != nil {
			return formFault(err)
		}
	}
	return api.Invalid("invalid_form", "The form has too many parts.")
}

// formFault turns an error into a 400, unless it has a status.
func formFault(err error) error {
	var long *http.MaxBytesError
	if _, ok := errors.AsType[*apierror.Error](err); ok || errors.As(err, &long) || errors.Is(err, jet.ErrUnavailable) || errors.Is(err, jet.ErrFull) {
		return err
	}
	return &apierror.Error{Status: http.StatusBadRequest, Code: "invalid_form", Message: "The form could not be read.", Err: fault.Join(queue.ErrInvalid, err)}
}

func (f *files) readPart(ctx context.Context, store *jet.Store, part *multipart.Part, u *upload) (err error) {
	if part.FormName() == "file" {
		if u.stored {
			return api.Invalid("invalid_form", "The form has more than one file.")
		}
		u.stored = true
		u.file.Name = fileName(part.FileName())
		u.file.Bytes, err = store.Files.Save(ctx, u.file.ID, &bounded{r: part, left: f.cfg.FileBytes})
		return err
	}
	const most = 256
	b, err := io.ReadAll(io.LimitReader(part, most))
	if err != nil {
		return err
	}
	switch part.FormName() {
	case "purpose":
		u.file.Purpose = string(b)
	case "expires_after[anchor]":
		u.anchor = string(b)
	case "expires_after[seconds]":
		if u.seconds, err = strconv.ParseInt(string(b), 10, 64); err != nil {
			return api.Invalid("invalid_expires_after", "expires_after[seconds] must be a number.")
		}
	}
	return nil
}

// fileName returns the last part of a client's path, without control characters.
func fileName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if name == "" {
		name = "file"
	}
	return name[:min(len(name), 200)]
}

// bounded is a Reader that fails after too many bytes.
type bounded struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, api.TooLarge("file_too_large", "The file is too large.")
	}
	return n, err
}

// The bounds of expires_after in the OpenAI API.
const (
	minFileTTL = time.Hour
	maxFileTTL = 30 * 24 * time.Hour
)

// finish checks the form and creates the record.
func (f *files) finish(ctx context.Context, store *jet.Store, u *upload) error {
	switch {
	case !u.stored:
		return api.Invalid("missing_file", "The form has no file.")
	case u.file.Purpose != purposeBatch:
		return api.Invalid("invalid_purpose", "purpose must be %q.", purposeBatch)
	case u.anchor != "" || u.seconds != 0:
		d := time.Duration(min(u.seconds, int64(maxFileTTL/time.Second)+1)) * time.Second
		if u.anchor != "created_at" || d < minFileTTL || d > maxFileTTL {
			return api.Invalid("invalid_expires_after", "expires_after must have the anchor created_at and 3600 to 2592000 seconds.")
		}
		if at := u.file.Created.Add(d); at.Before(u.file.Expires) {
			u.file.Expires = at
		}
	}
	return createFile(ctx, store, &u.file)
}
