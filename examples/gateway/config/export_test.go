package config

// Alias is a name of an earlier release.
type Alias = alias

// Aliases returns the table of all of them.
func Aliases() []Alias { return aliases() }
