package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tributary-health/tributary/hashmatch"
)

// demoMatchKey is, in a demo's work folder, the key that its provider shares
// with the payer.
const demoMatchKey = "keys/provider.match"

// matchOptions are the flags of `tributary match`.
type matchOptions struct {
	work, url, keyFile, clientKeyFile, ca string
	file                                  string
	json, tokens                          bool
	rate                                  float64
	retries                               int
}

func runMatch(ctx context.Context, args []string) error {
	o, err := matchFlags(args)
	if err != nil {
		return err
	}
	rows, err := readMatchFile(o.file, os.Stderr)
	if err != nil {
		return err
	}
	key, client, err := o.open()
	if err != nil {
		return err
	}
	if o.tokens {
		return printTokens(os.Stdout, key, rows)
	}
	return matchRows(ctx, client, key, rows, newMatchPrinter(os.Stdout, o.json), os.Stderr)
}

func matchFlags(args []string) (matchOptions, error) {
	var o matchOptions
	f := flag.NewFlagSet("match", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), "usage: tributary match [flags] FILE\n"+
			"Asks the payer which people of a CSV file are its members. What it sends are keyed hashes,\n"+
			"never a name, a date or a number. Columns: "+strings.Join(matchColumns, ", ")+".\n"+
			"Status 0: every patient was answered for; 1: some were not; 2: wrong use.\n\n")
		f.PrintDefaults()
	}
	f.StringVar(&o.work, "work", ".demo", "work folder of a running demo, to ask as its provider")
	f.StringVar(&o.url, "url", "", "the FHIR base address to ask, in place of the demo's")
	f.StringVar(&o.keyFile, "key-file", "", "file with the match key shared with the payer; default: the demo's")
	f.StringVar(&o.clientKeyFile, "client-key-file", "", "file with the client's bearer key; needed with --url")
	f.StringVar(&o.ca, "ca", "", "PEM file of the authorities to trust, in place of the system's")
	f.BoolVar(&o.json, "json", false, "print one JSON object a line, not a table")
	f.BoolVar(&o.tokens, "tokens", false, "print the requests, one a line, and send nothing")
	f.Float64Var(&o.rate, "rate", 5, "requests a second, at most 100")
	f.IntVar(&o.retries, "retries", 3, "how often to ask again when the server is not ready (503), at most 10")
	var files []string
	for rest := args; ; { // flags may stand behind the file
		if err := f.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return o, err
			}
			return o, errUsageShown
		}
		if f.NArg() == 0 {
			break
		}
		files, rest = append(files, f.Arg(0)), f.Args()[1:]
	}
	if len(files) != 1 {
		return o, usageError{fmt.Sprintf("match: %d files given, want one CSV file", len(files))}
	}
	o.file = files[0]
	return o, o.check()
}

func (o *matchOptions) check() error {
	switch {
	case !(o.rate > 0 && o.rate <= 100):
		return usageError{"match: --rate: not above 0 and up to 100 requests a second"}
	case o.retries < 0 || o.retries > 10:
		return usageError{"match: --retries: not 0 to 10"}
	case o.url != "" && !o.tokens && (o.keyFile == "" || o.clientKeyFile == ""):
		return usageError{"match: --url: needs --key-file and --client-key-file as well"}
	case o.url == "" && !o.tokens && o.clientKeyFile != "":
		return usageError{"match: --client-key-file: without --url the demo's own is used"}
	}
	return nil
}

// open reads the keys and makes the client, which is nil if nothing is sent.
func (o *matchOptions) open() (hashmatch.EpochKey, *matchClient, error) {
	if o.keyFile == "" {
		o.keyFile = filepath.Join(o.work, filepath.FromSlash(demoMatchKey))
	}
	text, err := os.ReadFile(o.keyFile)
	if err != nil {
		return hashmatch.EpochKey{}, nil, fmt.Errorf("match: read the match key: %w; name it with --key-file", err)
	}
	secret, err := hashmatch.ParseKey(text)
	if err != nil {
		return hashmatch.EpochKey{}, nil, fmt.Errorf("%s: %w", o.keyFile, err)
	}
	key, err := secret.Derive(hashmatch.EpochOf(time.Now()))
	if err != nil || o.tokens {
		return key, nil, err
	}
	base, bearer, err := o.server()
	if err != nil {
		return key, nil, err
	}
	client, err := newMatchClient(base, bearer, o.ca, o.rate, o.retries)
	return key, client, err
}

// server is whom to ask, and the bearer key to show.
func (o *matchOptions) server() (base, bearer string, err error) {
	if o.url == "" {
		env, err := readDemoEnv(o.work)
		if err != nil {
			return "", "", fmt.Errorf("match: %w; name a server with --url", err)
		}
		return env["FHIR"], env["PROVIDER_KEY"], nil
	}
	text, err := os.ReadFile(o.clientKeyFile)
	if err != nil {
		return "", "", fmt.Errorf("match: read the client's key: %w", err)
	}
	return o.url, strings.TrimSpace(string(text)), nil
}

// printTokens prints what would be sent.
func printTokens(w io.Writer, key hashmatch.EpochKey, rows []matchRow) error {
	for _, row := range rows {
		r, err := key.Request(row.person)
		if err != nil {
			fmt.Fprintf(os.Stderr, "match: line %d: %v\n", row.line, err)
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\n", r.Encode()); err != nil {
			return err
		}
	}
	return nil
}

// matchOutcome is what became of a row.
type matchOutcome string

const (
	outcomeMatched matchOutcome = "matched"
	outcomeNone    matchOutcome = "no match"
	outcomeUnasked matchOutcome = "not enough to ask" // the row gives no token
	outcomeRefused matchOutcome = "refused"           // the server does not take the request or the client
	outcomeQuota   matchOutcome = "quota"             // not answered: the client's quota is used up
	outcomeFailed  matchOutcome = "failed"            // no answer that can be read
)

// matchResult is one line of what is printed.
type matchResult struct {
	Ref     string       `json:"ref"`
	Outcome matchOutcome `json:"outcome"`
	Patient string       `json:"patient,omitempty"`
	Tasks   []matchTask  `json:"tasks"`
	Detail  string       `json:"detail,omitempty"` // what went wrong, without a value
}

type matchTask struct {
	Text   string `json:"text"`
	Status string `json:"status,omitempty"`
	From   string `json:"from,omitempty"`
	Due    string `json:"due,omitempty"`
}

// open says whether something is still to be done. What was done, or is not to be,
// must not be read as due.
func (t matchTask) open() bool {
	switch t.Status {
	case "completed", "cancelled", "rejected", "failed", "entered-in-error":
		return false
	}
	return true
}

// matchRows asks row by row and prints each answer as it comes. After a used-up
// quota or a client that is not let in, the rest is not asked.
func matchRows(ctx context.Context, c *matchClient, key hashmatch.EpochKey, rows []matchRow, p matchPrinter, summary io.Writer) error {
	counts := map[matchOutcome]int{}
	var ended matchOutcome
	for _, row := range rows {
		result := matchResult{Outcome: ended}
		if ended == "" {
			var last bool
			if result, last = c.ask(ctx, key, row.person); last {
				ended = result.Outcome
			}
		}
		if ctx.Err() != nil {
			break
		}
		result.Ref = row.ref
		counts[result.Outcome]++
		if err := p.print(result); err != nil {
			return err
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	printed := 0
	fmt.Fprintf(summary, "match: %d people", len(rows))
	for _, o := range []matchOutcome{outcomeMatched, outcomeNone, outcomeUnasked, outcomeRefused, outcomeQuota, outcomeFailed} {
		printed += counts[o]
		if counts[o] > 0 {
			fmt.Fprintf(summary, ", %d %s", counts[o], o)
		}
	}
	fmt.Fprintln(summary)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if counts[outcomeMatched]+counts[outcomeNone]+counts[outcomeUnasked] < printed {
		return errReported
	}
	return nil
}

// matchPrinter prints results as they come.
type matchPrinter interface {
	print(matchResult) error
	end() error
}

func newMatchPrinter(w io.Writer, asJSON bool) matchPrinter {
	if asJSON {
		return jsonPrinter{json.NewEncoder(w)}
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "REF\tOUTCOME\tPATIENT\tTASKS")
	return tablePrinter{t}
}

type jsonPrinter struct{ e *json.Encoder }

func (p jsonPrinter) print(r matchResult) error {
	if r.Tasks == nil {
		r.Tasks = []matchTask{} // a list always
	}
	return p.e.Encode(r)
}

func (p jsonPrinter) end() error { return nil }

type tablePrinter struct{ t *tabwriter.Writer }

func (p tablePrinter) print(r matchResult) error {
	var tasks []string
	for _, t := range r.Tasks {
		text := t.Text
		switch {
		case !t.open():
			text += " (" + t.Status + ")"
		case t.Due != "":
			text += " (due " + t.Due + ")"
		}
		tasks = append(tasks, text)
	}
	last := strings.Join(tasks, "; ")
	if r.Detail != "" {
		last = r.Detail
	}
	_, err := fmt.Fprintf(p.t, "%s\t%s\t%s\t%s\n", printable(r.Ref), r.Outcome, printable(r.Patient), printable(last))
	return err
}

func (p tablePrinter) end() error { return p.t.Flush() }

// printable keeps what a file or a server says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x202e {
			return '?'
		}
		return r
	}, s)
}
