package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Exit codes.
const (
	exitOK     = 0 // drained, nothing was cut
	exitFailed = 1 // could not start, or streams had to be cut at the end
	exitConfig = 2 // bad arguments or configuration
)

const usage = `usage: gateway [run] [flags]   serve requests
       gateway check [flags]   check the configuration and exit
       gateway key [flags]     make an API key
       gateway version         print the version
       gateway help            print this

flags of run and check:
`

// run executes the command that args name and returns its exit code.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if name == "key" {
		return keyCommand(args, stdout, stderr)
	}
	o, flags := newOptions(stderr)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitConfig
	case flags.NArg() > 0:
		return misused(flags, "unknown argument %q", flags.Arg(0))
	case flags.NFlag() > 0 && (name == "version" || name == "help"):
		return misused(flags, "%s takes no flags", name)
	}
	switch name {
	case "run":
		return serveCommand(o, stdout, stderr, signals)
	case "check":
		o.check = true
		return serveCommand(o, stdout, stderr, signals)
	case "version":
		_, _ = fmt.Fprintln(stdout, "gateway", buildVersion())
		return exitOK
	case "help":
		flags.SetOutput(stdout)
		flags.Usage()
		return exitOK
	}
	return misused(flags, "unknown command %q", name)
}

// options are the flags of run and check.
type options struct {
	config         string
	check, verbose bool
}

func newOptions(stderr io.Writer) (*options, *flag.FlagSet) {
	o, flags := &options{}, flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.config, "config", "", "configuration `file`, JSON or YAML; reloaded when it changes (default: built in)")
	flags.BoolVar(&o.check, "check", false, "the same as the command check")
	flags.BoolVar(&o.verbose, "v", false, "log at debug level")
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	return o, flags
}

// misused prints an error about the arguments, and the usage.
func misused(flags *flag.FlagSet, format string, args ...any) int {
	_, _ = fmt.Fprintf(flags.Output(), "gateway: "+format+"\n\n", args...)
	flags.Usage()
	return exitConfig
}

// buildVersion returns the versions of the main module, of ginfer if that is another, and of Go.
func buildVersion() string {
	parts := []string{"(unknown)"}
	if info, ok := debug.ReadBuildInfo(); ok {
		parts[0] = info.Main.Version
		for _, dep := range info.Deps {
			if dep.Path == "github.com/ginfer/ginfer" {
				parts = append(parts, "ginfer", dep.Version)
			}
		}
	}
	return strings.Join(append(parts, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH), " ")
}
