package routing

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of a table.
const (
	maxRoutes   = 10_000
	maxWeighted = 64 // routes with a weight that one request may meet
	maxWeight   = 1e9
	maxFallback = 16
)

// Table is the routing table. Do not change it once it is in use.
type Table struct {
	// Salt makes this table's assignment of users differ from another's. Keep it
	// for as long as users should keep their versions. Default "".
	Salt string `json:"salt,omitempty"`
	// Routes are looked at in order; see the package comment.
	Routes []Route `json:"routes"`
}

// Route sends requests to a version of a model.
type Route struct {
	// Model is the request's model that it is for: a name, or the beginning of
	// one and "*". Default: any, also requests without a model.
	Model string `json:"model,omitempty"`
	// Version names what answers. Required.
	Version string `json:"version"`
	// Weight is its share among the routes with a weight. Nil: it has none, and
	// takes what meets its conditions whole.
	Weight *float64 `json:"weight,omitempty"`
	// Upstream is where the version runs: a name in [Config.Upstreams]. Default:
	// the same as Version.
	Upstream string `json:"upstream,omitempty"`
	// UpstreamModel is the model's name there. Default: the request's; for a
	// request that fell back from another model, Model, if that is one name.
	UpstreamModel string `json:"upstream_model,omitempty"`
	// Capabilities are what the version can do, for chains with a fallback:
	// requests that need more go to the next version that can do it. Nil: anything.
	Capabilities *Capabilities `json:"capabilities,omitempty"`
	// Conditions are what a request must meet, all of them.
	Conditions Conditions `json:"conditions,omitzero"`
	// Fallback are versions that are asked in turn when this one fails: no answer,
	// status 429, or 500 and above. A name means the version of the same model, else
	// of a route for several models with this one among them, else of another
	// model, which is then asked by its own name; what is no version is an upstream.
	// Other endpoints of a version, if the proxy would try them, are tried first.
	// Listing a version says that the request may be sent twice, also a POST.
	Fallback []string `json:"fallback,omitempty"`
	// FallbackAfter is how long this version may take to begin an answer before
	// the next one is asked, as "20s": a stream of a model its first content, JSON the
	// whole. Default: the proxy's own limit for that.
	FallbackAfter Duration `json:"fallback_after,omitempty"`
	// Mirror gets copies of the requests. Nil: nobody does.
	Mirror *Mirror `json:"mirror,omitempty"`
}

// Duration is written as "1m30s" in JSON.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// Conditions are what a request must meet. A value is compared exactly; one
// that ends in "*" matches every longer one, so that "*" alone means "present".
type Conditions struct {
	// Path of the request, decoded, with double slashes as one.
	Path string `json:"path,omitempty"`
	// Methods of which it must have one.
	Methods []string `json:"methods,omitempty"`
	// Headers it must have, by name.
	Headers map[string]string `json:"headers,omitempty"`
	// Cookies it must have, by name.
	Cookies map[string]string `json:"cookies,omitempty"`
	// Tags that its identity must have, all of them; see [Config.Tags].
	Tags []string `json:"tags,omitempty"`
	// Devices of which it must come from one: mobile, tablet, desktop, other.
	Devices []string `json:"devices,omitempty"`
}

func (c *Conditions) empty() bool {
	return c.Path == "" && len(c.Methods) == 0 && len(c.Headers) == 0 && len(c.Cookies) == 0 && len(c.Tags) == 0 && len(c.Devices) == 0
}

// FaultError is one thing wrong with a table. The error of [ParseTable], [New] and
// [Router.SetTable] joins all of them.
type FaultError struct {
	// Path is the place in the JSON, as routes[0].weight.
	Path string
	// Reason says what is wrong there.
	Reason string
}

// Error returns path and reason.
func (f *FaultError) Error() string {
	if f.Path == "" {
		return f.Reason
	}
	return f.Path + ": " + f.Reason
}

// faults collects them.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, &FaultError{Path: path, Reason: fmt.Sprintf(format, args...)})
}

// check finds what is wrong with the table itself.
func (t *Table) check() error {
	var f faults
	if len(t.Routes) == 0 {
		f.add("routes", "at least one is needed")
	}
	if len(t.Routes) > maxRoutes {
		f.add("routes", "%d are more than %d", len(t.Routes), maxRoutes)
		return errors.Join(f...)
	}
	for i := range t.Routes {
		f.route(fmt.Sprintf("routes[%d]", i), &t.Routes[i])
	}
	f.conflicts(t)
	f.ambiguous(t)
	f.weights(t)
	return errors.Join(f...)
}

func (f *faults) route(at string, r *Route) {
	if r.Version == "" || strings.ContainsFunc(r.Version, isControl) {
		f.add(at+".version", "a name is needed")
	}
	if strings.Contains(strings.TrimSuffix(r.Model, "*"), "*") {
		f.add(at+".model", `%q: "*" may only stand at the end`, r.Model)
	}
	if w := r.Weight; w != nil && !(*w >= 0 && *w <= maxWeight) {
		f.add(at+".weight", "%v is not within 0 and %v", *w, maxWeight)
	}
	if c := r.Capabilities; c != nil && (c.Context < 0 || c.Context > maxContext) {
		f.add(at+".capabilities.context", "%d is not within 0 and %d", c.Context, maxContext)
	}
	f.fallback(at, r)
	f.mirror(at, r)
	f.conditions(at+".conditions", &r.Conditions)
}

func (f *faults) fallback(at string, r *Route) {
	if len(r.Fallback) > maxFallback {
		f.add(at+".fallback", "%d are more than %d", len(r.Fallback), maxFallback)
		return
	}
	if r.FallbackAfter < 0 || r.FallbackAfter > 0 && len(r.Fallback) == 0 {
		f.add(at+".fallback_after", "needs a fallback, and must not be negative")
	}
	for j, name := range r.Fallback {
		if name == "" || name == r.Version || slices.Contains(r.Fallback[:j], name) {
			f.add(fmt.Sprintf("%s.fallback[%d]", at, j), "%q is the route's own version, or listed before", name)
		}
	}
}

func (f *faults) conditions(at string, c *Conditions) {
	if c.Path != "" && !strings.HasPrefix(c.Path, "/") {
		f.add(at+".path", "%q must begin with /", c.Path)
	}
	for i, m := range c.Methods {
		if !isToken(m) || m != strings.ToUpper(m) {
			f.add(fmt.Sprintf("%s.methods[%d]", at, i), "%q is not a method such as GET", m)
		}
	}
	for _, name := range sortedKeys(c.Headers) {
		if !isToken(name) {
			f.add(at+".headers", "%q is not a header name", name)
		}
	}
	for _, name := range sortedKeys(c.Cookies) {
		if !isToken(name) {
			f.add(at+".cookies", "%q is not a cookie name", name)
		}
	}
	for i, d := range c.Devices {
		if !slices.Contains(devices[:], d) {
			f.add(fmt.Sprintf("%s.devices[%d]", at, i), "%q is unknown; known: %s", d, strings.Join(devices[:], ", "))
		}
	}
}

// conflicts finds routes that contradict earlier ones.
func (f *faults) conflicts(t *Table) {
	type id struct{ model, version string }
	first := make(map[id]int)
	for i := range t.Routes {
		r := &t.Routes[i]
		at := fmt.Sprintf("routes[%d]", i)
		j, again := first[id{r.Model, r.Version}]
		if !again {
			first[id{r.Model, r.Version}] = i
			continue
		}
		if !t.Routes[j].target().samePlace(r.target()) {
			f.add(at+".version", "%q goes somewhere else in routes[%d]", r.Version, j)
		}
		if !t.Routes[j].Capabilities.same(r.Capabilities) {
			f.add(at+".capabilities", "%q can do something else in routes[%d]", r.Version, j)
		}
	}
	f.unreached(t)
}

// unreached finds routes for what is left that an earlier one, or one with a
// weight, leaves nothing.
func (f *faults) unreached(t *Table) {
	for i := range t.Routes {
		r := &t.Routes[i]
		if r.Weight != nil || !r.Conditions.empty() {
			continue
		}
		for j := range t.Routes {
			other := &t.Routes[j]
			takesAll := other.Conditions.empty() && covers(other.Model, r.Model)
			if takesAll && (other.Weight == nil && j < i || other.Weight != nil && *other.Weight > 0) {
				f.add(fmt.Sprintf("routes[%d]", i), "is never reached: routes[%d] takes everything that is left", j)
				break
			}
		}
	}
}

// covers reports whether all models of pattern b are also a's.
func covers(a, b string) bool {
	prefix, wild := strings.CutSuffix(a, "*")
	return a == "" || a == b || wild && b != "" && strings.HasPrefix(strings.TrimSuffix(b, "*"), prefix)
}

// isShared reports whether a pattern is for more than one model.
func isShared(pattern string) bool { return pattern == "" || strings.HasSuffix(pattern, "*") }

// weights checks them model by model.
func (f *faults) weights(t *Table) {
	sum, count, first := make(map[string]float64), make(map[string]int), make(map[string]int)
	shared, sharedSum := 0, 0.0 // of routes for more than one model
	for i := range t.Routes {
		r := &t.Routes[i]
		if r.Weight == nil {
			continue
		}
		if isShared(r.Model) {
			shared++
			sharedSum += *r.Weight
			continue
		}
		if count[r.Model] == 0 {
			first[r.Model] = i
		}
		sum[r.Model] += *r.Weight
		count[r.Model]++
	}
	if shared > maxWeighted {
		f.add("routes", "%d routes with a weight are for many models, more than %d", shared, maxWeighted)
	}
	if shared > 0 && sharedSum == 0 {
		f.add("routes", "the weights of the routes for many models sum up to 0")
	}
	for _, model := range sortedKeys(count) {
		if n := count[model] + shared; n > maxWeighted {
			f.add("routes", "requests for model %q meet up to %d routes with a weight, more than %d", model, n, maxWeighted)
		}
		if sum[model]+sharedSum == 0 {
			f.add(fmt.Sprintf("routes[%d].weight", first[model]), "the weights of model %q sum up to 0", model)
		}
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// isToken: RFC 9110 §5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) })
}
