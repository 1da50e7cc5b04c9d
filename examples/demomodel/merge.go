package demomodel

import "container/heap"

// merger is byte pair encoding under way: the best pair of neighbours becomes
// one symbol until no pair is a piece. With a heap and a linked list this takes
// n·log n steps, however long the text.
type merger struct {
	vocabulary *vocabulary
	symbols    []symbol
	queue      candidates
}

// symbol is a token with its neighbours, -1 at the ends. One merged into its
// left neighbour has the id -1.
type symbol struct{ id, prev, next int }

// append makes ids the symbols and queues their pairs.
func (m *merger) append(ids []int) {
	for i, id := range ids {
		m.symbols = append(m.symbols, symbol{id: id, prev: i - 1, next: i + 1})
	}
	if len(ids) == 0 {
		return
	}
	m.symbols[len(ids)-1].next = -1
	for i := range m.symbols {
		m.consider(i)
	}
}

// consider queues the pair that begins at symbol i when it makes up a piece.
func (m *merger) consider(i int) {
	if i < 0 || m.symbols[i].next < 0 {
		return
	}
	p := pair{m.symbols[i].id, m.symbols[m.symbols[i].next].id}
	if id, ok := m.vocabulary.merge[p]; ok {
		heap.Push(&m.queue, candidate{at: i, pair: p, id: id, score: m.vocabulary.score[id]})
	}
}

// merge makes one symbol of c, unless another merge has taken part of it.
func (m *merger) merge(c candidate) {
	left := &m.symbols[c.at]
	if left.id != c.left || left.next < 0 || m.symbols[left.next].id != c.right {
		return
	}
	right := &m.symbols[left.next]
	left.id, left.next = c.id, right.next
	right.id = -1
	if left.next >= 0 {
		m.symbols[left.next].prev = c.at
	}
	m.consider(left.prev)
	m.consider(c.at)
}

// candidate is a pair that may merge into id.
type candidate struct {
	pair
	at, id int
	score  float32
}

// candidates is a heap, the highest score first, then the leftmost.
type candidates []candidate

func (c *candidates) Len() int { return len(*c) }

func (c *candidates) Less(i, j int) bool {
	a, b := (*c)[i], (*c)[j]
	if a.score != b.score {
		return a.score > b.score
	}
	return a.at < b.at
}

func (c *candidates) Swap(i, j int) { (*c)[i], (*c)[j] = (*c)[j], (*c)[i] }

// Push implements heap.Interface.
func (c *candidates) Push(x any) {
	*c = append(*c, x.(candidate)) //nolint:forcetypeassert // merger pushes nothing else
}

// Pop implements heap.Interface.
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}
