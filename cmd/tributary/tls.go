package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// ServerTLS says how the FHIR server is reached by TLS. The zero ServerTLS is
// none: plain HTTP.
type ServerTLS struct {
	CertFile string `yaml:"cert_file"` // the server's certificate and what leads to its root, PEM
	KeyFile  string `yaml:"key_file"`  // its private key, PEM

	// ClientCAFile holds the roots of clients' certificates, PEM. With it, a client
	// that shows a certificate must show one of theirs; one that shows none is let
	// in, and known by its key alone.
	ClientCAFile string `yaml:"client_ca_file"`

	// MinVersion is the oldest version spoken: "1.2", the default, or "1.3".
	MinVersion string `yaml:"min_version"`
}

// enabled says whether TLS is asked for.
func (c ServerTLS) enabled() bool { return c != ServerTLS{} }

// scheme is how addresses of the FHIR server begin.
func (c ServerTLS) scheme() string {
	if c.enabled() {
		return "https"
	}
	return "http"
}

// logged are the settings of a server that tells the log of files that change; nil
// is plain HTTP.
func (c ServerTLS) logged(log *slog.Logger) (*tls.Config, error) {
	if !c.enabled() {
		return nil, nil
	}
	return c.server(func(err error) {
		log.Error("tls: the files changed and cannot be used", "error", err)
	}, func(leaf *x509.Certificate) {
		log.Info("tls: another certificate is in use", "subject", leaf.Subject.String(), "until", leaf.NotAfter.UTC().Format(time.RFC3339))
	})
}

// server returns the settings of a server. They follow the files: a handshake
// after a file has changed is by the new content, without a restart. A change that
// cannot be used (half written, expired, a key of another certificate) leaves in
// use what was there; failed, if not nil, is told of it once. So is renewed of
// another certificate that is in use from now on.
func (c ServerTLS) server(failed func(error), renewed func(*x509.Certificate)) (*tls.Config, error) {
	if c.CertFile == "" || c.KeyFile == "" {
		return nil, errors.New("tls: cert_file and key_file are needed both")
	}
	if c.MinVersion != "" && c.MinVersion != "1.2" && c.MinVersion != "1.3" {
		return nil, errors.New(`tls: min_version: want "1.2" or "1.3"`)
	}
	f := &tlsFiles{config: c, failed: failed, renewed: renewed}
	first, err := f.current()
	if err != nil {
		return nil, err
	}
	settings := first.Clone()
	settings.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current() }
	return settings, nil
}

// tlsFiles are the files as they were last read.
type tlsFiles struct {
	config  ServerTLS
	failed  func(error)
	renewed func(*x509.Certificate)

	mu    sync.Mutex
	seen  []fs.FileInfo // of the last try to read them
	good  bool          // whether it succeeded
	inUse *tls.Config   // of the last try that did
}

// current is what the files say now. Settings that are made anew have session
// tickets of their own, so that no session outlives the roots it was let in by.
// Files that were no good are read again each time: one may have been half
// written.
func (f *tlsFiles) current() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.look()
	changed := !sameFiles(f.seen, now)
	if f.good && !changed {
		return f.inUse, nil
	}
	f.seen = now
	var made *tls.Config
	if err == nil {
		made, err = f.config.read(time.Now())
	}
	if err == nil {
		leaf := made.Certificates[0].Leaf
		if f.renewed != nil && f.inUse != nil && !leaf.Equal(f.inUse.Certificates[0].Leaf) {
			f.renewed(leaf)
		}
		f.inUse, f.good = made, true
		return made, nil
	}
	if f.inUse == nil {
		return nil, err
	}
	if f.failed != nil && (f.good || changed) {
		f.failed(fmt.Errorf("%w (the certificate of before stays in use)", err))
	}
	f.good = false
	return f.inUse, nil
}

// look says which files there are, without reading them.
func (f *tlsFiles) look() ([]fs.FileInfo, error) {
	names := []string{f.config.CertFile, f.config.KeyFile}
	if f.config.ClientCAFile != "" {
		names = append(names, f.config.ClientCAFile)
	}
	var found []fs.FileInfo
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		found = append(found, info)
	}
	return found, nil
}

func sameFiles(a, b []fs.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// read makes the settings of the files' content, if it is good at the time.
func (c ServerTLS) read(now time.Time) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: %s, %s: %w", c.CertFile, c.KeyFile, err)
	}
	if now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		return nil, fmt.Errorf("tls: %s: the certificate is good from %s to %s, and not now", c.CertFile, pair.Leaf.NotBefore.Format(time.RFC3339), pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	settings := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if c.MinVersion == "1.3" {
		settings.MinVersion = tls.VersionTLS13
	}
	if c.ClientCAFile != "" {
		roots, err := os.ReadFile(c.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		settings.ClientCAs = x509.NewCertPool()
		if !settings.ClientCAs.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("tls: %s holds no certificate", c.ClientCAFile)
		}
		settings.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return settings, nil
}
