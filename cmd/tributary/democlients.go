package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/tributary-health/tributary/access"
)

// demoClientsFile is the reviewed file of clients, in the demo's work folder.
const demoClientsFile = "clients.yaml"

// demoClientsText is that file, but for the hashes of the keys, which each demo
// makes for itself.
//
//go:embed democlients.yaml
var demoClientsText string

var demoClientsTemplate = template.Must(template.New(demoClientsFile).Parse(demoClientsText))

// demoClients makes the keys of the demo's clients and the file that says what
// each may see, unless they are there, and gives the keys to env.
func demoClients(work string, cfg *Config, env map[string]string) error {
	hashes := map[string]string{}
	for _, id := range []string{"provider", "subscriber", "operator"} {
		key, err := keptText(filepath.Join(work, "keys", id), func() string {
			key, _ := access.GenerateKey()
			return key
		})
		if err != nil {
			return err
		}
		env[strings.ToUpper(id)+"_KEY"] = key
		hashes[id] = fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	}
	matchKey, err := keptText(filepath.Join(work, filepath.FromSlash(demoMatchKey)), func() string {
		var secret [32]byte
		_, _ = rand.Read(secret[:]) // never fails
		return hex.EncodeToString(secret[:])
	})
	if err != nil {
		return err
	}
	env["PROVIDER_MATCH_KEY"] = matchKey
	cfg.Access = filepath.Join(work, demoClientsFile)
	if _, err := os.Stat(cfg.Access); !errors.Is(err, fs.ErrNotExist) {
		return err // it may have been edited: that is what it is for
	}
	var text bytes.Buffer
	if err := demoClientsTemplate.Execute(&text, hashes); err != nil {
		return err
	}
	return os.WriteFile(cfg.Access, text.Bytes(), 0o600)
}

// keptText reads a file of one line, making it the first time.
func keptText(path string, make func() string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return strings.TrimSpace(string(b)), err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	text := make()
	return text, os.WriteFile(path, []byte(text+"\n"), 0o600)
}
