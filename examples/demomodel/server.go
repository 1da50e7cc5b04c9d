package demomodel

import (
	"embed"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"time"
)

//go:embed weights/v1.bin weights/v2.bin
var weights embed.FS

// ErrConfig is wrapped by the errors of [New] about its other settings.
var ErrConfig = errors.New("demomodel: invalid config")

// Config configures a [Server]. The zero value serves version "v2" as "demo".
type Config struct {
	// Version of the model: "v1", which writes one sentence, or "v2", which
	// writes two or three. Default: "v2".
	Version string

	// Weights of another model, in the format of weights/README.md. Default:
	// those of Version.
	Weights []byte

	// Name of the model in requests and responses. Default: "demo".
	Name string

	// Slots is the number of requests that generate at a time. Each takes 0.8 MB
	// and up to one core. Default: 4.
	Slots int

	// Queue is the number of requests that may wait for a slot; the next gets
	// status 429. Default: 64. Negative: none waits.
	Queue int

	// Delay is an artificial pause before each token, to simulate a larger
	// model. Default: 0.
	Delay time.Duration
}

// Server is an http.Handler that serves a model through an OpenAI-compatible API.
// It starts no goroutines and needs no closing.
type Server struct {
	name        string
	fingerprint string
	created     int64
	mux         *http.ServeMux
	queue       *queue
	model       *model
	delay       time.Duration
	idle        chan *generator // created on first use
}

// New returns a server of one model.
func New(cfg Config) (*Server, error) {
	if cfg.Slots < 0 || cfg.Delay < 0 {
		return nil, fmt.Errorf("%w: Slots and Delay must not be negative", ErrConfig)
	}
	data, err := cfg.weights()
	if err != nil {
		return nil, err
	}
	m, err := load(data)
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Server{
		name:        cfg.Name,
		fingerprint: fmt.Sprintf("fp_%08x", crc32.ChecksumIEEE(data)),
		created:     time.Now().Unix(),
		mux:         http.NewServeMux(),
		queue:       newQueue(cfg.Slots, cfg.Queue),
		model:       m,
		delay:       cfg.Delay,
		idle:        make(chan *generator, cfg.Slots),
	}
	s.route(http.MethodPost, "/v1/chat/completions", s.chat)
	s.route(http.MethodPost, "/v1/completions", s.complete)
	s.route(http.MethodGet, "/v1/models", s.models)
	s.route(http.MethodGet, "/v1/models/{id...}", s.oneModel)
	s.route(http.MethodGet, "/health", s.health)
	s.mux.HandleFunc("/", unknownPath)
	return s, nil
}

func (c Config) weights() ([]byte, error) {
	if c.Weights != nil {
		return c.Weights, nil
	}
	switch c.Version {
	case "":
		c.Version = "v2"
	case "v1", "v2":
	default:
		return nil, fmt.Errorf("%w: there is no Version %q", ErrConfig, c.Version)
	}
	return weights.ReadFile("weights/" + c.Version + ".bin")
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "demo"
	}
	if c.Slots == 0 {
		c.Slots = 4
	}
	if c.Queue == 0 {
		c.Queue = 64
	}
	return c
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// route serves a path with one method and refuses others in OpenAI's manner.
func (s *Server) route(method, path string, h http.HandlerFunc) {
	s.mux.HandleFunc(method+" "+path, h)
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		writeError(w, refusal(http.StatusMethodNotAllowed, typeInvalid, "method_not_supported", "Not allowed to "+r.Method+" on "+r.URL.Path+"."))
	})
}

func unknownPath(w http.ResponseWriter, r *http.Request) {
	writeError(w, refusal(http.StatusNotFound, typeInvalid, "unknown_url", "Unknown request URL: "+r.Method+" "+r.URL.Path+"."))
}

// card is a model in the list.
type card struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (s *Server) card() card {
	return card{ID: s.name, Object: "model", Created: s.created, OwnedBy: "ginfer"}
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []card{s.card()}})
}

func (s *Server) oneModel(w http.ResponseWriter, r *http.Request) {
	if id := r.PathValue("id"); id != s.name {
		writeError(w, unknownModel(id))
		return
	}
	writeJSON(w, http.StatusOK, s.card())
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	running, waiting := s.queue.load()
	writeJSON(w, http.StatusOK, map[string]any{"status": "ok", "running": running, "waiting": waiting})
}
