package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// pageFiles is the page for people, with the library that draws its charts. It loads
// nothing from other origins.
//
//go:embed page
var pageFiles embed.FS

// pageRoutes serves the page at the group's root.
func pageRoutes(admin *gin.RouterGroup) {
	_ = fs.WalkDir(pageFiles, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := pageFiles.ReadFile(name)
		if err != nil {
			return err
		}
		path := "/" + strings.TrimPrefix(name, "page/")
		if path == "/index.html" {
			path = "/"
		}
		sum := sha256.Sum256(text)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		admin.GET(path, pageHeaders, func(c *gin.Context) {
			c.Header("ETag", tag)
			c.Header("Cache-Control", "no-cache")
			http.ServeContent(c.Writer, c.Request, name, time.Time{}, bytes.NewReader(text))
		})
		return nil
	}) // what is embedded can be read
}

// pageHeaders restrict the page to this origin, and forbid framing it. uPlot needs inline styles.
func pageHeaders(c *gin.Context) {
	c.Header("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Referrer-Policy", "no-referrer")
}
