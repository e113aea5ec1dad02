package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// network is what lies between the brokers of a cluster, and not between them and
// others: relays before the listeners on which they speak with one another. A link
// that is cut loses nothing and refuses nothing: what is sent over it waits, as it
// does where packets are dropped, and arrives when the link is whole again.
type network struct {
	t       *testing.T
	broker  func(conn net.Conn) int32 // who opened it
	relays  sync.WaitGroup
	closing chan struct{}

	mu      sync.Mutex
	cut     map[link]bool
	changed chan struct{} // closed and replaced when cut changes
}

// link is the way of what one broker sends another.
type link struct{ from, to int32 }

// newNetwork relays from the first listeners' addresses to the ports. Both have
// three for brokers, and three for their controllers.
func newNetwork(t *testing.T, listeners []net.Listener, ports []string, broker func(net.Conn) int32) *network {
	n := &network{t: t, broker: broker, closing: make(chan struct{}), cut: map[link]bool{}, changed: make(chan struct{})}
	for i, l := range listeners {
		n.relays.Go(func() { n.serve(l, int32(i%3+1), ports[i]) })
	}
	t.Cleanup(func() {
		close(n.closing)
		for _, l := range listeners {
			l.Close()
		}
		n.relays.Wait()
	})
	return n
}

// set cuts links, or, without any, makes all whole.
func (n *network) set(links ...link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	for _, l := range links {
		n.cut[l] = true
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// whole waits until the link is, and reports whether it had to, and whether the
// relays go on.
func (n *network) whole(l link) (waited, ok bool) {
	for {
		n.mu.Lock()
		cut, changed := n.cut[l], n.changed
		n.mu.Unlock()
		if !cut {
			return waited, true
		}
		waited = true
		select {
		case <-changed:
		case <-n.closing:
			return waited, false
		}
	}
}

// serve relays the connections to one listener of a broker.
func (n *network) serve(l net.Listener, to int32, port string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		n.relays.Go(func() {
			defer conn.Close()
			// One that is opened while the link is cut never gets there: its
			// sender gives it up, and opens another.
			out := link{n.broker(conn), to}
			if waited, _ := n.whole(out); waited {
				return
			}
			onward, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				return
			}
			defer onward.Close()
			ended := make(chan struct{})
			defer close(ended)
			n.relays.Go(func() { // ends both ways
				select {
				case <-ended:
				case <-n.closing:
					conn.Close()
					onward.Close()
				}
			})
			back := make(chan struct{})
			n.relays.Go(func() {
				defer close(back)
				n.carry(conn, onward, link{to, out.from})
			})
			n.carry(onward, conn, out)
			<-back
		})
	}
}

// carry sends on what comes, and its end, while the link is whole.
func (n *network) carry(to, from net.Conn, l link) {
	piece := make([]byte, 64<<10)
	for {
		size, err := from.Read(piece)
		if _, ok := n.whole(l); !ok {
			return
		}
		if size > 0 {
			if _, err := to.Write(piece[:size]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = to.(*net.TCPConn).CloseWrite()
			} else {
				to.Close()
			}
			return
		}
	}
}

// apart are the ways to set a broker apart from the other two.
var apart = []struct {
	name   string
	links  func(b int32) []link
	alone  bool // the others give it up
	killed bool // the process, again and again, while the broker is apart
}{
	{"cut off", func(b int32) []link { return append(toward(b), away(b)...) }, true, false},
	{"unheard", away, true, true},
	{"cut off", func(b int32) []link { return append(toward(b), away(b)...) }, true, true},
	// Nobody can fetch from it, but it can say that it is there: it may stay the
	// leader of what nobody acknowledges, until it is reached again.
	{"unable to hear", toward, false, false},
}

func toward(b int32) []link { return []link{{b%3 + 1, b}, {(b+1)%3 + 1, b}} }
func away(b int32) []link   { return []link{{b, b%3 + 1}, {b, (b+1)%3 + 1}} }

// newApart makes a cluster whose brokers can be cut off from one another. What
// they notice of it they notice soon.
func newApart(t *testing.T) (*kafkaCluster, *network) {
	t.Helper()
	k := newCluster(t)
	properties := filepath.Join(t.TempDir(), "properties")
	lines := []string{"replica.lag.time.max.ms=4000", "replica.socket.timeout.ms=3000", "controller.socket.timeout.ms=3000"}
	if err := os.WriteFile(properties, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var listeners []net.Listener
	var relays []string
	for range 6 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		relays = append(relays, port)
	}
	peers := freePorts(t, 3)
	controllers := strings.Fields(k.controllers)
	k.env = append(k.env, "PEER_PORTS="+strings.Join(peers, " "), "RELAY_PORTS="+strings.Join(relays, " "), "KAFKA_PROPERTIES="+properties)
	return k, newNetwork(t, listeners, append(peers, controllers...), k.sender)
}

// sender is the broker whose process opened a connection, by its socket; 0 for
// another process.
func (k *kafkaCluster) sender(conn net.Conn) int32 {
	socket := socketOf(conn.RemoteAddr().(*net.TCPAddr).Port, conn.LocalAddr().(*net.TCPAddr).Port)
	if socket == "" {
		return 0
	}
	for b := int32(1); b <= 3; b++ {
		pid, err := os.ReadFile(filepath.Join(k.folder(b), "pid"))
		if err != nil {
			continue
		}
		files := filepath.Join("/proc", strings.TrimSpace(string(pid)), "fd")
		open, _ := os.ReadDir(files)
		for _, f := range open {
			if is, err := os.Readlink(filepath.Join(files, f.Name())); err == nil && is == socket {
				return b
			}
		}
	}
	return 0
}

// socketOf names the socket with the two ports as a process's files show it.
func socketOf(local, remote int) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		ends := func(address string, port int) bool { return strings.HasSuffix(address, fmt.Sprintf(":%04X", port)) }
		for s := bufio.NewScanner(f); s.Scan(); {
			if w := strings.Fields(s.Text()); len(w) > 9 && ends(w[1], local) && ends(w[2], remote) {
				f.Close()
				return "socket:[" + w[9] + "]"
			}
		}
		f.Close()
	}
	return ""
}

// others is an administrator who never hears the broker that is set apart: it
// would say how the log was.
func (k *kafkaCluster) others(broker int32) (back func()) {
	k.t.Helper()
	unasked := "127.0.0.1:" + k.ports[broker-1]
	var seeds []string
	for _, p := range k.ports {
		if a := "127.0.0.1:" + p; a != unasked {
			seeds = append(seeds, a)
		}
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == unasked {
			return nil, fmt.Errorf("%s is set apart", addr)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.Dialer(dial), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		k.t.Fatal(err)
	}
	all := k.admin
	k.admin = kadm.NewClient(client)
	return func() {
		client.Close()
		k.admin = all
	}
}

// Brokers that are cut off from one another, while clients reach all of them. The
// one that leads a partition of the change topic, coordinates its transactions or
// is the controller is set apart under the workload, for longer than the others
// wait for it, and comes back; meanwhile it says that it leads what it led. Where
// the other two can know that it is gone, publishing goes on with them. Every other
// time the process is killed, and starts, again and again while the broker is
// apart. In the end nothing is lost and nothing is there twice.
func TestKafkaPartition(t *testing.T) {
	k, n := newApart(t)
	k.startBrokers()
	d := newDemo(t)
	d.start("--kafka", k.addr)
	d.ready()
	k.inSync(3)
	stop := d.workload(t, 50)
	k.cutsInTurn(d, n, fromEnv("TRIBUTARY_CLUSTER_CUTS", 4))
	k.goesOn(d, "when all brokers hear one another")
	stop()
	d.ready()
	k.readersAgree(t, d.agreesOnKafka(t, k.realKafka))
	d.profilesAgree(t)
	d.alive(t)
	if err := d.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, d.printed())
	}
}

// cutsInTurn sets one broker apart at a time.
func (k *kafkaCluster) cutsInTurn(d *demoRun, n *network, cuts int) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	k.t.Logf("%d cuts, seed %d", cuts, seed)
	for i := range cuts {
		d.runsFor(k.t, time.Duration(random.IntN(1500))*time.Millisecond)
		role, way := roles[i%len(roles)], apart[i%len(apart)]
		broker := k.who(role, random.IntN(4))
		began, listening := time.Now(), k.others(broker)
		n.set(way.links(broker)...)
		said := fmt.Sprintf("broker %d, the %s, was %s", broker, role, way.name)
		for again := way.killed; again; again = time.Since(began) < 15*time.Second {
			d.kill()
			d.start("--kafka", k.addr)
			went := k.goesOn(d, fmt.Sprintf("when the process was killed while broker %d is apart", broker))
			said += fmt.Sprintf(", the process killed: more was published after %v", went.Round(100*time.Millisecond))
		}
		if way.alone && !way.killed {
			went := k.goesOn(d, fmt.Sprintf("while broker %d is apart", broker))
			said += fmt.Sprintf(": more was published after %v", went.Round(100*time.Millisecond))
		}
		if rest := 20*time.Second - time.Since(began); rest > 0 {
			d.runsFor(k.t, rest)
		}
		n.set()
		listening()
		said += fmt.Sprintf("; apart for %v", time.Since(began).Round(100*time.Millisecond))
		k.inSync(3)
		went := k.goesOn(d, fmt.Sprintf("when broker %d is back", broker))
		k.t.Logf("%s, and %v after it was back", said, went.Round(100*time.Millisecond))
	}
}
