package routing

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

// Bounds of a table.
const (
	maxRoutes   = 10_000
	maxWeighted = 64 // routes with a weight that one request may match
	maxWeight   = 1e9
	maxFallback = 16
)

// Table is a routing table. It must not be modified while it is in use.
type Table struct {
	// Salt varies the assignment of users between tables. Users keep their versions as
	// long as it is unchanged. Default: "".
	Salt string `json:"salt,omitempty"`
	// Routes are matched in order; see the package comment.
	Routes []Route `json:"routes"`
}

// Route sends requests to a version of a model.
type Route struct {
	// Model is the model of the requests to match: a name, or a prefix followed by "*".
	// Default: any, also requests without a model.
	Model string `json:"model,omitempty"`
	// Version is the name of the version that serves the requests. Required.
	Version string `json:"version"`
	// Weight is its share among the routes with a weight, in any unit. Default: nil; the
	// route has no weight and takes all requests that meet its conditions.
	Weight *float64 `json:"weight,omitempty"`
	// Upstream is a name in [Config.Upstreams]. Default: the same as Version.
	Upstream string `json:"upstream,omitempty"`
	// UpstreamModel is the model's name at the upstream. Default: the request's model; for
	// a fallback from another model, Model, if that is a single name.
	UpstreamModel string `json:"upstream_model,omitempty"`
	// Capabilities are the version's abilities, for chains with a fallback: requests that
	// need more go to the next version that has them. Default: nil, all.
	Capabilities *Capabilities `json:"capabilities,omitempty"`
	// Conditions must all be met by a request. Default: none.
	Conditions Conditions `json:"conditions,omitzero"`
	// Fallback lists the versions to call in order when this one fails: no response,
	// status 429, or 500 and above. A name means the version of the same model, else of a
	// route for several models that include it, else of another model, which is then
	// called by its own name; else an upstream. Retries of the proxy at other endpoints of
	// a version come first. A fallback permits sending the request twice, also a POST. It is
	// an extra attempt, within proxy.Retry.Attempts and its budget.
	// Default: none.
	Fallback []string `json:"fallback,omitempty"`
	// FallbackAfter is the limit on the time until the response begins, as "20s", after
	// which the next version is called: until the first content of a model's stream, or
	// until the whole JSON. Default: the proxy's own limit.
	FallbackAfter Duration `json:"fallback_after,omitempty"`
	// Mirror gets copies of the requests (shadow traffic). Default: nil, none.
	Mirror *Mirror `json:"mirror,omitempty"`
}

// Duration is a time.Duration that is written as "1m30s" in JSON.
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

// Conditions are the conditions of a route. A value is compared exactly; one that ends in
// "*" is a prefix, so that "*" alone means "present". The zero Conditions match any request.
type Conditions struct {
	// Path is the request's path, decoded, with double slashes as one.
	Path string `json:"path,omitempty"`
	// Methods are the allowed methods.
	Methods []string `json:"methods,omitempty"`
	// Headers are the required headers, by name.
	Headers map[string]string `json:"headers,omitempty"`
	// Cookies are the required cookies, by name.
	Cookies map[string]string `json:"cookies,omitempty"`
	// Tags are the required tags of the identity; see [Config.Tags].
	Tags []string `json:"tags,omitempty"`
	// Devices are the allowed device types: mobile, tablet, desktop, other.
	Devices []string `json:"devices,omitempty"`
}

func (c *Conditions) empty() bool {
	return c.Path == "" && len(c.Methods) == 0 && len(c.Headers) == 0 && len(c.Cookies) == 0 && len(c.Tags) == 0 && len(c.Devices) == 0
}

// FaultError is a fault of a table. The errors of [ParseTable], [New] and [Router.SetTable]
// join all of them.
type FaultError struct {
	// Path is the place in the JSON, as "routes[0].weight".
	Path string
	// Reason is the fault in words.
	Reason string
}

// Error returns Path and Reason.
func (f *FaultError) Error() string {
	if f.Path == "" {
		return f.Reason
	}
	return f.Path + ": " + f.Reason
}

// faults collects FaultErrors.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, &FaultError{Path: path, Reason: fmt.Sprintf(format, args...)})
}

// check reports the faults of the table itself.
func (t *Table) check() error {
	var f faults
	if len(t.Routes) == 0 {
		f.add("routes", "at least one is needed")
	}
	if len(t.Routes) > maxRoutes {
		f.add("routes", "%d are more than %d", len(t.Routes), maxRoutes)
		return fault.Join(f...)
	}
	for i := range t.Routes {
		f.route(fmt.Sprintf("routes[%d]", i), &t.Routes[i])
	}
	f.conflicts(t)
	f.ambiguous(t)
	f.weights(t)
	return fault.Join(f...)
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

// conflicts reports routes that contradict earlier ones.
func (f *faults) conflicts(t *Table) {
	type id struct{ model, version string }
	first := make(map[id]int)
	for i := range t.Routes {
		r := &t.Routes[i]
		at := fmt.Sprintf("routes[%d]", i)
		j, repeated := first[id{r.Model, r.Version}]
		if !repeated {
			first[id{r.Model, r.Version}] = i
			continue
		}
		if !t.Routes[j].target().samePlace(r.target()) {
			f.add(at+".version", "%q has another upstream in routes[%d]", r.Version, j)
		}
		if !t.Routes[j].Capabilities.same(r.Capabilities) {
			f.add(at+".capabilities", "%q has other capabilities in routes[%d]", r.Version, j)
		}
	}
	f.unreached(t)
}

// unreached reports routes without weight and conditions that come after a route, or beside
// one with a weight, that takes all their requests.
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
				f.add(fmt.Sprintf("routes[%d]", i), "is never reached: routes[%d] takes all its requests", j)
				break
			}
		}
	}
}

// covers reports whether pattern a matches all models of pattern b.
func covers(a, b string) bool {
	prefix, wild := strings.CutSuffix(a, "*")
	return a == "" || a == b || wild && b != "" && strings.HasPrefix(strings.TrimSuffix(b, "*"), prefix)
}

// isShared reports whether a pattern matches more than one model.
func isShared(pattern string) bool { return pattern == "" || strings.HasSuffix(pattern, "*") }

// weights checks the weights per model.
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
