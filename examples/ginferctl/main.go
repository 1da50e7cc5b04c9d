// Command ginferctl works with the queue and the rollouts of a gateway from a terminal.
//
//	export GINFER_URL=https://gateway.example.com/v1 GINFER_TOKEN=...
//	ginferctl batch submit requests.jsonl -watch
//	ginferctl batch results batch_0198... -o results.jsonl
//	ginferctl jobs submit body.json -wait
//	ginferctl dead list -admin http://127.0.0.1:9090/admin
//	ginferctl rollouts promote chat:v2
//
// It uses only the gateway's HTTP API.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{env: os.Getenv, in: os.Stdin, out: os.Stdout, info: os.Stderr, poll: time.Second}
	err := c.run(ctx, os.Args[1:])
	stop()
	code := exitCode(err)
	if code != 0 {
		fmt.Fprintln(os.Stderr, "ginferctl:", err)
	}
	os.Exit(code) //nolint:gocritic // stop was called
}

// exitCode is 2 for wrong arguments and 1 for other errors.
func exitCode(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage), errors.Is(err, errArgs), errors.Is(err, errFlags):
		return 2
	}
	return 1
}

// cli is one call of the command.
type cli struct {
	env  func(string) string
	in   io.Reader
	out  io.Writer // results
	info io.Writer // messages
	poll time.Duration
}

// command is a subcommand.
type command struct {
	name, args, help string
	run              func(c *cli, ctx context.Context, f *flags) error
}

func commands() []command {
	return []command{
		{"batch submit", "FILE", "upload a JSONL file and start a batch", (*cli).submitBatch},
		{"batch list", "", "list batches, the newest first", (*cli).listBatches},
		{"batch get", "ID", "show a batch", (*cli).getBatch},
		{"batch watch", "ID", "follow a batch with a progress bar", (*cli).watchBatch},
		{"batch cancel", "ID", "cancel a batch", (*cli).cancelBatch},
		{"batch results", "ID", "write the responses, or with -errors those that failed", (*cli).batchResults},
		{"jobs submit", "FILE", "submit a request whose body is in a file, or - for the input", (*cli).submitJob},
		{"jobs list", "", "list jobs, the newest first", (*cli).listJobs},
		{"jobs get", "ID", "show a job", (*cli).getJob},
		{"jobs wait", "ID", "wait for a job and write its response", (*cli).waitJob},
		{"jobs cancel", "ID", "cancel a job", (*cli).cancelJob},
		{"dead list", "", "list dead letters (operators)", (*cli).listDead},
		{"dead replay", "ID|all", "replay dead letters (operators)", (*cli).replayDead},
		{"dead delete", "ID", "delete a dead letter (operators)", (*cli).deleteDead},
		{"status", "", "show the state of the queue (operators)", (*cli).status},
		{"rollouts list", "", "show the progress of rollouts (operators)", (*cli).listRollouts},
		{"rollouts pause", "NAME", "keep one at its step", decideRollout("pause")},
		{"rollouts resume", "NAME", "continue a paused one", decideRollout("resume")},
		{"rollouts promote", "NAME", "advance to the next step now", decideRollout("promote")},
		{"rollouts rollback", "NAME", "roll back now", decideRollout("rollback")},
		{"rollouts restart", "NAME", "start again", decideRollout("restart")},
	}
}

// flags are the flags of all commands.
type flags struct {
	*flag.FlagSet
	url, admin, token     string
	endpoint, output, key string
	priority, webhook     string
	expires               time.Duration
	limit                 int
	watch, wait, failed   bool
}

func (c *cli) flags(cmd *command) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("ginferctl "+cmd.name, flag.ContinueOnError)}
	f.SetOutput(c.info)
	f.StringVar(&f.url, "url", cmp.Or(c.env("GINFER_URL"), "http://127.0.0.1:8080/v1"), "base URL of the API")
	f.StringVar(&f.admin, "admin", cmp.Or(c.env("GINFER_ADMIN_URL"), "http://127.0.0.1:9090/admin"), "base URL of the operators' API")
	f.StringVar(&f.token, "token", "", "the token; prefer GINFER_TOKEN, which the process list does not show")
	f.StringVar(&f.endpoint, "endpoint", "/v1/chat/completions", "the path that is called")
	f.StringVar(&f.output, "o", "-", "the file to write to")
	f.StringVar(&f.key, "key", "", "the Idempotency-Key (default: a new one)")
	f.StringVar(&f.priority, "priority", "", "high, normal or low")
	f.StringVar(&f.webhook, "webhook", "", "a URL to call at the end")
	f.DurationVar(&f.expires, "expires", 0, "time limit of the job (default: the gateway's)")
	f.IntVar(&f.limit, "limit", 20, "how many to list")
	f.BoolVar(&f.watch, "watch", false, "follow the batch")
	f.BoolVar(&f.wait, "wait", false, "wait for the response")
	f.BoolVar(&f.failed, "errors", false, "write the requests that failed")
	f.Usage = func() {
		fmt.Fprintf(c.info, "usage: ginferctl %s %s [flags]\n\n%s\n\n", cmd.name, cmd.args, cmd.help)
		f.PrintDefaults()
	}
	return f
}

var (
	errUsage  = errors.New("no such command")
	errArgs   = errors.New("wrong number of arguments")
	errFlags  = errors.New("wrong flags")
	errFailed = errors.New("it did not complete")
	errEarly  = errors.New("it is not done yet")
)

func (c *cli) run(ctx context.Context, args []string) error {
	cmd, rest := find(args)
	if cmd == nil {
		c.usage()
		if len(args) == 1 && slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
			return nil
		}
		return errUsage
	}
	f := c.flags(cmd)
	positional, err := parse(f, rest)
	if err != nil {
		return fmt.Errorf("%w: %w", errFlags, err)
	}
	if want := len(strings.Fields(cmd.args)); len(positional) != want {
		f.Usage()
		return errArgs
	}
	if f.token == "" {
		f.token = c.env("GINFER_TOKEN")
	}
	if err := f.Parse(positional); err != nil { // for Arg
		return err
	}
	return cmd.run(c, ctx, f)
}

// parse accepts flags before and after the other arguments.
func parse(f *flags, args []string) (positional []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return positional, nil
		}
		positional = append(positional, f.Arg(0))
		args = f.Args()[1:]
	}
}

func find(args []string) (*command, []string) {
	for _, cmd := range commands() {
		words := strings.Fields(cmd.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == cmd.name {
			return &cmd, args[len(words):]
		}
	}
	return nil, nil
}

func (c *cli) usage() {
	fmt.Fprintln(c.info, "usage: ginferctl COMMAND [flags]; -h after a command lists its flags")
	fmt.Fprintln(c.info)
	for _, cmd := range commands() {
		fmt.Fprintf(c.info, "  %-24s %s\n", strings.TrimSpace(cmd.name+" "+cmd.args), cmd.help)
	}
}

// api is the client of the API for callers.
func (f *flags) api() *client { return &client{base: f.url, token: f.token, http: &http.Client{}} }

func (f *flags) operators() *client {
	return &client{base: f.admin, token: f.token, http: &http.Client{}}
}
