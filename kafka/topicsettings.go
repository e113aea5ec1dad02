package kafka

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// checkSettings refuses topics whose settings would remove records, or let
// acknowledged ones be lost.
func checkSettings(ctx context.Context, admin *kadm.Client, specs []TopicSpec) error {
	const op = "check the settings"
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	settings, err := topicSettings(ctx, admin, settling, names)
	if err != nil {
		return err
	}
	var problems []error
	for _, s := range specs {
		for _, p := range s.against(settings[s.Name]) {
			problems = append(problems, &Error{Op: op, Topic: s.Name, Partition: -1, Err: errors.New(p.what), Hint: mend(s.Name, p.set)})
		}
	}
	return errors.Join(problems...)
}

// settingProblem is a setting that does not do, and what it should be.
type settingProblem struct{ what, set string }

// against lists what is wrong with a topic's settings. One that the broker does
// not report is not judged.
func (s TopicSpec) against(have map[string]string) []settingProblem {
	var found []settingProblem
	wrong := func(set, format string, args ...any) {
		found = append(found, settingProblem{fmt.Sprintf(format, args...), set})
	}
	if v, ok := have["cleanup.policy"]; ok && v != "delete" {
		wrong("cleanup.policy=delete", "its cleanup.policy is %s: compaction removes records that are needed", v)
	}
	want := *s.configs()["retention.ms"]
	if v, ok := have["retention.ms"]; ok && shorter(v, want) {
		wrong("retention.ms="+want, "its retention.ms is %s: the broker removes records that are needed", v)
	}
	if v, ok := have["retention.bytes"]; ok && shorter(v, "-1") {
		wrong("retention.bytes=-1", "its retention.bytes is %s: the broker removes records that are needed", v)
	}
	if have["unclean.leader.election.enable"] == "true" {
		wrong("unclean.leader.election.enable=false", "its unclean.leader.election.enable is true: acknowledged records could be lost")
	}
	if v, ok := have["min.insync.replicas"]; ok && s.MinInSync > 0 {
		if n, err := strconv.Atoi(v); err == nil && n < int(s.MinInSync) {
			wrong(fmt.Sprintf("min.insync.replicas=%d", s.MinInSync), "its min.insync.replicas is %d, configured are %d", n, s.MinInSync)
		}
	}
	return found
}

// shorter reports whether a limit keeps less than another; -1 is none.
func shorter(have, want string) bool {
	h, errH := strconv.ParseInt(have, 10, 64)
	w, errW := strconv.ParseInt(want, 10, 64)
	if errH != nil || errW != nil || h < 0 {
		return false
	}
	return w < 0 || h < w
}

// mend is the command that changes a topic's setting.
func mend(topic, set string) string {
	return fmt.Sprintf("kafka-configs --bootstrap-server BROKER --alter --entity-type topics --entity-name %s --add-config %s", topic, set)
}

// topicSettings are the settings in force of each topic.
func topicSettings(ctx context.Context, admin *kadm.Client, fresh time.Duration, topics []string) (map[string]map[string]string, error) {
	const op = "read the settings"
	all := make(map[string]map[string]string, len(topics))
	err := patiently(ctx, fresh, func() error {
		described, err := admin.DescribeTopicConfigs(ctx, topics...)
		if err != nil {
			return fail(op, err)
		}
		var problems []error
		for _, t := range described {
			if t.Err != nil {
				hint := ""
				if errors.Is(t.Err, kerr.TopicAuthorizationFailed) {
					hint = "allow this user to describe the topic's configuration"
				}
				problems = append(problems, &Error{Op: op, Topic: t.Name, Partition: -1, Err: t.Err, Hint: hint})
				continue
			}
			all[t.Name] = make(map[string]string, len(t.Configs))
			for _, c := range t.Configs {
				all[t.Name][c.Key] = c.MaybeValue()
			}
		}
		sort.Slice(problems, func(i, j int) bool { return problems[i].Error() < problems[j].Error() })
		return errors.Join(problems...)
	})
	return all, err
}

// batchLimit is the largest batch that every one of the topics takes, and the
// topic that takes the least.
func (c Connection) batchLimit(ctx context.Context, topics []string) (limit int32, least string, err error) {
	limit = maxRequestBytes / 4
	err = c.with(func(client *kgo.Client) error {
		settings, err := topicSettings(ctx, kadm.NewClient(client), opening, topics)
		for topic, s := range settings {
			if n, err := strconv.ParseInt(s["max.message.bytes"], 10, 32); err == nil && int32(n) < limit {
				limit, least = int32(n), topic
			}
		}
		return err
	})
	if err == nil && limit < 2*batchOverhead {
		err = &Error{Op: "read the settings", Topic: least, Partition: -1,
			Err: fmt.Errorf("its max.message.bytes is %d", limit), Hint: mend(least, "max.message.bytes="+strconv.Itoa(maxBatchBytes))}
	}
	return limit, least, err
}

// enlarge is the command with which a topic takes larger records.
func enlarge(topic string, size int64) string {
	return strings.Join([]string{"let the topic take it", mend(topic, fmt.Sprintf("max.message.bytes=%d", max(maxBatchBytes, size+size/4)))}, ": ")
}
