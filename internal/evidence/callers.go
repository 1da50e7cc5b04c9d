package evidence

import "time"

// maxCallers is the number of callers that a window counts separately. The others share one entry.
const maxCallers = 16

// Callers counts exchanges by caller. The zero value is ready to use. It is not safe for
// concurrent use.
type Callers struct {
	known []caller
	rest  *Window // the callers beyond maxCallers; nil: there are none
}

type caller struct {
	id uint64
	Window
}

// Add counts an exchange of the caller.
func (c *Callers) Add(now time.Time, id uint64, bad bool) { c.of(now, id).Add(now, bad) }

// Correct turns the caller's latest failure into a success.
func (c *Callers) Correct(now time.Time, id uint64) { c.of(now, id).Correct(now) }

func (c *Callers) of(now time.Time, id uint64) *Window {
	for i := range c.known {
		if c.known[i].id == id {
			return &c.known[i].Window
		}
	}
	if len(c.known) < maxCallers {
		c.known = append(c.known, caller{id: id})
		return &c.known[len(c.known)-1].Window
	}
	for i := range c.known {
		if c.known[i].Tally(now).All == 0 {
			c.known[i] = caller{id: id}
			return &c.known[i].Window
		}
	}
	if c.rest == nil {
		c.rest = new(Window)
	}
	return c.rest
}

// Others returns the tally of all callers but the one with the most failures, and reports
// whether more than one caller failed.
func (c *Callers) Others(now time.Time) (others Tally, several bool) {
	var worst, sum Tally
	failed := 0
	take := func(t Tally) {
		sum.All += t.All
		sum.Bad += t.Bad
		if t.Bad > 0 {
			failed++
		}
		if t.Bad > worst.Bad {
			worst = t
		}
	}
	for i := range c.known {
		take(c.known[i].Tally(now))
	}
	if c.rest != nil {
		take(c.rest.Tally(now))
	}
	return Tally{sum.All - worst.All, sum.Bad - worst.Bad}, failed > 1
}
