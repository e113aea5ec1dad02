package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/kafka"
)

// logins wants that every login and certificate that a real broker takes is
// taken, and what it refuses is refused with a word on what to change.
func (k *realKafka) logins(t *testing.T, client clientFiles) {
	password, err := os.ReadFile(k.passwordFile())
	if err != nil {
		t.Fatal(err)
	}
	good := kafka.TLS{CAFile: filepath.Join(k.dir, "ca.pem"), CertFile: client.cert, KeyFile: client.key}
	for _, c := range []struct {
		name, mechanism, password string
		change                    func(*kafka.TLS)
		want                      string
	}{
		{"SCRAM-SHA-256", "SCRAM-SHA-256", string(password), nil, ""},
		{"SCRAM-SHA-512", "SCRAM-SHA-512", string(password), nil, ""},
		{"PLAIN", "PLAIN", string(password), nil, ""},
		{"wrong password", "SCRAM-SHA-512", "wrong", nil, "refuses user or password"},
		{"wrong password, PLAIN", "PLAIN", "wrong", nil, "refuses user or password"},
		{"unknown authority", "SCRAM-SHA-512", string(password), func(c *kafka.TLS) { c.CAFile = "" }, "name the file of the authority"},
		{"another name", "SCRAM-SHA-512", string(password), func(c *kafka.TLS) { c.ServerName = "elsewhere" }, "elsewhere"},
		{"no certificate", "SCRAM-SHA-512", string(password), func(c *kafka.TLS) { c.CertFile, c.KeyFile = "", "" }, "refuses this client's certificate, or wants one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := good
			if c.change != nil {
				c.change(&files)
			}
			conn := kafka.Connection{Brokers: []string{k.tls}, TLS: &files,
				SASL: &kafka.SASL{Mechanism: c.mechanism, User: "tributary", Password: c.password}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := conn.Ping(ctx)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err != nil && kafka.Away(err) {
				t.Errorf("taken for a broker that is away: %v", err)
			}
		})
	}
	t.Run("no login", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := (kafka.Connection{Brokers: []string{k.tls}}).Ping(ctx); err == nil || kafka.Away(err) {
			t.Errorf("without anything: %v", err)
		}
		if err := (kafka.Connection{Brokers: []string{k.addr}, TLS: &good}).Ping(ctx); err == nil {
			t.Error("TLS at a listener without")
		}
	})
}

// clientFiles are a client's certificate and key.
type clientFiles struct{ cert, key string }

// write makes them, and the authority that signed the certificate.
func (f clientFiles) write(t *testing.T, caFile string) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	clientKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	client := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "tributary"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	clientDER, err := x509.CreateCertificate(rand.Reader, client, ca, clientKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(clientKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		caFile: {Type: "CERTIFICATE", Bytes: caDER}, f.cert: {Type: "CERTIFICATE", Bytes: clientDER}, f.key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		var out bytes.Buffer
		if err := pem.Encode(&out, block); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
