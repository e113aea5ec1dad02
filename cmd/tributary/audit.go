package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tributary-health/tributary/audit"
	"github.com/tributary-health/tributary/fhir"
)

func runAudit(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		fmt.Println("usage: tributary audit verify | account MEMBER | list [flags]")
		fmt.Println("\n  verify   is the record whole, and nothing of it changed?")
		fmt.Println("  account  who was shown what of a member")
		fmt.Println("  list     the record, or a part of it")
		return nil
	}
	switch args[0] {
	case "verify":
		return runAuditVerify(args[1:])
	case "account":
		return runAuditAccount(args[1:])
	case "list":
		return runAuditList(ctx, args[1:])
	}
	return usageError{fmt.Sprintf("unknown command audit %s: one of verify, account, list", args[0])}
}

// record is where a log of disclosures lies, and what is known of it from
// elsewhere.
type record struct {
	work, data, config, key, from *string
	expect                        expected
}

// expected is a flag that may be given several times.
type expected []audit.Mark

func (e *expected) String() string { return "" }

func (e *expected) Set(s string) error {
	m, err := audit.ParseMark(s)
	*e = append(*e, m)
	return err
}

func recordFlags(f *flag.FlagSet) *record {
	r := &record{
		work:   f.String("work", ".demo", "work folder of a demo, running or not"),
		data:   f.String("data", "", "data folder of a process, or a copy of its folder audit; default: the demo's"),
		config: f.String("config", "", "configuration file that names the data folder"),
		key:    f.String("key", "", "file with the public key that the log must be signed with, or its fingerprint"),
		from:   f.String("after", "", "NUMBER:HASH, the head that the archive of older segments ends with"),
	}
	f.Var(&r.expect, "expect", "NUMBER:HASH, a head that was noted earlier: it must still be in the chain; may be given again")
	return r
}

// dir is the log's folder. One of a copy may be named itself.
func (r *record) dir() (string, error) {
	data := filepath.Join(*r.work, "data")
	switch {
	case *r.config != "":
		cfg, err := loadConfig(*r.config)
		if err != nil {
			return "", err
		}
		data = cfg.Audit
	case *r.data != "":
		data = *r.data
	}
	dir := filepath.Join(data, "audit")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if _, err := os.Stat(filepath.Join(data, "audit.pub")); err == nil {
		return data, nil
	}
	return "", fmt.Errorf("there is no record of disclosures in %s: name a data folder with --data, or a demo's with --work", data)
}

func (r *record) options() (audit.VerifyOptions, error) {
	o := audit.VerifyOptions{Expect: r.expect, Fingerprint: strings.ToLower(*r.key)}
	if *r.from != "" {
		m, err := audit.ParseMark(*r.from)
		if err != nil {
			return o, err
		}
		o.From = &m
	}
	if len(o.Fingerprint) == 64 && strings.Trim(o.Fingerprint, "0123456789abcdef") == "" || *r.key == "" {
		return o, nil
	}
	text, err := os.ReadFile(*r.key)
	if err != nil {
		return o, fmt.Errorf("--key is neither a fingerprint of 64 hex digits nor a file: %w", err)
	}
	key, err := audit.ParsePublicKey(text)
	if err != nil {
		return o, fmt.Errorf("--key %s: %w", *r.key, err)
	}
	o.Fingerprint = audit.Fingerprint(key)
	return o, nil
}

// open resolves both.
func (r *record) open() (string, audit.VerifyOptions, error) {
	o, err := r.options()
	if err != nil {
		return "", o, cannot(err)
	}
	dir, err := r.dir()
	if err != nil {
		return "", o, cannot(err)
	}
	return dir, o, nil
}

func runAuditVerify(args []string) error {
	f := newFlags("audit verify", "Reads the record of disclosures, beside a running process too, and prints a line for everything that is wrong.\n"+
		"Exits 1 if anything is, 2 if it could not find out. Note the head elsewhere: --expect finds a record that was taken back.")
	r := recordFlags(f)
	if err := parseFlags(f, args); err != nil {
		return err
	}
	dir, options, err := r.open()
	if err != nil {
		return err
	}
	report, err := audit.Verify(dir, options)
	if err != nil {
		return cannot(err)
	}
	return printRecord(os.Stdout, report)
}

// printRecord prints what a pass saw; the error is errReported if anything is
// wrong.
func printRecord(w io.Writer, r audit.Report) error {
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	if r.More {
		fmt.Fprintln(w, "... and more")
	}
	switch {
	case len(r.Findings) == 0 || r.Entries == 0:
		fmt.Fprintf(w, "audit: entries %d to %d, ", r.First, r.First+max(r.Entries, 1)-1)
	case r.Head.Number >= r.First:
		fmt.Fprintf(w, "audit: %d of the entries %d to %d are good, ", r.Entries, r.First, r.Head.Number)
	default:
		fmt.Fprintf(w, "audit: %d entries follow one another, ", r.Entries)
	}
	fmt.Fprintf(w, "%d segments, %d bytes, ", r.Segments, r.Bytes)
	switch {
	case len(r.Findings) > 0:
		fmt.Fprintf(w, "faults: %d\n", len(r.Findings))
	case r.Entries == 0:
		fmt.Fprintln(w, "nothing recorded yet")
	default:
		fmt.Fprintf(w, "whole; %s to %s\n", r.Oldest.Format(time.RFC3339), r.Newest.Format(time.RFC3339))
	}
	if r.Unacknowledged > 0 {
		fmt.Fprintf(w, "behind the head: %d entries that nobody was told of; the next start takes them over\n", r.Unacknowledged)
	}
	head := r.Head.String()
	if r.Head == (audit.Mark{}) {
		head = "none"
	}
	fmt.Fprintf(w, "head %s\nkey  %s\n", head, cmp.Or(r.Fingerprint, "none"))
	if len(r.Findings) > 0 {
		return errReported
	}
	return nil
}

func runAuditAccount(args []string) error {
	f := newFlags("audit account MEMBER", "Who was shown what of a member, when and under which policy. MEMBER is the id of a Patient, or Patient/ID;\n"+
		"with --member-key it is left out. The whole record is verified on the way; exits 1 if anything of it is wrong.")
	r := recordFlags(f)
	span := spanFlags(f)
	asJSON := f.Bool("json", false, "print one line of JSON for each entry, and the report to standard error")
	memberKey := f.Bool("member-key", false, "read the source's key of the member from standard input in place of MEMBER; needs --config or --work, and the id key")
	rest, err := parseMixed(f, args)
	if err != nil {
		return err
	}
	from, to, err := span.times()
	if err != nil {
		return err
	}
	dir, options, err := r.open()
	if err != nil {
		return err
	}
	patient := ""
	switch {
	case *memberKey && len(rest) == 0:
		patient, err = r.patientOf(os.Stdin)
	case !*memberKey && len(rest) == 1:
		patient = strings.TrimPrefix(rest[0], "Patient/")
	default:
		err = usageError{"audit account: name one member, by the id of its Patient or with --member-key"}
	}
	if err == nil && !fhir.ValidID(patient) {
		err = usageError{"audit account: MEMBER is not the id of a Patient, nor Patient/ID (with the source's key of a member use --member-key)"}
	}
	if err != nil {
		return err
	}
	t := newAuditTable(os.Stdout, *asJSON)
	report, err := audit.Account(dir, patient, from, to, options, t.add)
	if err != nil {
		return cannot(err)
	}
	if err := t.flush(); err != nil {
		return err
	}
	out := io.Writer(os.Stdout)
	if *asJSON {
		out = os.Stderr
	} else {
		fmt.Printf("\n%d entries tell of Patient/%s\n", t.n, patient)
	}
	err = printRecord(out, report)
	if err != nil {
		fmt.Fprintln(out, "audit: this account is not complete: the record is damaged")
	} else {
		fmt.Fprintf(out, "audit: this account is complete for entries %d to %d\n", report.First, report.Head.Number)
	}
	return err
}

// patientOf makes the Patient's id from the source's key of a member, which is
// not an argument: those are seen by others.
func (r *record) patientOf(in io.Reader) (string, error) {
	s := bufio.NewScanner(in)
	if !s.Scan() || s.Text() == "" {
		return "", usageError{"audit account: --member-key reads one line from standard input"}
	}
	path := *r.config
	if path == "" {
		path = filepath.Join(*r.work, demoConfigFile)
	}
	cfg, err := loadConfig(path)
	if err != nil {
		return "", cannot(err)
	}
	key, err := os.ReadFile(filepath.Join(cfg.Data, "id.key")) // not readIDKey: that would make one
	if err != nil {
		return "", cannot(fmt.Errorf("id key: %w", err))
	}
	set, err := loadMappings(cfg, key)
	if err != nil {
		return "", cannot(err)
	}
	return set.ResourceID("Patient", set.Root().Table, "", s.Text()), nil
}

func runAuditList(ctx context.Context, args []string) error {
	f := newFlags("audit list", "Prints the record of disclosures, or a part of it, and verifies it on the way; exits 1 if anything of it is wrong.")
	r := recordFlags(f)
	span := spanFlags(f)
	client := f.String("client", "", "only what this client asked or was sent")
	asJSON := f.Bool("json", false, "print one line of JSON for each entry, as the record has it")
	asFHIR := f.Bool("fhir", false, "print FHIR AuditEvents, one to a line")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	from, to, err := span.times()
	if err != nil {
		return err
	}
	dir, options, err := r.open()
	if err != nil {
		return err
	}
	t := newAuditTable(os.Stdout, *asJSON)
	t.fhir = *asFHIR
	report, err := audit.Read(dir, from, to, options, func(e audit.Entry) error {
		if *client != "" && e.Client != *client {
			return ctx.Err()
		}
		return errors.Join(t.add(e), ctx.Err())
	})
	if err != nil {
		return cannot(err)
	}
	if err := t.flush(); err != nil {
		return err
	}
	return printRecord(os.Stderr, report)
}

// span is a pair of flags for times.
type span struct{ from, to *string }

func spanFlags(f *flag.FlagSet) span {
	return span{
		f.String("from", "", "only from this time on: 2026-03-01, or 2026-03-01T12:00:00Z; dates are UTC"),
		f.String("to", "", "only before this time"),
	}
}

func (s span) times() (from, to time.Time, err error) {
	for _, x := range []struct {
		text string
		time *time.Time
	}{{*s.from, &from}, {*s.to, &to}} {
		if x.text == "" {
			continue
		}
		if *x.time, err = time.Parse(time.RFC3339, x.text); err == nil {
			continue
		}
		if *x.time, err = time.Parse(time.DateOnly, x.text); err != nil {
			return from, to, usageError{fmt.Sprintf("%q is no time: write 2026-03-01 or 2026-03-01T12:00:00Z", x.text)}
		}
	}
	return from, to, nil
}

// auditTable prints entries for people, or as lines of JSON or FHIR.
type auditTable struct {
	out   *bufio.Writer
	table *tabwriter.Writer
	json  bool
	fhir  bool
	n     int
}

func newAuditTable(w io.Writer, asJSON bool) *auditTable {
	out := bufio.NewWriter(w)
	return &auditTable{out: out, table: tabwriter.NewWriter(out, 0, 4, 2, ' ', 0), json: asJSON}
}

func (t *auditTable) add(e audit.Entry) error {
	t.n++
	switch {
	case t.fhir:
		resources, err := e.Resources(audit.Observer{Name: "tributary"})
		for _, r := range resources {
			if _, err := t.out.Write(append(r, '\n')); err != nil {
				return err
			}
		}
		return err
	case t.json:
		_, err := t.out.Write(append(e.AppendJSON(nil), '\n'))
		return err
	}
	if t.n == 1 {
		fmt.Fprintln(t.table, "ENTRY\tTIME (UTC)\tCLIENT\tKIND\tOUTCOME\tPOLICY\tREQUEST\tSHOWN")
	}
	outcome := e.Outcome
	if e.Reason != "" {
		outcome += " (" + e.Reason + ")"
	}
	if e.Count > 0 {
		outcome += fmt.Sprintf(", %d times since %s", e.Count, e.First.UTC().Format("15:04:05"))
	}
	_, err := fmt.Fprintf(t.table, "%d\t%s\t%s\t%s\t%s\t%.8s\t%s\t%s\n", e.Number, e.Time.UTC().Format("2006-01-02 15:04:05.000"),
		orDash(e.Client), e.Kind, outcome, orDash(e.Policy), orDash(e.Request), shownIn(e))
	if t.n%1000 == 0 { // columns are as wide as a thousand lines need, and memory is bounded
		return errors.Join(err, t.table.Flush())
	}
	return err
}

func (t *auditTable) flush() error { return errors.Join(t.table.Flush(), t.out.Flush()) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// shownIn names the versions, or counts them where they are many.
func shownIn(e audit.Entry) string {
	var all []string
	for _, s := range e.Subjects {
		all = append(all, s.Resources...)
	}
	part := ""
	if e.Parts > 0 {
		part = fmt.Sprintf(" (part %d of %d)", e.Part, e.Parts)
	}
	switch {
	case len(all) == 0 && len(e.Subjects) == 0:
		return "-" + part
	case len(all) > 4:
		return fmt.Sprintf("%d versions of %d records, %s ...%s", len(all), len(e.Subjects), strings.Join(all[:2], " "), part)
	case len(all) == 0:
		return "nothing of the record" + part
	}
	return strings.Join(all, " ") + part
}
