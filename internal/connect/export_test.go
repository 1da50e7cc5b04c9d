package connect

// Recheck makes the next request of a name's connections look the name up.
func (d *Dialer) Recheck(host string) { d.name(host).checked.Store(0) }

// Surplus is the number of a name's connections that are to end.
func (d *Dialer) Surplus(host string) int64 { return d.name(host).surplus.Load() }
