package queue

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/apierror"
	"github.com/ginfer/ginfer/internal/body"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// The purposes of files.
const (
	purposeBatch  = "batch"
	purposeOutput = "batch_output"
)

// fileRecord is what is known of a file.
type fileRecord struct {
	ID      string    `json:"id"`
	Owner   string    `json:"owner"`
	Name    string    `json:"name"`
	Purpose string    `json:"purpose"`
	Bytes   int64     `json:"bytes"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// fileView is a file as the OpenAI API has it.
type fileView struct {
	ID        string `json:"id"`
	Object    string `json:"object"`
	Bytes     int64  `json:"bytes"`
	CreatedAt int64  `json:"created_at"`
	ExpiresAt int64  `json:"expires_at"`
	Filename  string `json:"filename"`
	Purpose   string `json:"purpose"`
	Status    string `json:"status"`
}

func (r *fileRecord) view() fileView {
	return fileView{r.ID, "file", r.Bytes, r.Created.Unix(), r.Expires.Unix(), r.Name, r.Purpose, "processed"}
}

// BatchRoutes adds /files and /batches, as the OpenAI SDKs call them.
func (q *Queue) BatchRoutes(r gin.IRouter) {
	r.POST("/files", q.answer(q.postFile))
	r.GET("/files", q.answer(q.listFiles))
	r.GET("/files/:id", q.answer(q.readFile))
	r.DELETE("/files/:id", q.answer(q.deleteFile))
	r.GET("/files/:id/content", q.answer(q.readContent))
	r.POST("/batches", q.answer(q.postBatch))
	r.GET("/batches", q.answer(q.listBatches))
	r.GET("/batches/:id", q.answer(q.readBatch))
	r.POST("/batches/:id/cancel", q.answer(q.cancelBatch))
}

func getFile(ctx context.Context, store *jet.Store, owner, id string) (*fileRecord, error) {
	value, _, err := store.Get(ctx, recordKey(fileRecords, owner, id))
	if err != nil {
		return nil, err
	}
	rec := &fileRecord{}
	if err := json.Unmarshal(value, rec); err != nil {
		return nil, err
	}
	if time.Now().After(rec.Expires) {
		return nil, jet.ErrNotFound
	}
	return rec, nil
}

// mine is the store, and whose request this is.
func (q *Queue) mine(c *gin.Context) (*jet.Store, string, error) {
	store, err := q.backend()
	if err != nil {
		return nil, "", err
	}
	owner, _, err := q.owner(c)
	return store, owner, err
}

func (q *Queue) findFile(c *gin.Context) (*jet.Store, *fileRecord, error) {
	store, owner, err := q.mine(c)
	if err != nil {
		return nil, nil, err
	}
	id := c.Param("id")
	if !isID(filePrefix, id) {
		return nil, nil, notFound("There is no such file.", nil)
	}
	rec, err := getFile(c.Request.Context(), store, owner, id)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, nil, notFound("There is no such file.", err)
	}
	return store, rec, err
}

func (q *Queue) readFile(c *gin.Context) error {
	_, rec, err := q.findFile(c)
	if err == nil {
		c.JSON(http.StatusOK, rec.view())
	}
	return err
}

func (q *Queue) readContent(c *gin.Context) error {
	store, rec, err := q.findFile(c)
	if err != nil {
		return err
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": rec.Name}))
	h.Set("Content-Length", strconv.FormatInt(rec.Bytes, 10))
	h.Set("X-Content-Type-Options", "nosniff")
	_, err = io.Copy(c.Writer, store.Open(c.Request.Context(), rec.ID, rec.Bytes, 0))
	return err
}

func (q *Queue) deleteFile(c *gin.Context) error {
	store, rec, err := q.findFile(c)
	if err != nil {
		return err
	}
	if err := dropFile(c.Request.Context(), store, rec); err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"id": rec.ID, "object": "file", "deleted": true})
	return nil
}

// dropFile removes what is stored first: a record without it can be removed again.
func dropFile(ctx context.Context, store *jet.Store, rec *fileRecord) error {
	return errors.Join(store.Remove(ctx, rec.ID), store.Delete(ctx, recordKey(fileRecords, rec.Owner, rec.ID)))
}

func (q *Queue) listFiles(c *gin.Context) error {
	purpose := c.Query("purpose")
	return q.listed(c, fileRecords, 10_000, 10_000, func(ctx context.Context, store *jet.Store, owner, id string) (any, error) {
		rec, err := getFile(ctx, store, owner, id)
		if err != nil || purpose != "" && purpose != rec.Purpose {
			return nil, err
		}
		return rec.view(), nil
	})
}

// upload is what a form says.
type upload struct {
	file    fileRecord
	stored  bool
	anchor  string
	seconds int64
}

func (q *Queue) postFile(c *gin.Context) error {
	store, owner, err := q.mine(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	have, err := store.Keys(ctx, strings.TrimSuffix(recordKey(fileRecords, owner, ""), "."))
	if err != nil {
		return err
	}
	if len(have) >= q.cfg.Limits.Files {
		return tooMany("too_many_files", "You have too many files. Delete some.")
	}
	c.Request.Body = body.Guarded(c)
	form, err := c.Request.MultipartReader()
	if err != nil {
		return invalid("invalid_form", "The body must be multipart/form-data.")
	}
	now := time.Now()
	u := upload{file: fileRecord{ID: newID(filePrefix), Owner: owner, Created: now, Expires: now.Add(q.cfg.FileTTL)}}
	if err = q.readForm(ctx, store, form, &u); err == nil {
		err = q.finishUpload(ctx, store, &u)
	}
	if err != nil {
		if u.stored {
			_ = store.Remove(context.WithoutCancel(ctx), u.file.ID)
		}
		return err
	}
	c.JSON(http.StatusOK, u.file.view())
	return nil
}

// readForm reads the parts in whatever order they come.
func (q *Queue) readForm(ctx context.Context, store *jet.Store, form *multipart.Reader, u *upload) error {
	const most = 16
	for range most {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = q.readPart(ctx, store, part, u)
		}
		if err != nil {
			return formFault(err)
		}
	}
	return invalid("invalid_form", "The form has too many parts.")
}

// formFault says that the client sent something broken, unless err says better.
func formFault(err error) error {
	var long *http.MaxBytesError
	if _, ok := errors.AsType[*apierror.Error](err); ok || errors.As(err, &long) || errors.Is(err, jet.ErrUnavailable) || errors.Is(err, jet.ErrFull) {
		return err
	}
	return &apierror.Error{Status: http.StatusBadRequest, Code: "invalid_form", Message: "The form could not be read.", Err: errors.Join(ErrInvalid, err)}
}

func (q *Queue) readPart(ctx context.Context, store *jet.Store, part *multipart.Part, u *upload) (err error) {
	if part.FormName() == "file" {
		if u.stored {
			return invalid("invalid_form", "The form has more than one file.")
		}
		u.stored = true
		u.file.Name = fileName(part.FileName())
		u.file.Bytes, err = store.Save(ctx, u.file.ID, &bounded{r: part, left: q.cfg.Limits.FileBytes})
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
			return invalid("invalid_expires_after", "expires_after[seconds] must be a number.")
		}
	}
	return nil
}

// fileName is the last part of what a client says, without control characters.
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

// bounded fails when there is too much.
type bounded struct {
	r    io.Reader
	left int64
}

// Read reads some.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &apierror.Error{Status: http.StatusRequestEntityTooLarge, Code: "file_too_large", Message: "The file is too large.", Err: ErrInvalid}
	}
	return n, err
}

// expiry bounds what OpenAI allows: an hour to 30 days.
const (
	minFileTTL = time.Hour
	maxFileTTL = 30 * 24 * time.Hour
)

func (q *Queue) finishUpload(ctx context.Context, store *jet.Store, u *upload) error {
	switch {
	case !u.stored:
		return invalid("missing_file", "The form has no file.")
	case u.file.Purpose != purposeBatch:
		return invalid("invalid_purpose", "purpose must be %q.", purposeBatch)
	case u.anchor != "" || u.seconds != 0:
		d := time.Duration(min(u.seconds, int64(maxFileTTL/time.Second)+1)) * time.Second
		if u.anchor != "created_at" || d < minFileTTL || d > maxFileTTL {
			return invalid("invalid_expires_after", "expires_after must have the anchor created_at and 3600 to 2592000 seconds.")
		}
		if at := u.file.Created.Add(d); at.Before(u.file.Expires) {
			u.file.Expires = at
		}
	}
	return createFile(ctx, store, &u.file)
}

func createFile(ctx context.Context, store *jet.Store, rec *fileRecord) error {
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = store.Create(ctx, recordKey(fileRecords, rec.Owner, rec.ID), value)
	return err
}

// cleanEvery is how often expired files are removed.
const cleanEvery = time.Hour

// clean removes files that expired before the store drops them by itself.
func (q *Queue) clean(ctx context.Context, store *jet.Store) {
	t := time.NewTicker(cleanEvery)
	defer t.Stop()
	for {
		q.cleanOnce(ctx, store)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (q *Queue) cleanOnce(ctx context.Context, store *jet.Store) {
	keys, err := store.Keys(ctx, fileRecords)
	if err != nil {
		return // another time
	}
	for _, key := range keys {
		var rec fileRecord
		value, _, err := store.Get(ctx, key)
		if err == nil && json.Unmarshal(value, &rec) == nil && time.Now().After(rec.Expires) {
			_ = dropFile(ctx, store, &rec)
		}
		if ctx.Err() != nil {
			return
		}
	}
}
