package peek

import (
	"io"
	"net/http"
)

// Guard is newGuarded as a reader.
func Guard(w http.ResponseWriter, body io.Reader) io.Reader {
	g := newGuarded(w, body)
	return &g
}
