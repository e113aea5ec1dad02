package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// testCA signs certificates of a root that exists for one test.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestCA(t *testing.T, name string) *testCA {
	t.Helper()
	ca := &testCA{}
	ca.cert, ca.key = ca.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	return ca
}

// sign makes a certificate, by itself if the CA has none yet.
func (ca *testCA) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// leaf is a certificate for 127.0.0.1, or for a client, good until the time.
func (ca *testCA) leaf(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	cert, key := ca.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writePair(t *testing.T, c ServerTLS, pair tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, c.KeyFile, "PRIVATE KEY", key)
	writePEM(t, c.CertFile, "CERTIFICATE", pair.Certificate[0])
}

// tlsServer serves over a real socket and returns its address.
func tlsServer(t *testing.T, c ServerTLS, failed func(error), renewed ...func(*x509.Certificate)) string {
	t.Helper()
	settings, err := c.server(failed, append(renewed, nil)[0])
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{TLSConfig: settings, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return l.Addr().String()
}

// ask makes one handshake and one request, and returns what serves it.
func ask(addr string, client *tls.Config) (protocol, server string, version uint16, err error) {
	transport := &http.Transport{TLSClientConfig: client, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + addr)
	if err != nil {
		return "", "", 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), resp.TLS.PeerCertificates[0].Subject.CommonName, resp.TLS.Version, err
}

func tlsFixture(t *testing.T) (ServerTLS, *testCA, *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	c := ServerTLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	ca := newTestCA(t, "root of the server")
	writePair(t, c, ca.leaf(t, "first", time.Now().Add(time.Hour)))
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return c, ca, &tls.Config{RootCAs: roots}
}

func TestTLSVersions(t *testing.T) {
	c, _, client := tlsFixture(t)
	for _, one := range []struct {
		min    string
		client uint16 // the newest that the client speaks; 0 for all
		want   uint16 // 0 for none
	}{
		{"", 0, tls.VersionTLS13}, {"", tls.VersionTLS12, tls.VersionTLS12}, {"", tls.VersionTLS11, 0},
		{"1.3", 0, tls.VersionTLS13}, {"1.3", tls.VersionTLS12, 0},
	} {
		c.MinVersion = one.min
		addr := tlsServer(t, c, nil)
		speaks := client.Clone()
		speaks.MinVersion, speaks.MaxVersion = tls.VersionTLS10, one.client
		protocol, _, version, err := ask(addr, speaks)
		if (err == nil) != (one.want != 0) || version != one.want || err == nil && protocol != "HTTP/2.0" {
			t.Errorf("%+v: %s %x %v", one, protocol, version, err)
		}
	}
	if resp, err := http.Get("http://" + tlsServer(t, c, nil)); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP is answered: %s", resp.Status)
		}
	}
}

// TestTLSFollowsItsFiles replaces the certificate while the server runs.
func TestTLSFollowsItsFiles(t *testing.T) {
	c, ca, client := tlsFixture(t)
	var told []string
	var renewed []string
	addr := tlsServer(t, c, func(err error) { told = append(told, err.Error()) }, func(leaf *x509.Certificate) { renewed = append(renewed, leaf.Subject.CommonName) })
	served := func(want string, wantTold int) {
		t.Helper()
		for range 2 {
			if _, name, _, err := ask(addr, client); err != nil || name != want || len(told) != wantTold {
				t.Fatalf("%q serves (%v), want %q; told %q", name, err, want, told)
			}
		}
	}
	served("first", 0)
	writePair(t, c, ca.leaf(t, "second", time.Now().Add(time.Hour)))
	served("second", 0)
	good, err := os.ReadFile(c.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.CertFile, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	served("second", 1)
	writePair(t, c, ca.leaf(t, "expired", time.Now().Add(-time.Minute)))
	served("second", 2)
	if err := os.Remove(c.KeyFile); err != nil {
		t.Fatal(err)
	}
	served("second", 3)
	writePair(t, c, ca.leaf(t, "third", time.Now().Add(time.Hour)))
	served("third", 3)
	if !slices.Equal(renewed, []string{"second", "third"}) {
		t.Errorf("told of the certificates %q", renewed)
	}
}

// TestTLSClientCertificates shows certificates of all kinds to a server that
// knows one root, and then to one that has forgotten it.
func TestTLSClientCertificates(t *testing.T) {
	c, _, client := tlsFixture(t)
	ours, foreign := newTestCA(t, "root of clients"), newTestCA(t, "root of clients")
	c.ClientCAFile = filepath.Join(t.TempDir(), "clients.pem")
	writePEM(t, c.ClientCAFile, "CERTIFICATE", ours.cert.Raw)
	addr := tlsServer(t, c, nil)
	shows := func(certs ...tls.Certificate) *tls.Config {
		with := client.Clone()
		with.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		if len(certs) > 0 {
			with.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
		}
		return with
	}
	hour := time.Now().Add(time.Hour)
	good := shows(ours.leaf(t, "partner", hour))
	for _, one := range []struct {
		name   string
		client *tls.Config
		in     bool
	}{
		{"none", shows(), true},
		{"ours", good, true},
		{"ours again, by a ticket", good, true},
		{"expired", shows(ours.leaf(t, "partner", time.Now().Add(-time.Minute))), false},
		{"foreign root of the same name", shows(foreign.leaf(t, "partner", hour)), false},
		{"a root's own", shows(tls.Certificate{Certificate: [][]byte{foreign.cert.Raw}, PrivateKey: foreign.key}), false},
	} {
		if _, _, _, err := ask(addr, one.client); (err == nil) != one.in {
			t.Errorf("%s: %v", one.name, err)
		}
	}
	writePEM(t, c.ClientCAFile, "CERTIFICATE", foreign.cert.Raw)
	if _, _, _, err := ask(addr, good); err == nil {
		t.Error("a session outlives the root that it was let in by")
	}
}

func TestTLSRefusesToStart(t *testing.T) {
	c, ca, _ := tlsFixture(t)
	other := c
	other.KeyFile = filepath.Join(t.TempDir(), "key.pem")
	writePair(t, ServerTLS{CertFile: filepath.Join(t.TempDir(), "cert.pem"), KeyFile: other.KeyFile}, ca.leaf(t, "other", time.Now().Add(time.Hour)))
	expired := ServerTLS{CertFile: filepath.Join(t.TempDir(), "cert.pem"), KeyFile: filepath.Join(t.TempDir(), "key.pem")}
	writePair(t, expired, ca.leaf(t, "expired", time.Now().Add(-time.Minute)))
	for want, c := range map[string]ServerTLS{
		"cert_file and key_file": {CertFile: c.CertFile},
		"min_version":            {CertFile: c.CertFile, KeyFile: c.KeyFile, MinVersion: "1.1"},
		"no such file":           {CertFile: c.CertFile, KeyFile: c.KeyFile + "x"},
		"does not match":         other,
		"and not now":            expired,
		"holds no certificate":   {CertFile: c.CertFile, KeyFile: c.KeyFile, ClientCAFile: c.KeyFile},
	} {
		if _, err := c.server(nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if (ServerTLS{}).enabled() || !c.enabled() {
		t.Error("enabled")
	}
}

// An unclean path is the FHIR server's to answer: no redirection in HTML.
func TestMuxLeavesPathsAsTheyAre(t *testing.T) {
	word := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
	}
	h := muxFirst(map[string]http.Handler{"/metrics": word("metrics"), "/registry/": word("registry")}, word("next"))
	for path, want := range map[string]string{
		"/metrics": "metrics", "/registry/": "registry", "/registry/subjects": "registry",
		"/registry": "next", "/metrics/": "next", "//metrics": "next", "//fhir//Patient": "next", "/fhir/../metrics": "next", "/": "next",
	} {
		w := &recorder{header: http.Header{}}
		r, err := http.NewRequest(http.MethodGet, "http://h"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(w, r)
		if w.body.String() != want || len(w.header) != 0 {
			t.Errorf("%s: %s %v", path, w.body.String(), w.header)
		}
	}
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(int)             {}
