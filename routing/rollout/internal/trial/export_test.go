package trial

// Open begins another window.
func (t *Trial) Open() { t.open() }

// Users returns how many users are kept.
func (t *Trial) Users() int { return len(t.users.users) }
