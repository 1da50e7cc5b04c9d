package observe

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ginfer/ginfer/observe/internal/plain"
)

//go:embed page.html
var pageText string

//nolint:gochecknoglobals // a constant
var page = template.Must(template.New("page").Parse(pageText))

// section is a section of the page.
type section struct {
	Name    string
	Total   int
	Rows    []row
	entries []entry
}

// row is a request on the page: its columns, and the other attributes as text.
type row struct {
	Start, Method, Route, Outcome, Model, Version, Endpoint, Caller string
	Status                                                          int
	Milliseconds, FirstByte                                         float64
	Rest                                                            string
}

func (rt *Recent) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	sections := rt.sections(time.Now())
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.URL.Query().Get("format") == "json" || strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
		h.Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(rt.document(sections)) // a failed write means that the client has disconnected
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	for i := range sections {
		for j := range sections[i].entries {
			sections[i].Rows = append(sections[i].Rows, rt.row(&sections[i].entries[j]))
		}
	}
	_ = page.Execute(w, sections)
}

// document returns the page as JSON.
func (rt *Recent) document(sections []section) map[string]any {
	out := make(map[string]any, len(sections))
	for _, s := range sections {
		rows := make([]map[string]any, 0, len(s.entries))
		for i := range s.entries {
			rows = append(rows, rt.object(&s.entries[i]))
		}
		out[s.Name] = rows
	}
	return out
}

func (rt *Recent) attrs(e *entry) line {
	var l line
	l.request(e, rt.cfg.Subject)
	l.exchange(e)
	l.times(e)
	return l
}

func (rt *Recent) object(e *entry) map[string]any {
	out := map[string]any{slog.TimeKey: e.start.Format(time.RFC3339Nano)}
	for _, a := range rt.attrs(e) {
		out[a.Key] = a.Value.Any()
	}
	return out
}

func (rt *Recent) row(e *entry) row {
	var rest strings.Builder
	for _, a := range rt.attrs(e) {
		rest.WriteString(a.Key + "=" + a.Value.String() + "\n")
	}
	out := row{
		Start: e.start.UTC().Format("15:04:05.000"), Method: e.method, Route: e.route, Outcome: e.outcome, Model: e.model,
		Version: e.version, Endpoint: e.endpoint, Status: e.status,
		Milliseconds: milliseconds(e.duration), FirstByte: milliseconds(e.firstByte), Rest: rest.String(),
	}
	if e.caller != nil && rt.cfg.Subject != nil {
		out.Caller = plain.Clean(rt.cfg.Subject(*e.caller), plain.Word)
	}
	return out
}
