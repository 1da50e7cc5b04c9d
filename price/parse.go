package price

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/ginfer/ginfer/internal/fault"
)

// mostPrice is the highest price, in the currency's unit.
const mostPrice = 1_000_000

type tableJSON struct {
	Currency string    `json:"currency"`
	Per      *int64    `json:"per"`
	Models   []rowJSON `json:"models"`
}

type rowJSON struct {
	Model    *string `json:"model"`
	Upstream *string `json:"upstream"`
	From     string  `json:"from"`
	Until    string  `json:"until"`
	pricesJSON

	Above []tierJSON `json:"above"`
}

type tierJSON struct {
	Tokens int64 `json:"tokens"`
	pricesJSON
}

type pricesJSON struct {
	Input     *json.Number `json:"input"`
	Cached    *json.Number `json:"cached_input"`
	Written   *json.Number `json:"cache_write"`
	Output    *json.Number `json:"output"`
	Reasoning *json.Number `json:"reasoning"`
	Request   *json.Number `json:"request"`
	Image     *json.Number `json:"image"`
	Second    *json.Number `json:"audio_second"`
}

// Parse reads a table. Its error names each fault with its place, such as
// "models[2].above[0].tokens".
func Parse(text []byte) (*Table, error) {
	var in tableJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, located(text, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("price: text after the table, at byte %d", d.InputOffset())
	}
	p := parser{}
	t := p.table(&in)
	if err := fault.Join(p.faults...); err != nil {
		return nil, fmt.Errorf("price: %w", err)
	}
	return t, nil
}

// located adds the line to an error of encoding/json.
func located(text []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	if offset < 0 {
		return fmt.Errorf("price: %w", err)
	}
	return fmt.Errorf("price: line %d: %w", 1+bytes.Count(text[:min(offset, int64(len(text)))], []byte("\n")), err)
}

// parser collects faults.
type parser struct{ faults []error }

func (p *parser) fault(place, format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...))) //nolint:err113 // its place is all
}

func (p *parser) table(in *tableJSON) *Table {
	t := &Table{currency: in.Currency}
	if in.Currency == "" {
		p.fault("currency", "is missing")
	}
	per := int64(1_000_000)
	if in.Per != nil {
		per = *in.Per
	}
	if per < 1 || per > 1_000_000 {
		p.fault("per", "must be 1 to 1000000 tokens, not %d", per)
	}
	if len(in.Models) == 0 {
		p.fault("models", "is missing or empty")
	}
	type key struct {
		model, upstream string
		from            time.Time
	}
	seen := map[key]int{}
	for i := range in.Models {
		place := fmt.Sprintf("models[%d]", i)
		r := p.row(place, &in.Models[i])
		r.per = uint64(max(per, 1))
		k := key{r.model, r.upstream, r.from}
		if first, ok := seen[k]; ok {
			p.fault(place, "prices the same models as models[%d] from the same time", first)
		}
		seen[k] = i
		t.rows = append(t.rows, r)
	}
	sortRows(t.rows)
	return t
}

func (p *parser) row(place string, in *rowJSON) *Row {
	r := &Row{upstream: "*", from: p.time(place+".from", in.From), until: p.time(place+".until", in.Until)}
	if in.Model == nil || *in.Model == "" {
		p.fault(place+".model", `is missing; "*" is any model`)
	} else {
		r.model = *in.Model
	}
	if in.Upstream != nil {
		r.upstream = *in.Upstream
	}
	if !r.until.IsZero() && !r.from.Before(r.until) {
		p.fault(place+".until", "must be after from")
	}
	if in.pricesJSON == (pricesJSON{}) {
		p.fault(place, "has no price; a model that is free has the input 0")
	}
	r.prices = p.prices(place, &in.pricesJSON)
	for i := range in.Above {
		at := fmt.Sprintf("%s.above[%d]", place, i)
		tokens := in.Above[i].Tokens
		switch {
		case tokens < 1:
			p.fault(at+".tokens", "must be at least 1")
		case i > 0 && tokens <= in.Above[i-1].Tokens:
			p.fault(at+".tokens", "must be more than before: %d", in.Above[i-1].Tokens)
		}
		if in.Above[i].pricesJSON == (pricesJSON{}) {
			p.fault(at, "has no price")
		}
		merged := in.Above[i].over(&in.pricesJSON)
		r.tiers = append([]tier{{tokens, p.prices(at, &merged)}}, r.tiers...)
	}
	return r
}

// over fills missing prices of a tier with those of its row.
func (p pricesJSON) over(row *pricesJSON) pricesJSON {
	for _, f := range []struct{ own, row **json.Number }{
		{&p.Input, &row.Input},
		{&p.Cached, &row.Cached},
		{&p.Written, &row.Written},
		{&p.Output, &row.Output},
		{&p.Reasoning, &row.Reasoning},
		{&p.Request, &row.Request},
		{&p.Image, &row.Image},
		{&p.Second, &row.Second},
	} {
		if *f.own == nil {
			*f.own = *f.row
		}
	}
	return p
}

func (p *parser) prices(place string, in *pricesJSON) prices {
	out := prices{
		input: p.number(place+".input", in.Input, 0), output: p.number(place+".output", in.Output, 0),
		request: p.number(place+".request", in.Request, 0), image: p.number(place+".image", in.Image, 0),
		second: p.number(place+".audio_second", in.Second, 0),
	}
	out.cached = p.number(place+".cached_input", in.Cached, out.input)
	out.written = p.number(place+".cache_write", in.Written, out.input)
	out.reasoning = p.number(place+".reasoning", in.Reasoning, out.output)
	return out
}

// number returns a price in 10⁻¹² of the unit.
func (p *parser) number(place string, in *json.Number, missing uint64) uint64 {
	if in == nil {
		return missing
	}
	if len(*in) > 40 { // 1e999999999 would be a large number to compute
		p.fault(place, "%.40s… is no price", *in)
		return 0
	}
	f, _, err := big.ParseFloat(string(*in), 10, 64, big.ToNearestEven)
	switch {
	case err != nil || f.Sign() < 0:
		p.fault(place, "must be a number of at least 0, not %s", *in)
		return 0
	case f.Cmp(big.NewFloat(mostPrice)) > 0:
		p.fault(place, "must be at most %d, not %s", mostPrice, *in)
		return 0
	case f.Sign() != 0 && f.MantExp(nil) < -64:
		p.fault(place, "has more than 12 digits after the decimal point: %s", *in)
		return 0
	}
	exact, ok := new(big.Rat).SetString(string(*in))
	if !ok || !exact.Mul(exact, big.NewRat(scale, 1)).IsInt() {
		p.fault(place, "has more than 12 digits after the decimal point: %s", *in)
		return 0
	}
	return exact.Num().Uint64()
}

func (p *parser) time(place, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	p.fault(place, `must be a day such as "2026-01-31" or a time such as "2026-01-31T12:00:00Z", not %q`, text)
	return time.Time{}
}
