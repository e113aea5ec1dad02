package mapping

import "sync"

// referenceCache keeps the references made last: the ids of a member's rows are
// asked for again and again, and each is a keyed hash. It is safe for concurrent
// use.
type referenceCache struct{ shards [16]referenceShard }

// referenceShard is the younger half of what it keeps, and the older half until
// the younger is full.
type referenceShard struct {
	mu           sync.Mutex
	young, older map[referenceKey]string
}

// referenceKey is what the id is a hash of: its prefix, and the primary key.
type referenceKey struct{ prefix, key string }

// shardLimit is how many references are in each half of a shard: in all some
// 10 MB.
const shardLimit = 1500

func (c *referenceCache) shard(key string) *referenceShard {
	n := 0
	if len(key) > 0 {
		n = int(key[len(key)-1]) + int(key[len(key)/2])
	}
	return &c.shards[n%len(c.shards)]
}

func (s *referenceShard) get(prefix, key string) (text string, ok bool) {
	k := referenceKey{prefix, key}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok = s.young[k]; ok {
		return text, true
	}
	if text, ok = s.older[k]; ok {
		s.keep(k, text)
	}
	return text, ok
}

func (s *referenceShard) put(prefix, key, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(referenceKey{prefix, key}, text)
}

func (s *referenceShard) keep(k referenceKey, text string) {
	if s.young == nil || len(s.young) >= shardLimit {
		s.young, s.older = make(map[referenceKey]string, shardLimit), s.young
	}
	s.young[k] = text
}
