package config

import (
	"cmp"
	"fmt"
	"reflect"
	"time"

	"github.com/ginfer/ginfer/proxy"
)

// defaultIdle is the idle timeout of the proxy and of streams.
const defaultIdle = Duration(5 * time.Minute)

// breaker finds options of a circuit that would have no effect.
func (k *checker) breaker(path string, b Breaker) {
	if b.Off {
		b.Off = false
		if !reflect.ValueOf(b).IsZero() {
			k.Add(path+".off", "is set, and other options beside it have no effect")
		}
		return
	}
	if b.SlowPercent != 0 && b.SlowFirstByte <= 0 {
		k.AddUnused(path+".slow_percent", "needs slow_first_byte: nothing is slow without it")
	}
	if b.Step != 0 && b.Ramp != nil && len(b.Ramp) == 0 && b.Trickle >= 0 {
		k.Add(path+".step", "has no effect when ramp is empty")
	}
}

// reached finds timeouts of a group that another one always precedes.
func (k *checker) reached(path string, g *Group) {
	idle := cmp.Or(g.Proxy.Idle, defaultIdle)
	if idle != Off && g.Proxy.Stall > idle {
		k.AddUnused(path+".proxy.stall", "is never reached: idle ends a response after %v", time.Duration(idle))
	}
	if idle != Off && g.Stream.Idle > idle && !g.Queue {
		k.AddUnused(path+".stream.idle", "is never reached: proxy.idle ends a response after %v", time.Duration(idle))
	}
	if total := g.Proxy.Total; total > 0 && g.Stream.Total > total && !g.Queue {
		k.AddUnused(path+".stream.total", "is never reached: proxy.total ends a response after %v", time.Duration(total))
	}
}

// bodies finds body limits that exceed the budget.
func (k *checker) bodies(c *Config) {
	share := int64(float64(c.Memory.BodyBudget) * cmp.Or(c.Memory.BodyShare, 0.25))
	for i := range c.Groups {
		path, most := fmt.Sprintf("groups[%d].proxy.max_body", i), c.Groups[i].Proxy.MaxBody
		if most < -1 {
			k.Add(path, "is a number of bytes, or -1")
		}
		if most = max(most, 0); most == 0 {
			most = proxy.DefaultBodyLimit
		}
		if share > 0 && most > share {
			k.Add(path, "%d bytes exceed the %d that memory.body_budget and body_share leave to one caller", most, share)
		}
	}
}
