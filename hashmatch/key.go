package hashmatch

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"
)

const (
	// MaxTokens is the most that one request has.
	MaxTokens = 64
	// MaxHeld is the most that one member has. It is more than MaxTokens, so that
	// what a partner leaves out is not what the payer keeps.
	MaxHeld = 160
	// TokenSize is the length of a token's value: an HMAC cut short.
	TokenSize = 16
)

// Token is a keyed hash of one [Input]. It is comparable.
type Token struct {
	Kind  Kind
	Value [TokenSize]byte
}

// PartnerKey is the secret that one partner and the payer share.
type PartnerKey struct{ secret [32]byte }

// String keeps a key out of logs.
func (PartnerKey) String() string { return "match key" }

// GoString keeps a key out of logs.
func (PartnerKey) GoString() string { return "match key" }

var errKeyFile = errors.New("match key: not 64 hexadecimal digits in one line; make one with `openssl rand -hex 32`")

// ParseKey reads a key file's content: 32 random bytes as 64 hexadecimal digits,
// with or without a newline behind them.
func ParseKey(text []byte) (PartnerKey, error) {
	var k PartnerKey
	line := strings.TrimRight(string(text), "\r\n")
	if len(line) != 2*len(k.secret) {
		return PartnerKey{}, errKeyFile
	}
	if _, err := hex.Decode(k.secret[:], []byte(line)); err != nil {
		return PartnerKey{}, errKeyFile // the cause would show a digit
	}
	if k == (PartnerKey{}) {
		return PartnerKey{}, errors.New("match key: all zero; make one with `openssl rand -hex 32`")
	}
	return k, nil
}

// Format is the key as ParseKey reads it.
func (k PartnerKey) Format() []byte { return []byte(hex.EncodeToString(k.secret[:]) + "\n") }

// Epoch names the quarter of a year for which a key is derived: 2026Q4.
type Epoch string

// EpochOf is the epoch of t, in UTC.
func EpochOf(t time.Time) Epoch {
	t = t.UTC()
	return Epoch(fmt.Sprintf("%04dQ%d", t.Year(), (int(t.Month())+2)/3))
}

// Accepted are the epochs whose tokens count at t: that of t and the one before.
func Accepted(t time.Time) [2]Epoch {
	t = t.UTC()
	first := time.Date(t.Year(), (t.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC)
	return [2]Epoch{EpochOf(t), EpochOf(first.AddDate(0, 0, -1))}
}

func (e Epoch) valid() bool {
	return len(e) == 6 && digits(string(e[:4])) == string(e[:4]) && e[4] == 'Q' && e[5] >= '1' && e[5] <= '4'
}

// EpochKey makes the tokens of one partner in one epoch. It may be used by
// several goroutines.
type EpochKey struct {
	epoch Epoch
	key   [32]byte
}

// String keeps a key out of logs.
func (EpochKey) String() string { return "match key of an epoch" }

// GoString keeps a key out of logs.
func (EpochKey) GoString() string { return "match key of an epoch" }

// Derive is the key of an epoch: HKDF-SHA-256 of the secret without salt. Who has
// it cannot make the tokens of another epoch.
func (k PartnerKey) Derive(e Epoch) (EpochKey, error) {
	if !e.valid() {
		return EpochKey{}, fmt.Errorf("match key: %.16q is no epoch; epochs are quarters, such as 2026Q4", string(e))
	}
	key, err := hkdf.Key(sha256.New, k.secret[:], nil, "tributary-hashmatch|"+Version+"|"+string(e), 32)
	if err != nil {
		return EpochKey{}, fmt.Errorf("match key: derive: %w", err)
	}
	return EpochKey{e, [32]byte(key)}, nil
}

// Epoch is the epoch the key is of.
func (k EpochKey) Epoch() Epoch { return k.epoch }

// Tokens are the tokens of in, in the same order.
func (k EpochKey) Tokens(in []Input) []Token {
	all := make([]Token, len(in))
	mac := hmac.New(sha256.New, k.key[:])
	for i, input := range in {
		all[i] = token(mac, input)
	}
	return all
}

func token(mac hash.Hash, in Input) Token {
	mac.Reset()
	mac.Write([]byte(Version + "|" + string(in.Kind) + "|" + in.Text))
	t := Token{Kind: in.Kind}
	var sum [sha256.Size]byte
	copy(t.Value[:], mac.Sum(sum[:0]))
	return t
}

// IndexToken is what a store keeps of a member's token: a hash that is bound to
// the client, the epoch and the kind, so that one client's tokens find nothing
// in another's index, and no token passes for one of another kind.
func IndexToken(client string, epoch Epoch, t Token) [TokenSize]byte {
	var b []byte
	for _, s := range []string{"tributary-index", Version, client, string(epoch), string(t.Kind), string(t.Value[:])} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return [TokenSize]byte(sum[:TokenSize])
}
