// Command validate collects what a running Tributary serves, as any client would
// over HTTP, and writes it to a folder for the HL7 validator (validate/run).
//
// It takes one resource of each shape, packed with what it refers to into Bundles
// of fifty, so that the validator can follow the references; and Bundles as the
// server sends them: documents, pages of everything a member has, pages of
// searches and histories. With -all it takes every resource and every page. It
// imports nothing of the server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	var c collector
	flag.StringVar(&c.base, "fhir", "", "base address of the FHIR API")
	flag.StringVar(&c.out, "out", "", "folder for what was collected; must be empty or not exist")
	flag.BoolVar(&c.all, "all", false, "every resource and every page, instead of one of each shape")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Collects what a server serves for validate/run. The client's key is in TRIBUTARY_KEY.")
		flag.PrintDefaults()
	}
	flag.Parse()
	c.key = os.Getenv("TRIBUTARY_KEY")
	if c.base == "" || c.out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := c.collect(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "validate:", err)
		os.Exit(1)
	}
}
