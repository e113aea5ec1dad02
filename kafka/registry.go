package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// Registry numbers schemas. It is safe for concurrent use.
type Registry interface {
	// ID returns the id of the schema under the subject, registering it if it is
	// new. The id is durable when ID returns; the same subject and schema give
	// the same id for ever.
	ID(ctx context.Context, subject, schema string) (uint32, error)

	// Schema returns the text of the schema with the id. An id that the registry
	// does not know gives an error that wraps ErrUnknownSchema.
	Schema(ctx context.Context, id uint32) (string, error)
}

// ErrUnknownSchema is wrapped by what Schema returns for an id that was never
// handed out.
var ErrUnknownSchema = errors.New("unknown schema id")

// ConfluentConfig reaches a schema registry that speaks Confluent's REST API.
// TLS nil uses the system's authorities for https addresses.
type ConfluentConfig struct {
	URLs     []string
	User     string
	Password string
	TLS      *TLS

	// Waiting, if not nil, is told why the server is asked again, and when.
	Waiting func(err error, again time.Duration)
}

// ConfluentRegistry is a client of a schema registry server. While the server
// cannot be reached its calls wait and retry until their context ends.
type ConfluentRegistry struct {
	client  *sr.Client
	waiting func(err error, again time.Duration)

	mu      sync.Mutex
	ids     map[[2]string]uint32
	schemas map[uint32]string
}

// NewConfluentRegistry returns a client; it does not connect yet.
func NewConfluentRegistry(cfg ConfluentConfig) (*ConfluentRegistry, error) {
	const op = "schema registry"
	if len(cfg.URLs) == 0 {
		return nil, fail(op, errors.New("no address"))
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.TLS != nil {
		var err error
		if conf, err = cfg.TLS.config(); err != nil {
			return nil, err
		}
	}
	transport := &http.Transport{TLSClientConfig: conf, Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 30 * time.Second}
	opts := []sr.ClientOpt{sr.URLs(cfg.URLs...), sr.UserAgent("tributary"),
		sr.HTTPClient(&http.Client{Timeout: 10 * time.Second, Transport: transport})}
	if cfg.User != "" {
		opts = append(opts, sr.BasicAuth(cfg.User, cfg.Password))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fail(op, err)
	}
	return &ConfluentRegistry{client: client, waiting: cfg.Waiting,
		ids: make(map[[2]string]uint32), schemas: make(map[uint32]string)}, nil
}

// ID implements Registry.
func (r *ConfluentRegistry) ID(ctx context.Context, subject, schema string) (uint32, error) {
	key := [2]string{subject, schema}
	r.mu.Lock()
	id, ok := r.ids[key]
	r.mu.Unlock()
	if ok {
		return id, nil
	}
	err := r.retry(ctx, func() error {
		made, err := r.client.RegisterSchema(ctx, subject, sr.Schema{Schema: schema, Type: sr.TypeAvro}, -1, -1)
		id = uint32(made) //nolint:gosec // ids are positive
		return err
	})
	if err != nil {
		return 0, &Error{Op: "register a schema for subject " + subject, Partition: -1, Err: err, Hint: registryHint(err, subject)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[key] = id
	return id, nil
}

// Schema implements Registry.
func (r *ConfluentRegistry) Schema(ctx context.Context, id uint32) (string, error) {
	r.mu.Lock()
	text, ok := r.schemas[id]
	r.mu.Unlock()
	if ok {
		return text, nil
	}
	err := r.retry(ctx, func() error {
		found, err := r.client.SchemaByID(ctx, int(id))
		text = found.Schema
		return err
	})
	if err != nil {
		var answer *sr.ResponseError
		if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
			err = ErrUnknownSchema
		}
		return "", &Error{Op: fmt.Sprintf("read schema %d", id), Partition: -1, Err: err, Hint: registryHint(err, "")}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemas[id] = text
	return text, nil
}

// registryHint says what to change when the server refuses.
func registryHint(err error, subject string) string {
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		if refused(err) {
			return "name the file of the authority that signed the registry's certificate"
		}
		return ""
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		return "the schema registry refuses user or password"
	case http.StatusForbidden:
		return "the user may not do this at the schema registry"
	case http.StatusConflict:
		return "the table's new schema is not compatible with its earlier ones, which stay readable here: " +
			"set the compatibility of subject " + subject + " to NONE (PUT /config/" + subject + ` {"compatibility":"NONE"})`
	}
	return ""
}

// retry repeats fn while the server is away or says that it is at fault.
func (r *ConfluentRegistry) retry(ctx context.Context, fn func() error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := fn()
		var answer *sr.ResponseError
		var unreached *url.Error
		switch {
		case errors.As(err, &answer) && answer.StatusCode >= http.StatusInternalServerError:
		case errors.As(err, &answer) && answer.StatusCode == http.StatusTooManyRequests:
		case errors.As(err, &unreached) && !refused(err):
		default:
			return err
		}
		if r.waiting != nil {
			r.waiting(err, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
	}
}
