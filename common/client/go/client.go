// Package client asks a mha4rdb cluster who leads, where to connect, and what changes. It is a
// thin layer over libmha; what its functions promise is written in <mha4rdb/mha.h>.
package client

/*
#cgo pkg-config: libmha
#include <stdlib.h>
#include <mha4rdb/mha.h>

int mha_go_open(struct mha **mha, const char *seeds, const char *cluster, unsigned port,
		unsigned poll_ms, const char *key_file, const char *server_key,
		struct mha_error *error);
int mha_go_leader(struct mha *mha, int wait, struct mha_leader *leader, unsigned timeout_ms,
		  struct mha_error *error);
int mha_go_conninfo(struct mha *mha, int role, int strict, unsigned long long max_lag_bytes,
		    unsigned max_lag_ms, const char *after_lsn, const char *const *params,
		    unsigned timeout_ms, char **conninfo, struct mha_error *error);
int mha_go_listen(struct mha *mha, uintptr_t listener, struct mha_error *error);
const struct mha_member *mha_go_member(const struct mha_cluster *cluster, unsigned i);
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"sync"
	"time"
	"unsafe"
)

// Code tells errors apart.
type Code int

// The codes that programs act on; the others are in mha.h.
const (
	Invalid   Code = C.MHA_ERR_INVALID
	Timeout   Code = C.MHA_ERR_TIMEOUT
	NoLeader  Code = C.MHA_ERR_NO_LEADER
	NoReplica Code = C.MHA_ERR_NO_REPLICA
)

// Error is what libmha says has gone wrong.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", C.GoString(C.mha_error_name(C.int(e.Code))), e.Text)
}

// ErrClosed: the client was closed.
var ErrClosed = errors.New("mha: the client is closed")

func failure(from *C.struct_mha_error) error {
	return &Error{Code: Code(from.code), Text: C.GoString(&from.text[0])}
}

// Options of a client; only Seeds is needed.
type Options struct {
	Seeds     string        // "tcp://10.0.0.1:7401,tcp://10.0.0.2:7401"
	Cluster   string        // its name; empty: that of the first answer
	Port      uint16        // of members that are learned; 0: that of the seed
	Poll      time.Duration // between a listener's questions; 0: one second
	KeyFile   string        // CURVE secret key of this client
	ServerKey string        // CURVE public key of the agents
}

// Client may be used by any number of goroutines.
type Client struct {
	closing  sync.RWMutex // held for reading during every call
	handle   *C.struct_mha
	listener cgo.Handle
	listens  bool
}

func text(value string) *C.char {
	if value == "" {
		return nil
	}
	return C.CString(value)
}

func milliseconds(timeout time.Duration) C.uint {
	ms := timeout.Milliseconds()
	if ms < 0 {
		return 0
	}
	if ms > 1<<31-1 {
		ms = 1<<31 - 1
	}
	return C.uint(ms)
}

// Open talks to nobody yet.
func Open(options Options) (*Client, error) {
	var failed C.struct_mha_error
	client := &Client{}
	seeds, cluster := text(options.Seeds), text(options.Cluster)
	keyFile, serverKey := text(options.KeyFile), text(options.ServerKey)
	defer func() {
		for _, value := range []*C.char{seeds, cluster, keyFile, serverKey} {
			C.free(unsafe.Pointer(value))
		}
	}()
	if C.mha_go_open(&client.handle, seeds, cluster, C.uint(options.Port),
		milliseconds(options.Poll), keyFile, serverKey, &failed) < 0 {
		return nil, failure(&failed)
	}
	return client, nil
}

// Close ends the listener and the client. Not from a listener.
func (c *Client) Close() {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.handle == nil {
		return
	}
	C.mha_close(c.handle)
	c.handle = nil
	if c.listens {
		c.listener.Delete()
	}
}

// Leader was confirmed by itself: its lease had not run out when the call returned.
type Leader struct {
	Name    string
	Address string // of its database
	Port    uint16
	VIP     string
	Epoch   uint64
	Valid   time.Duration // its lease lasts at least so long
}

func (c *Client) leader(wait C.int, timeout time.Duration) (Leader, error) {
	var failed C.struct_mha_error
	var found C.struct_mha_leader
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.handle == nil {
		return Leader{}, ErrClosed
	}
	if C.mha_go_leader(c.handle, wait, &found, milliseconds(timeout), &failed) < 0 {
		return Leader{}, failure(&failed)
	}
	return Leader{
		Name:    C.GoString(&found.name[0]),
		Address: C.GoString(&found.address[0]),
		Port:    uint16(found.port),
		VIP:     C.GoString(&found.vip[0]),
		Epoch:   uint64(found.epoch),
		Valid:   time.Duration(found.valid_ms) * time.Millisecond,
	}, nil
}

// GetLeader asks all members once.
func (c *Client) GetLeader(timeout time.Duration) (Leader, error) {
	return c.leader(0, timeout)
}

// WaitLeader goes on asking until a member confirms itself or the time is over.
func (c *Client) WaitLeader(timeout time.Duration) (Leader, error) {
	return c.leader(1, timeout)
}

// Member of the cluster as the teller sees it. Lags are -1 where they are not known.
type Member struct {
	Name, Kind, Address, Role, State string
	Port                             uint16
	Timeline                         uint32
	Flushed, Replayed                uint64
	LagBytes, ReplayLagBytes         int64
	Heard, Streaming                 bool
}

// ClusterStatus is the view of the confirmed leader, else of the member with the newest epoch.
type ClusterStatus struct {
	Name    string
	ToldBy  string
	Leader  string // empty: none is confirmed
	Unknown string // why not
	Phase   string
	Mode    string
	Epoch   uint64
	Members []Member
}

// GetClusterStatus fails only when nobody answers in time.
func (c *Client) GetClusterStatus(timeout time.Duration) (ClusterStatus, error) {
	var failed C.struct_mha_error
	var cluster *C.struct_mha_cluster
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.handle == nil {
		return ClusterStatus{}, ErrClosed
	}
	if C.mha_get_cluster(c.handle, &cluster, milliseconds(timeout), &failed) < 0 {
		return ClusterStatus{}, failure(&failed)
	}
	defer C.mha_cluster_free(cluster)
	status := ClusterStatus{
		Name:    C.GoString(cluster.name),
		ToldBy:  C.GoString(cluster.told_by),
		Leader:  C.GoString(cluster.leader),
		Unknown: C.GoString(cluster.unknown),
		Phase:   C.GoString(cluster.phase),
		Mode:    C.GoString(cluster.mode),
		Epoch:   uint64(cluster.epoch),
	}
	for i := C.uint(0); i < cluster.member_count; i++ {
		from := C.mha_go_member(cluster, i)
		status.Members = append(status.Members, Member{
			Name:           C.GoString(from.name),
			Kind:           C.GoString(from.kind),
			Address:        C.GoString(from.address),
			Role:           C.GoString(from.role),
			State:          C.GoString(from.state),
			Port:           uint16(from.port),
			Timeline:       uint32(from.timeline),
			Flushed:        uint64(from.flushed),
			Replayed:       uint64(from.replayed),
			LagBytes:       int64(from.lag_bytes),
			ReplayLagBytes: int64(from.replay_lag_bytes),
			Heard:          bool(from.heard),
			Streaming:      bool(from.streaming),
		})
	}
	return status, nil
}

// Role of the database that is wanted.
type Role int

// Primary is the zero value of Want.
const (
	Primary Role = iota
	Replica
	Any
)

// Want says which database; see struct mha_want.
type Want struct {
	Role        Role
	Strict      bool
	MaxLagBytes uint64
	MaxLag      time.Duration
	AfterLSN    string // read your writes: pg_current_wal_insert_lsn() after the commit
}

// Conninfo is a connection string in libpq's form, with params added and quoted.
func (c *Client) Conninfo(want Want, params map[string]string, timeout time.Duration) (string, error) {
	var failed C.struct_mha_error
	var conninfo *C.char
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.handle == nil {
		return "", ErrClosed
	}
	list := (*[1 << 16]*C.char)(C.calloc(C.size_t(2*len(params)+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
	after := text(want.AfterLSN)
	at := 0
	for keyword, value := range params {
		list[at], list[at+1] = C.CString(keyword), C.CString(value)
		at += 2
	}
	defer func() {
		for i := 0; i < at; i++ {
			C.free(unsafe.Pointer(list[i]))
		}
		C.free(unsafe.Pointer(list))
		C.free(unsafe.Pointer(after))
	}()
	strict := C.int(0)
	if want.Strict {
		strict = 1
	}
	if C.mha_go_conninfo(c.handle, C.int(want.Role)+C.MHA_PRIMARY, strict,
		C.ulonglong(want.MaxLagBytes), milliseconds(want.MaxLag), after,
		(**C.char)(unsafe.Pointer(list)), milliseconds(timeout), &conninfo, &failed) < 0 {
		return "", failure(&failed)
	}
	defer C.mha_free(conninfo)
	return C.GoString(conninfo), nil
}

// ChangeKind says what has changed.
type ChangeKind int

// As enum mha_change_kind.
const (
	Found   ChangeKind = C.MHA_LEADER_FOUND
	Lost    ChangeKind = C.MHA_LEADER_LOST
	Changed ChangeKind = C.MHA_LEADER_CHANGED
	Back    ChangeKind = C.MHA_LEADER_BACK
)

// Change of the leader. Epoch never goes back from one change to the next.
type Change struct {
	Kind     ChangeKind
	OldName  string
	OldEpoch uint64
	Name     string // empty with Lost
	Address  string
	Port     uint16
	Epoch    uint64
	Why      string // with Lost
}

// RegisterChangeListener calls listener for every change, one after the other, from a thread of
// libmha. One listener per client, until Close.
func (c *Client) RegisterChangeListener(listener func(Change)) error {
	var failed C.struct_mha_error
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.handle == nil {
		return ErrClosed
	}
	if c.listens {
		return &Error{Code: C.MHA_ERR_EXISTS, Text: "this client has a listener already"}
	}
	handle := cgo.NewHandle(listener)
	if C.mha_go_listen(c.handle, C.uintptr_t(handle), &failed) < 0 {
		handle.Delete()
		return failure(&failed)
	}
	c.listener, c.listens = handle, true
	return nil
}

//export mhaGoChanged
func mhaGoChanged(arg C.uintptr_t, change *C.struct_mha_change) {
	listener := cgo.Handle(arg).Value().(func(Change))
	listener(Change{
		Kind:     ChangeKind(change.kind),
		OldName:  C.GoString(change.old_name),
		OldEpoch: uint64(change.old_epoch),
		Name:     C.GoString(change.name),
		Address:  C.GoString(change.address),
		Port:     uint16(change.port),
		Epoch:    uint64(change.epoch),
		Why:      C.GoString(change.why),
	})
}
