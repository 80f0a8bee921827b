// A load of etcd transactions as kube-apiserver sends them: each client a connection of its own, a key of its own, every
// Txn guarded by the key's mod_revision, under a deadline (which makes each request's header block a new one). Large
// values and long lists, too. Test-only.
//
// It reads one command a line from stdin and answers one JSON object a line, so that rounds against several endpoints
// can be interleaved on connections that are warm:
//
//	txn|put|get|list ENDPOINT CLIENTS SECONDS
//
// put is a guarded Txn with a value of 1 MB, get reads it, list reads 10,000 objects of 2 KB in one answer.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	valueBytes = 2048
	largeBytes = 1_000_000
	listed     = 10_000 // with valueBytes each: 20 MB
	batch      = 100    // etcd's own limit for the operations of a Txn is 128
)

type client struct {
	etcd     *clientv3.Client
	key      string
	revision int64
	value    []byte
	large    *client
}

func dial(endpoint string, number int) (*client, error) {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	c := &client{etcd: etcd, key: key("bench", number), value: value("bench", number, valueBytes)}
	c.large = &client{etcd: etcd, key: key("large", number), value: value("large", number, largeBytes)}
	for _, each := range []*client{c, c.large} {
		answer, err := etcd.Get(context.Background(), each.key)
		if err != nil {
			return nil, err
		}
		if len(answer.Kvs) == 1 {
			each.revision = answer.Kvs[0].ModRevision
		}
	}
	return c, nil
}

func key(namespace string, number int) string {
	return fmt.Sprintf("/registry/configmaps/%s/%d", namespace, number)
}

// value is a stored ConfigMap of that many bytes and a few: k8s\0, runtime.Unknown{TypeMeta, raw{metadata{name, namespace}, data}}.
func value(namespace string, number, bytes int) []byte {
	field := func(tag byte, content []byte) []byte {
		length := []byte{}
		n := len(content)
		for ; n >= 0x80; n >>= 7 {
			length = append(length, byte(n)|0x80)
		}
		return append(append([]byte{tag}, append(length, byte(n))...), content...)
	}
	noise := make([]byte, bytes)
	random := rand.New(rand.NewSource(int64(number)))
	for i := range noise {
		noise[i] = byte('a' + random.Intn(26))
	}
	meta := append(field(0x0a, fmt.Appendf(nil, "%d", number)), field(0x1a, []byte(namespace))...)
	entry := append(field(0x0a, []byte("noise")), field(0x12, noise)...)
	object := append(field(0x0a, meta), field(0x12, entry)...)
	kind := append(field(0x0a, []byte("v1")), field(0x12, []byte("ConfigMap"))...)
	unknown := append(field(0x0a, kind), field(0x12, object)...)
	return append([]byte("k8s\x00"), append(unknown, 0x1a, 0, 0x22, 0)...)
}

func (c *client) txn() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answer, err := c.etcd.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(c.key), "=", c.revision)).
		Then(clientv3.OpPut(c.key, string(c.value))).
		Else(clientv3.OpGet(c.key)).
		Commit()
	if err != nil {
		return err
	}
	if answer.Succeeded {
		c.revision = answer.Header.Revision
		return nil
	}
	if kvs := answer.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
		c.revision = kvs[0].ModRevision
	}
	return nil
}

func (c *client) get() error {
	answer, err := c.etcd.Get(context.Background(), c.large.key)
	if err == nil && len(answer.Kvs) != 1 {
		return fmt.Errorf("%s is not there: put it first", c.large.key)
	}
	return err
}

func (c *client) list() error {
	answer, err := c.etcd.Get(context.Background(), "/registry/configmaps/listed/", clientv3.WithPrefix())
	if err == nil && len(answer.Kvs) != listed {
		return fmt.Errorf("a list of %d objects, expected %d", len(answer.Kvs), listed)
	}
	return err
}

// fill puts what list reads, once.
func (c *client) fill() error {
	for first := 0; first < listed; first += batch {
		var puts []clientv3.Op
		for number := first; number < first+batch; number++ {
			puts = append(puts, clientv3.OpPut(key("listed", number), string(value("listed", number, valueBytes))))
		}
		if _, err := c.etcd.Txn(context.Background()).Then(puts...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) do(what string) error {
	switch what {
	case "txn":
		return c.txn()
	case "put":
		return c.large.txn()
	case "get":
		return c.get()
	case "list":
		return c.list()
	}
	return fmt.Errorf("txn, put, get or list expected, not %q", what)
}

func (c *client) run(what string, until time.Time) (latencies []float64, err error) {
	for time.Now().Before(until) {
		began := time.Now()
		if err := c.do(what); err != nil {
			return nil, err
		}
		latencies = append(latencies, float64(time.Since(began).Nanoseconds())/1e6)
	}
	return latencies, nil
}

type result struct {
	Transactions int     `json:"transactions"`
	PerSecond    float64 `json:"per_second"`
	P50Ms        float64 `json:"p50_ms"`
	P99Ms        float64 `json:"p99_ms"`
}

func round(what string, clients []*client, seconds float64) (result, error) {
	var group sync.WaitGroup
	all := make([][]float64, len(clients))
	errs := make([]error, len(clients))
	began := time.Now()
	until := began.Add(time.Duration(seconds * float64(time.Second)))
	for i, c := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			all[i], errs[i] = c.run(what, until)
		}()
	}
	group.Wait()
	took := time.Since(began).Seconds()
	var latencies []float64
	for i := range clients {
		if errs[i] != nil {
			return result{}, errs[i]
		}
		latencies = append(latencies, all[i]...)
	}
	sort.Float64s(latencies)
	n := len(latencies)
	return result{n, float64(n) / took, latencies[n/2], latencies[n*99/100]}, nil
}

func main() {
	pools := map[string][]*client{}
	filled := false
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what, endpoint string
		var count int
		var seconds float64
		if _, err := fmt.Sscan(lines.Text(), &what, &endpoint, &count, &seconds); err != nil {
			fail(err)
		}
		for len(pools[endpoint]) < count {
			c, err := dial(endpoint, len(pools[endpoint]))
			if err != nil {
				fail(err)
			}
			pools[endpoint] = append(pools[endpoint], c)
		}
		if what == "list" && !filled {
			if err := pools[endpoint][0].fill(); err != nil {
				fail(err)
			}
			filled = true
		}
		measured, err := round(what, pools[endpoint][:count], seconds)
		if err != nil {
			fail(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(measured); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
