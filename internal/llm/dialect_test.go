package llm_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ginfer/ginfer/internal/llm"
	"github.com/stretchr/testify/require"
)

const linesType = "application/x-ndjson"

// dialectCase is a response as a server sends it, and what is found in it: how it opens,
// events with text, estimated tokens, finish reason, marks of its end, usage and error.
type dialectCase struct {
	name string
	api  llm.API
	contentType,
	body, want string
}

// all is everything that a scanner reports.
type all struct {
	finding

	api                            llm.API
	opening                        llm.Opening
	phase                          llm.Phase
	finish                         llm.Finish
	finished, cut, empty, notJSON  bool
	failure                        string
	kind                           llm.Kind
	code, typ, message, lastEvents string
}

func findAll(api llm.API, contentType string, pieces ...string) all {
	var s llm.Scanner
	reset(&s, api, contentType)
	for _, p := range pieces {
		_, _ = s.Write([]byte(p))
	}
	a := all{
		finding: found(&s), api: s.API(), opening: s.Opening(), phase: s.Phase(), finish: s.Finish(), finished: s.Finished(),
		cut: s.Cut(), empty: s.Empty(), notJSON: s.NotJSON(), lastEvents: fmt.Sprint(s.LastEvent()),
	}
	if err := s.Failure(); err != nil {
		a.failure, a.kind, a.code, a.typ, a.message = err.Error(), err.Kind, err.Code, err.Type, err.Message
	}
	return a
}

func (a all) String() string {
	words := []string{[]string{"silent", "begun", "failed"}[a.opening], fmt.Sprintf("%d events", a.events)}
	for flag, name := range map[llm.Finish]string{
		llm.FinishStop: "a-stop", llm.FinishCalls: "b-calls", llm.FinishFiltered: "c-filtered", llm.FinishOther: "d-other", llm.HadCalls: "e-tools", llm.ServerTools: "f-server-tools",
	} {
		if a.finish&flag != 0 {
			words = append(words, name)
		}
	}
	slices.Sort(words[2:])
	for i := range words[2:] {
		words[i+2] = words[i+2][2:]
	}
	for _, fact := range []struct {
		has  bool
		name string
	}{{a.phase == llm.PhaseWork, "work"}, {a.ended, "terminal"}, {a.finished, "finished"}, {a.cut, "cut"}, {a.empty, "empty"}, {a.notJSON, "no-json"}} {
		if fact.has {
			words = append(words, fact.name)
		}
	}
	if a.known {
		words = append(words, fmt.Sprintf("%d/%d", a.usage.Input, a.usage.Output))
		for n, name := range []string{"cached", "written", "reasoning"} {
			if v := []int64{a.usage.Cached, a.usage.CacheWritten, a.usage.Reasoning}[n]; v > 0 {
				words = append(words, fmt.Sprintf("%s=%d", name, v))
			}
		}
	}
	if a.failed {
		words = append(words, "error:"+a.kind.String())
	}
	return strings.Join(words, " ")
}

func dialectCases() []dialectCase {
	return slices.Concat(chatCases(), completionCases(), responsesCases(), messagesCases(), converseCases(), geminiCases(), ollamaCases(), otherCases(), mediaCases(), unknownCases())
}

// The results are the same wherever the reads are split.
func TestDialects(t *testing.T) {
	t.Parallel()
	for _, tt := range dialectCases() {
		t.Run(tt.api.String()+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			whole := findAll(tt.api, tt.contentType, tt.body)
			require.Equal(t, tt.want, whole.String())
			cuts(tt.body, func(pieces ...string) {
				require.Equal(t, whole, findAll(tt.api, tt.contentType, pieces...), "%q", pieces)
			})
			if tt.contentType == jsonType {
				return
			}
			for _, end := range []string{"\r\n", "\r"} {
				if tt.contentType == linesType && end == "\r" {
					continue // not the end of a line
				}
				other := findAll(tt.api, tt.contentType, strings.ReplaceAll(tt.body, "\n", end))
				require.Equal(t, tt.want, other.String(), "%q", end)
			}
		})
	}
}

// Responses that are compressed or of another type are not read, so their text can't make a
// client wait.
func TestUnreadableResponses(t *testing.T) {
	t.Parallel()
	for _, h := range []http.Header{{"Content-Type": {"audio/mpeg"}}, {"Content-Type": {streamType}, "Content-Encoding": {"zstd"}}, {}} {
		var s llm.Scanner
		s.Reset(llm.Chat, h)
		_, _ = s.Write([]byte("data: {\"error\":{}}\n\n"))
		require.False(t, s.Cut() || s.Empty() || s.Stream() || s.Readable() || s.Failure() != nil)
	}
}
