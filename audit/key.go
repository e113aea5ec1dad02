package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keyFile    = "audit.key"
	publicFile = "audit.pub"
)

// Fingerprint names a public key: the SHA-256 of it, in hex. It is what an
// operator notes elsewhere.
func Fingerprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// ParsePublicKey reads an audit.pub.
func ParsePublicKey(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("no public key in PEM form")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok || !bytes.Equal(encodePublic(public), text) { // PEM has many forms of one key
		return nil, errors.New("not an Ed25519 key as the log writes it")
	}
	return public, nil
}

func encodePublic(key ed25519.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // an Ed25519 key has an encoding
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func encodeKey(key ed25519.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // an Ed25519 key has an encoding
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func parseKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("no private key in PEM form")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok || !bytes.Equal(encodeKey(private), text) {
		return nil, errors.New("not an Ed25519 key as the log writes it")
	}
	return private, nil
}

// readKeys reads both halves and holds one against the other. A private key that
// is not there, or that the caller may not read, is nil: a verifier needs none.
func readKeys(dir string) (ed25519.PublicKey, ed25519.PrivateKey, error) {
	text, err := os.ReadFile(filepath.Join(dir, publicFile))
	if err != nil {
		return nil, nil, &Error{Op: "read", File: publicFile, Err: cause(err), Hint: "without it nothing can be verified: restore it from a copy"}
	}
	public, err := ParsePublicKey(text)
	if err != nil {
		return nil, nil, &Error{Op: "read", File: publicFile, Err: err, Hint: "restore it from a copy"}
	}
	text, err = os.ReadFile(filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return public, nil, nil
	}
	if err != nil {
		return public, nil, &Error{Op: "read", File: keyFile, Err: cause(err)}
	}
	private, err := parseKey(text)
	if err == nil && !public.Equal(private.Public()) {
		err = errors.New("is not the key that " + publicFile + " belongs to")
	}
	if err != nil {
		return public, nil, &Error{Op: "read", File: keyFile, Err: err, Hint: "restore it from a copy"}
	}
	return public, private, nil
}

// cause is an error without the path in it: Error names the file.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
