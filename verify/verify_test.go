package verify_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/verify"
)

// try is an attempt over two lists of "Type/id=content".
type try struct{ expected, served []string }

func (t try) each(list []string, fn func(id fhir.ResourceID, content []byte) error) error {
	for _, s := range list {
		name, content, _ := strings.Cut(s, "=")
		typ, id, _ := strings.Cut(name, "/")
		if err := fn(fhir.ResourceID{Type: typ, ID: id}, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

func (t try) Expected(_ context.Context, fn func(string, fhir.ResourceID, []byte) error) error {
	return t.each(t.expected, func(id fhir.ResourceID, c []byte) error { return fn("m", id, c) })
}

func (t try) Served(_ context.Context, fn func(fhir.ResourceID, []byte) error) error {
	return t.each(t.served, fn)
}

func (t try) Close() error { return nil }

func run(t *testing.T, tries ...try) ([]string, verify.Report, error) {
	t.Helper()
	n := 0
	report, err := verify.Run(context.Background(), verify.Config{
		Tries: len(tries), Pause: time.Nanosecond,
		Begin: func(context.Context) (verify.Attempt, error) {
			n++
			return tries[n-1], nil
		},
	})
	var got []string
	for _, d := range report.Differences {
		got = append(got, fmt.Sprintf("%s %s", d.Kind, d.ID))
	}
	return got, report, err
}

func TestEveryKindOfDifferenceIsNamed(t *testing.T) {
	same := try{[]string{"A/1=x", "A/2=x", "B/1=x"}, []string{"A/1=x", "A/2=y", "C/1=x", "A/1=x"}}
	got, report, err := run(t, same, same)
	want := []string{"twice A/1", "different A/2", "missing B/1", "ghost C/1"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if report.Resources["A"] != 2 || report.Resources["B"] != 1 || report.Members != 1 || report.Tries != 2 {
		t.Errorf("counts: %+v", report)
	}
}

func TestOnlySettledDifferencesCount(t *testing.T) {
	got, report, err := run(t,
		try{[]string{"A/1=x", "A/2=x"}, []string{"A/1=y", "A/2=y"}},
		try{[]string{"A/1=y", "A/2=x", "A/3=x"}, []string{"A/1=y", "A/2=y"}}, // A/3 differs for the first time
		try{[]string{"A/2=x"}, []string{"A/2=x"}})
	if err != nil || len(got) != 0 || report.Tries != 3 {
		t.Errorf("got %v, %v after %d tries", got, err, report.Tries)
	}
}

func TestAMappingThatComposesTwiceIsAnError(t *testing.T) {
	if _, _, err := run(t, try{[]string{"A/1=x", "A/1=x"}, nil}); err == nil {
		t.Error("composed twice, and no error")
	}
	_, err := verify.Run(context.Background(), verify.Config{Begin: func(context.Context) (verify.Attempt, error) {
		return nil, errors.New("no source")
	}})
	if err == nil {
		t.Error("no attempt, and no error")
	}
}
