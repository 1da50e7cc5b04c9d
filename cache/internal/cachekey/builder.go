package cachekey

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"github.com/ginfer/ginfer/cache/internal/jcs"
)

// Key identifies a response.
type Key [sha256.Size]byte

// textLength is the length of a Key as text.
const textLength = (sha256.Size*8 + 5) / 6

// String encodes the key as text, by which stores know it.
func (k *Key) String() string {
	var text [textLength]byte
	base64.RawURLEncoding.Encode(text[:], k[:])
	return string(text[:])
}

// With returns the key that k becomes together with numbers.
func (k *Key) With(numbers ...uint64) Key {
	b := make([]byte, 0, 128)
	b = append(b, k[:]...)
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return sha256.Sum256(b)
}

// Builder builds keys. It is not safe for concurrent use.
type Builder struct {
	canon   jcs.Canon
	text    []byte
	members Members
}

// maxIdle bounds the buffer of a Builder in a Pool.
const maxIdle = 64 << 10

// Pool keeps Builders for reuse. Its zero value is ready.
type Pool struct{ idle sync.Pool }

// Get returns a Builder.
func (p *Pool) Get() *Builder {
	if b, ok := p.idle.Get().(*Builder); ok {
		b.Reset()
		return b
	}
	return &Builder{canon: jcs.Canon{Exact: true}}
}

// Put returns a Builder to the pool, unless it has become large.
func (p *Pool) Put(b *Builder) {
	if cap(b.text) <= maxIdle {
		p.idle.Put(b)
	}
}

// Reset begins a new key.
func (b *Builder) Reset() { b.text = b.text[:0] }

// Add adds a part.
func (b *Builder) Add(text string) {
	b.AddLength(len(text))
	b.text = append(b.text, text...)
}

// AddBytes adds a part.
func (b *Builder) AddBytes(p []byte) {
	b.AddLength(len(p))
	b.text = append(b.text, p...)
}

// AddLength adds the length of a list, or of a part.
func (b *Builder) AddLength(n int) {
	b.text = binary.BigEndian.AppendUint64(b.text, uint64(max(n, 0)))
}

// Sum returns the key of the parts.
func (b *Builder) Sum() Key { return sha256.Sum256(b.text) }
