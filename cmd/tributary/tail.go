package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/tributary-health/tributary/kafka"
)

const changeTopicName = "fhir.changes"

func runTail(ctx context.Context, args []string) error {
	f := newFlags("tail", "Subscribes to the change topic and prints a line for each change, or with --full each resource.")
	work := f.String("work", ".demo", "work folder of a running demo, to find the broker")
	brokers := f.String("broker", "", "broker addresses, comma separated; default: the demo's")
	topic := f.String("topic", changeTopicName, "topic to read")
	fromStart := f.Bool("from-start", false, "begin with the first record the topic holds, not with the next")
	full := f.Bool("full", false, "print headers and resource as one JSON line for each change")
	n := f.Int("n", 0, "stop after so many changes; 0: never")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	if *brokers == "" {
		env, err := readDemoEnv(*work)
		if err != nil {
			return fmt.Errorf("tail: %w; name the broker with --broker", err)
		}
		*brokers = env["BROKER"]
	}
	from := kafka.FromEnd
	if *fromStart {
		from = kafka.FromStart
	}
	seen := 0
	err := kafka.Tail(ctx, kafka.Connection{Brokers: strings.Split(*brokers, ",")}, *topic, from, func(r kafka.TailRecord) error {
		if err := printChange(r, *full); err != nil {
			return err
		}
		if seen++; *n > 0 && seen >= *n {
			return errEnough
		}
		return nil
	})
	if err == errEnough || ctx.Err() != nil {
		return nil
	}
	return err
}

var errEnough = fmt.Errorf("enough")

func printChange(r kafka.TailRecord, full bool) error {
	if !full {
		_, err := fmt.Fprintf(os.Stdout, "%-6s %-55s version %-4s commit %-8s %s of %s  source %s\n",
			r.Header("tributary-operation"), r.Header("tributary-resource"), r.Header("tributary-version"),
			r.Header("tributary-commit"), ordinal(r.Header("tributary-index")), r.Header("tributary-count"), cmp.Or(r.Header("tributary-source"), "-"))
		return err
	}
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = h.Value
	}
	line, err := json.Marshal(struct {
		Partition int32             `json:"partition"`
		Offset    int64             `json:"offset"`
		Key       string            `json:"key"`
		Headers   map[string]string `json:"headers"`
		Resource  json.RawMessage   `json:"resource"`
	}{r.Partition, r.Offset, string(r.Key), headers, orNull(r.Value)})
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(line, '\n'))
	return err
}

func orNull(b []byte) []byte {
	if len(b) == 0 {
		return []byte("null")
	}
	return b
}

// ordinal counts from one, as people do.
func ordinal(index string) string {
	var n int
	if _, err := fmt.Sscan(index, &n); err != nil {
		return index
	}
	return fmt.Sprint(n + 1)
}
