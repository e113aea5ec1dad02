package mysql

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-mysql-org/go-mysql/replication"
)

// payloadOf finds the zstd stream in a TRANSACTION_PAYLOAD event: fields of
// type, length and value before it, ended by a type of zero.
func payloadOf(body []byte) (io.Reader, error) {
	c := cursor{b: body}
	for {
		kind := c.packed()
		if c.bad {
			return nil, errors.New("a compressed transaction is cut short")
		}
		if kind == replication.OTW_PAYLOAD_HEADER_END_MARK {
			return bytes.NewReader(c.b), nil
		}
		value := cursor{b: c.take(int(c.packed()))}
		if kind == replication.OTW_PAYLOAD_COMPRESSION_TYPE_FIELD && value.packed() != replication.ZSTD {
			return nil, errors.New("a transaction is compressed in a way that is not known")
		}
	}
}
