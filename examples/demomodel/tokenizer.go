package demomodel

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// kind is the type of a token, with SentencePiece's numbers.
type kind byte

const (
	kindText    kind = 1
	kindUnknown kind = 2
	kindControl kind = 3
	kindByte    kind = 6
)

// Tokens with a fixed place in the vocabulary.
const (
	tokenBegin = 1 // begins a text
	tokenEnd   = 2 // ends it
	firstByte  = 3 // so many come before the 256 byte tokens, at least
)

// maxPiece bounds the work of finding merges.
const maxPiece = 256

// space is how the vocabulary writes a space.
const space = "▁"

// pair is two tokens side by side.
type pair struct{ left, right int }

// vocabulary turns text into tokens and back. Text that has no piece of its
// own becomes byte tokens, so every string has an encoding.
type vocabulary struct {
	text  []string // what a token adds to the output
	kind  []kind
	score []float32
	ids   map[string]int // text pieces as the vocabulary writes them
	bytes [256]int
	merge map[pair]int // two pieces that make up a third
}

func newVocabulary() *vocabulary {
	return &vocabulary{ids: map[string]int{}, merge: map[pair]int{}}
}

// add appends a token.
func (v *vocabulary) add(piece string, score float32, k kind) error {
	id, text := len(v.kind), ""
	switch k {
	case kindText:
		if err := v.addText(piece, id); err != nil {
			return err
		}
		text = strings.ReplaceAll(piece, space, " ")
	case kindByte:
		b, err := parseByte(piece)
		if err != nil {
			return err
		}
		v.bytes[b] = id
		text = string([]byte{b})
	case kindUnknown, kindControl: // adds nothing to the output
	default:
		return fmt.Errorf("type %d is unknown", k)
	}
	if math.IsNaN(float64(score)) {
		return errors.New("the score is not a number")
	}
	v.text, v.kind, v.score = append(v.text, text), append(v.kind, k), append(v.score, score)
	return nil
}

func (v *vocabulary) addText(piece string, id int) error {
	if piece == "" || len(piece) > maxPiece || !utf8.ValidString(piece) {
		return fmt.Errorf("%.32q is empty, longer than %d bytes or not UTF-8", piece, maxPiece)
	}
	if _, ok := v.ids[piece]; ok {
		return fmt.Errorf("%q is there twice", piece)
	}
	v.ids[piece] = id
	return nil
}

// parseByte reads the name of a byte token, as in <0x0A>.
func parseByte(piece string) (byte, error) {
	if len(piece) == 6 && piece[:3] == "<0x" && piece[5] == '>' {
		if b, err := strconv.ParseUint(piece[3:5], 16, 8); err == nil {
			return byte(b), nil
		}
	}
	return 0, fmt.Errorf("%q names no byte", piece)
}

// finish checks the vocabulary as a whole and finds the merges: a piece is the
// merge of any two pieces that it splits into.
func (v *vocabulary) finish() error {
	if v.kind[tokenBegin] != kindControl || v.kind[tokenEnd] != kindControl {
		return errors.New("tokens 1 and 2 are not control tokens")
	}
	for b, id := range v.bytes {
		if id == 0 {
			return fmt.Errorf("byte token <0x%02X> is missing", b)
		}
	}
	for piece, id := range v.ids {
		for cut := range piece {
			left, ok := v.ids[piece[:cut]]
			if !ok {
				continue
			}
			if right, ok := v.ids[piece[cut:]]; ok {
				v.merge[pair{left, right}] = id
			}
		}
	}
	return nil
}

// encode appends the tokens of s to ids. As in training, a space comes before
// the first word.
func (v *vocabulary) encode(ids []int, s string) []int {
	if s == "" {
		return ids
	}
	m := merger{vocabulary: v, symbols: make([]symbol, 0, len(s)+1)}
	m.append(v.split(make([]int, 0, len(s)+1), " "+s))
	for m.queue.Len() > 0 {
		m.merge(heap.Pop(&m.queue).(candidate)) //nolint:forcetypeassert // the queue holds nothing else
	}
	for _, s := range m.symbols {
		if s.id >= 0 {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// split appends the tokens of s, one per character or byte.
func (v *vocabulary) split(ids []int, s string) []int {
	for len(s) > 0 {
		_, n := utf8.DecodeRuneInString(s)
		id, ok := v.ids[s[:n]]
		switch s[:n] {
		case " ":
			id, ok = v.ids[space]
		case space: // it would come back as a space
			ok = false
		}
		if ok {
			ids = append(ids, id)
		} else {
			for i := range n {
				ids = append(ids, v.bytes[s[i]])
			}
		}
		s = s[n:]
	}
	return ids
}

// decode returns the text of ids.
func (v *vocabulary) decode(ids []int) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(v.text[id])
	}
	return b.String()
}
