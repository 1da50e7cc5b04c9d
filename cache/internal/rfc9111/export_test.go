package rfc9111

// IsDictionary exports eachMember to compare it with another parser.
func IsDictionary(values []string) (members int, ok bool) {
	keys := map[string]bool{}
	ok = eachMember(values, func(key string, _ bareItem) { keys[key] = true })
	return len(keys), ok
}
