package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A row is one of a file's, by column name.
type row map[string]string

// readRows reads the files that are compared, plain or gzipped.
func readRows(folder string) (map[string][]row, error) {
	files := map[string][]row{}
	names := []string{"claims_transactions"}
	for _, k := range kinds {
		names = append(names, k.files...)
	}
	for _, name := range names {
		if files[name] != nil {
			continue
		}
		rows, err := readFile(folder, name)
		if err != nil {
			return nil, err
		}
		files[name] = rows
	}
	return files, nil
}

func readFile(folder, name string) ([]row, error) {
	f, err := os.Open(filepath.Join(folder, name+".csv"))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(folder, name+".csv.gz"))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var text io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(f.Name(), ".gz") {
		if text, err = gzip.NewReader(text); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	all, err := csv.NewReader(text).ReadAll()
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("%s: %w", f.Name(), errors.Join(err, errors.New("no rows")))
	}
	rows := []row{}
	for _, cells := range all[1:] {
		r := row{}
		for i, column := range all[0] {
			r[strings.ToUpper(strings.TrimSpace(strings.TrimPrefix(column, "\ufeff")))] = cells[i]
		}
		rows = append(rows, r)
	}
	return rows, nil
}
