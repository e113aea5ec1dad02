package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The head file has two slots, which say the same. They are written one after the
// other and synced together; each is shorter than a sector of a disk, so a power
// failure leaves of each the former or the new one, and at worst one of them torn
// where sectors tear. A slot is a signed line, then zeros.
const (
	headFile = "head"
	slotSize = 4096
	headSize = 2 * slotSize
)

func slotText(m Mark) string { return fmt.Sprintf("tributary-audit-head 1 %020d %s", m.Number, m.Hash) }

func appendSlot(dst []byte, m Mark, key ed25519.PrivateKey) []byte {
	text := slotText(m)
	dst = append(append(dst, text...), ' ')
	return append(hex.AppendEncode(dst, ed25519.Sign(key, []byte(text))), '\n')
}

func parseSlot(slot []byte, key ed25519.PublicKey) (Mark, error) {
	var m Mark
	text, rest, ok := bytes.Cut(slot, []byte{'\n'})
	words := bytes.Split(text, []byte{' '})
	if !ok || len(words) != 5 || len(bytes.Trim(rest, "\x00")) > 0 {
		return m, errors.New("not a head")
	}
	number, err := strconv.ParseUint(string(words[2]), 10, 64)
	if err != nil || !parseHash(&m.Hash, words[3]) {
		return m, errors.New("not a head")
	}
	m.Number = number
	signature, err := hex.DecodeString(string(words[4]))
	signed := slotText(m)
	switch {
	case err != nil || hex.EncodeToString(signature) != string(words[4]) || !bytes.HasPrefix(text, []byte(signed)):
		return m, errors.New("not a head")
	case !ed25519.Verify(key, []byte(signed), signature):
		return m, errors.New("its signature is not of this key (audit.pub, or the one that was given)")
	}
	return m, nil
}

// heads is what the head file says: a mark for each slot that is whole.
type heads struct {
	marks [2]Mark
	errs  [2]error
}

// newest returns the slot with the greater number; ok is false if none is whole.
func (h heads) newest() (slot int, m Mark, ok bool) {
	switch {
	case h.errs[0] != nil && h.errs[1] != nil:
		return 0, Mark{}, false
	case h.errs[0] != nil || h.errs[1] == nil && h.marks[1].Number > h.marks[0].Number:
		return 1, h.marks[1], true
	}
	return 0, h.marks[0], true
}

func readHeads(dir string, key ed25519.PublicKey) (heads, error) {
	var h heads
	b, err := os.ReadFile(filepath.Join(dir, headFile))
	if err != nil {
		return h, &Error{Op: "read", File: headFile, Err: cause(err), Hint: "it says how far the log goes: restore log and head from one copy"}
	}
	if len(b) != headSize {
		err := fmt.Errorf("is %d bytes long, not %d", len(b), headSize)
		return h, &Error{Op: "read", File: headFile, Err: err}
	}
	for i := range h.marks {
		h.marks[i], h.errs[i] = parseSlot(b[i*slotSize:][:slotSize], key)
	}
	return h, nil
}
