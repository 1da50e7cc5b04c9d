package batch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ginfer/ginfer/internal/fault"
	"github.com/ginfer/ginfer/queue/internal/api"
	"github.com/ginfer/ginfer/queue/internal/host"
	"github.com/ginfer/ginfer/queue/internal/jet"
)

// The purposes of files.
const (
	purposeBatch  = "batch"
	purposeOutput = "batch_output"
)

// fileRecord is the stored state of a file.
type fileRecord struct {
	ID      string    `json:"id"`
	Owner   string    `json:"owner"`
	Name    string    `json:"name"`
	Purpose string    `json:"purpose"`
	Bytes   int64     `json:"bytes"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// fileView is a file in the format of the OpenAI API.
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

func (r *fileRecord) key() string { return api.Key(api.FileRecords, r.Owner, r.ID) }

func (r *fileRecord) view() fileView {
	return fileView{r.ID, "file", r.Bytes, r.Created.Unix(), r.Expires.Unix(), r.Name, r.Purpose, "processed"}
}

func getFile(ctx context.Context, store *jet.Store, owner, id string) (*fileRecord, error) {
	value, _, err := store.Records.Get(ctx, api.Key(api.FileRecords, owner, id))
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

// files serves /files.
type files struct {
	cfg  *Config
	host *host.Host
}

// find reads the file that a request names.
func (f *files) find(c *gin.Context) (*jet.Store, *fileRecord, error) {
	store, owner, err := f.host.StoreOf(c)
	if err != nil {
		return nil, nil, err
	}
	id := c.Param("id")
	if !api.IsID(api.FilePrefix, id) {
		return nil, nil, api.NotFound("There is no such file.", nil)
	}
	rec, err := getFile(c.Request.Context(), store, owner, id)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, nil, api.NotFound("There is no such file.", err)
	}
	return store, rec, err
}

func (f *files) read(c *gin.Context) error {
	_, rec, err := f.find(c)
	if err == nil {
		c.JSON(http.StatusOK, rec.view())
	}
	return err
}

func (f *files) content(c *gin.Context) error {
	store, rec, err := f.find(c)
	if err != nil {
		return err
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": rec.Name}))
	h.Set("Content-Length", strconv.FormatInt(rec.Bytes, 10))
	h.Set("X-Content-Type-Options", "nosniff")
	_, err = io.Copy(c.Writer, store.Files.Open(c.Request.Context(), rec.ID, rec.Bytes, 0))
	return err
}

func (f *files) delete(c *gin.Context) error {
	store, rec, err := f.find(c)
	if err != nil {
		return err
	}
	if err := dropFile(c.Request.Context(), store, rec); err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"id": rec.ID, "object": "file", "deleted": true})
	return nil
}

// dropFile removes the content first, so that it can be repeated while there is a record.
func dropFile(ctx context.Context, store *jet.Store, rec *fileRecord) error {
	return fault.Join(store.Files.Remove(ctx, rec.ID), store.Records.Delete(ctx, rec.key()))
}

func (f *files) list(c *gin.Context) error {
	purpose := c.Query("purpose")
	return f.host.Listed(c, api.FileRecords, api.Pages{Most: 10_000, Usual: 10_000}, func(ctx context.Context, store *jet.Store, owner, id string) (any, error) {
		rec, err := getFile(ctx, store, owner, id)
		if err != nil || purpose != "" && purpose != rec.Purpose {
			return nil, err
		}
		return rec.view(), nil
	})
}

func createFile(ctx context.Context, store *jet.Store, rec *fileRecord) error {
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = store.Records.Create(ctx, rec.key(), value)
	return err
}

// cleanEvery is how often expired files are removed.
const cleanEvery = time.Hour

// clean is the host.Loop that removes files with an expires_after below the TTL of the
// store.
func clean(ctx context.Context, store *jet.Store, _ *jet.Leases) {
	t := time.NewTicker(cleanEvery)
	defer t.Stop()
	for {
		cleanOnce(ctx, store)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func cleanOnce(ctx context.Context, store *jet.Store) {
	keys, err := store.Records.Keys(ctx, api.FileRecords)
	if err != nil {
		return // the next time
	}
	for _, key := range keys {
		var rec fileRecord
		value, _, err := store.Records.Get(ctx, key)
		if err == nil && json.Unmarshal(value, &rec) == nil && time.Now().After(rec.Expires) {
			_ = dropFile(ctx, store, &rec)
		}
		if ctx.Err() != nil {
			return
		}
	}
}
