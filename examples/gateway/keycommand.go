package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ginfer/ginfer/auth"
)

// keyCommand is "gateway key": it makes an API key, adds its hash to a file, and
// prints the key, which is stored nowhere.
func keyCommand(args []string, stdout, stderr io.Writer) int {
	var e auth.KeyEntry
	flags := flag.NewFlagSet("gateway key", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("file", "", "`file` of keys; made when it is missing (required)")
	flags.StringVar(&e.Subject, "subject", "", "owner of the key (required)")
	flags.StringVar(&e.Tenant, "tenant", "", "customer or team")
	scopes := flags.String("scopes", "", "scopes of the key, separated by commas")
	tags := flags.String("tags", "", "tags of the owner, separated by commas")
	models := flags.String("models", "", "models that the key may use, separated by commas; * at the end matches any rest (default: all)")
	life := flags.Duration("for", 0, "how long the key is valid, such as 720h (default: forever)")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		return exitConfig
	}
	if *file == "" || e.Subject == "" || flags.NArg() > 0 || *life < 0 {
		_, _ = fmt.Fprintln(stderr, "gateway key: -file and -subject are needed, and nothing else may follow")
		flags.Usage()
		return exitConfig
	}
	e.Scopes, e.Tags, e.Models = words(*scopes), words(*tags), words(*models)
	if *life > 0 {
		e.Expires = time.Now().Add(*life).UTC().Truncate(time.Second)
	}
	key, err := auth.AddKey(*file, auth.DefaultPrefix, e)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	_, _ = fmt.Fprintln(stdout, key)
	return exitOK
}

// words splits a list; it returns nil for "", since an empty list of models would
// allow none.
func words(list string) []string {
	if list == "" {
		return nil
	}
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
