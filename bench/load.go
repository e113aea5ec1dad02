package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// loadResult is what one half of a turn of reads gave.
type loadResult struct {
	Requests int     `json:"requests"`
	Bytes    int64   `json:"bytes"` // of bodies
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
}

// loadMain is a process of its own, so that neither side's memory and scheduler
// are the other's. It knows just enough HTTP to keep connections busy: one
// request at a time on each, the answer's length from its header.
func loadMain(args []string) error {
	set := flag.NewFlagSet("load", flag.ContinueOnError)
	addr := set.String("addr", "", "")
	file := set.String("requests", "", "")
	connections := set.Int("connections", 32, "")
	seconds := set.Float64("seconds", 2, "")
	if err := set.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	var requests [][]byte
	for line := range strings.Lines(string(text)) {
		requests = append(requests, requestOf(strings.TrimSpace(line), *addr))
	}
	length := time.Duration(*seconds * float64(time.Second))
	start := time.Now()
	clients := make([]client, *connections)
	var g errgroup.Group
	for i := range clients {
		c := &clients[i]
		g.Go(func() error {
			return c.run(*addr, requests, rand.New(rand.NewPCG(1, uint64(i))), start.Add(length))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r := loadResult{Seconds: time.Since(start).Seconds()}
	var took []time.Duration
	for i := range clients {
		r.Bytes += clients[i].bytes
		took = append(took, clients[i].took...)
	}
	slices.Sort(took)
	r.Requests = len(took)
	if r.Requests > 0 {
		r.P50 = float64(took[len(took)/2].Microseconds())
		r.P99 = float64(took[len(took)*99/100].Microseconds())
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// requestOf makes what is sent: a GET of the path, or a POST if a body in JSON
// stands behind it.
func requestOf(line, addr string) []byte {
	path, body, posted := strings.Cut(line, " ")
	method, more := "GET", ""
	if posted {
		method, more = "POST", fmt.Sprintf("Content-Type: application/fhir+json\r\nContent-Length: %d\r\n", len(body))
	}
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s\r\n%s", method, path, addr, benchKey, more, body)
}

// client is one connection.
type client struct {
	bytes int64
	took  []time.Duration
}

func (c *client) run(addr string, requests [][]byte, rnd *rand.Rand, end time.Time) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	for start := time.Now(); start.Before(end); {
		if _, err := conn.Write(requests[rnd.IntN(len(requests))]); err != nil {
			return err
		}
		n, err := answer(in)
		if err != nil {
			return err
		}
		now := time.Now()
		c.bytes += int64(n)
		c.took = append(c.took, now.Sub(start))
		start = now
	}
	return nil
}

var contentLength = []byte("Content-Length: ")

// answer reads one answer and returns its body's length. Anything but a 200 of a
// stated length is an error: a baseline must not win by failing.
func answer(in *bufio.Reader) (length int, err error) {
	status, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("the server answered %q", bytes.TrimSpace(status))
	}
	length = -1
	for {
		header, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(header) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(header, contentLength); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("an answer without Content-Length")
	}
	_, err = io.CopyN(io.Discard, in, int64(length))
	return length, err
}

// load runs the generator against an address.
func load(ctx context.Context, addr, requests string, connections int, seconds float64) (r loadResult, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, "load", "-addr", addr, "-requests", requests,
		"-connections", strconv.Itoa(connections), "-seconds", strconv.FormatFloat(seconds, 'g', -1, 64))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("load generator: %w", err)
	}
	return r, json.Unmarshal(out, &r)
}
