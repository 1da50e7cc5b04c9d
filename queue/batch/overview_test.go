package batch_test

import (
	"net/http"
	"testing"

	"github.com/ginfer/ginfer/internal/testkit/queuetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Operators see the batches of all owners, the newest first, but no requests.
func TestAllBatches(t *testing.T) {
	t.Parallel()
	a := queuetest.Quick(t, nil)
	var ids []string
	for i, user := range []string{"ann", "bob", "ann"} {
		b := a.As(user)
		id := b.Batch(queuetest.Lines(i + 1))
		b.Ended(id)
		ids = append(ids, id)
	}
	list := a.Want(http.StatusOK, http.MethodGet, "/admin/queue/batches?limit=2", "")
	data, _ := list["data"].([]any)
	require.Len(t, data, 2)
	first, _ := data[0].(map[string]any)
	assert.Equal(t, ids[2], first["id"])
	assert.Equal(t, "completed", first["status"])
	assert.Equal(t, [3]int{3, 3, 0}, queuetest.Object(first).Counts())
	assert.Equal(t, "m", first["model"])
	assert.NotContains(t, first, "metadata")
	assert.NotContains(t, first, "input_file_id")
	assert.Equal(t, true, list["has_more"])
	rest := a.Want(http.StatusOK, http.MethodGet, "/admin/queue/batches?after="+list.Str("last_id"), "")
	data, _ = rest["data"].([]any)
	require.Len(t, data, 1)
	first, _ = data[0].(map[string]any)
	assert.Equal(t, ids[0], first["id"])
	assert.Equal(t, false, rest["has_more"])
	assert.Equal(t, "invalid_limit", a.Want(http.StatusBadRequest, http.MethodGet, "/admin/queue/batches?limit=x", "").Code())
}
