package demomodel

import (
	"context"
	"strings"
	"time"
)

// Why a text ended, as the API names it.
const (
	finishStop   = "stop"
	finishLength = "length"
)

// task is a text to write.
type task struct {
	sampling
	prompt    []string // texts one after the other, the last to be continued
	maxTokens int
	stop      []string
	trim      bool // drop spaces before the first word
	ignoreEOS bool // begin another text where the model ends one
}

// outcome describes a finished text.
type outcome struct {
	prompt, completion int // tokens
	finish             string
}

// generator writes texts, one at a time.
type generator struct {
	words   *vocabulary
	decoder *decoder
	sampler *sampler
	delay   time.Duration
	last    int // the token to read next
}

func newGenerator(m *model, delay time.Duration) *generator {
	return &generator{words: m.vocabulary, decoder: newDecoder(m), sampler: newSampler(m.vocabulary.kind), delay: delay}
}

// run writes a text and hands it to emit part by part. It ends early with the
// error of emit, or within one token of ctx.
func (g *generator) run(ctx context.Context, t task, emit func(text string) error) (outcome, error) {
	g.sampler.reset(t.sampling)
	result := outcome{finish: finishLength}
	var err error
	if result.prompt, err = g.read(ctx, t.prompt); err != nil {
		return result, err
	}
	out := output{stop: t.stop, trim: t.trim, emit: emit}
	for result.completion < t.maxTokens {
		token, err := g.next(ctx, result.completion > 0)
		if err == nil && token == tokenEnd && t.ignoreEOS {
			token, err = g.restart(ctx)
		}
		if err != nil {
			return result, err
		}
		if token == tokenEnd {
			result.finish = finishStop
			break
		}
		result.completion++
		stopped, err := out.write(g.words.text[token])
		if err != nil {
			return result, err
		}
		if stopped {
			result.finish = finishStop
			return result, nil
		}
	}
	return result, out.close()
}

// read feeds the end of the prompt, up to half the context so that there is room
// to write, and returns the token count of the whole prompt.
func (g *generator) read(ctx context.Context, prompt []string) (int, error) {
	g.decoder.reset()
	tokens := g.tokens(prompt)
	count := len(tokens)
	if keep := g.decoder.m.context / 2; count > keep {
		tokens = tokens[count-keep:]
	}
	g.last = tokens[len(tokens)-1]
	for _, t := range tokens[:len(tokens)-1] {
		if err := g.decoder.feed(ctx, t); err != nil {
			return count, err
		}
	}
	return count, nil
}

// tokens returns the tokens of a prompt. The texts are set one after the other
// as they were in training: on a single line, with marks between them.
func (g *generator) tokens(prompt []string) []int {
	tokens := []int{tokenBegin}
	for i, text := range prompt {
		if i > 0 {
			tokens = append(tokens, tokenEnd, tokenBegin)
		}
		tokens = g.words.encode(tokens, strings.Join(strings.Fields(text), " "))
	}
	return tokens
}

// next chooses the next token. It is tokenEnd where the model ends its text,
// which it does only where mayEnd is set: a text has at least one token.
func (g *generator) next(ctx context.Context, mayEnd bool) (int, error) {
	if err := g.pause(ctx); err != nil {
		return 0, err
	}
	if err := g.decoder.feed(ctx, g.last); err != nil {
		return 0, err
	}
	g.last = g.sampler.pick(g.decoder.predict(), mayEnd)
	return g.last, nil
}

// restart begins another text after tokenEnd and chooses its first token. It is
// part of the same step as the end and so takes no delay of its own.
func (g *generator) restart(ctx context.Context) (int, error) {
	for _, t := range [...]int{tokenEnd, tokenBegin} {
		if err := g.decoder.feed(ctx, t); err != nil {
			return 0, err
		}
	}
	g.last = g.sampler.pick(g.decoder.predict(), false)
	return g.last, nil
}

// pause waits for the delay.
func (g *generator) pause(ctx context.Context) error {
	if g.delay <= 0 {
		return nil
	}
	timer := time.NewTimer(g.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
