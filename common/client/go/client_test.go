package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

const long = 30 * time.Second // for what must come; how fast it comes is not judged

// agents are stand-ins that answer as they are told over standard input.
type agents struct {
	t       *testing.T
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Scanner
	seeds   []string
}

func startAgents(t *testing.T) *agents {
	program := os.Getenv("MHA_FAKE_AGENTS")
	if program == "" {
		t.Fatal("MHA_FAKE_AGENTS names no program; run the test by ctest -R go_binding")
	}
	a := &agents{t: t, command: exec.Command(program)}
	input, err := a.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := a.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.command.Start(); err != nil {
		t.Fatal(err)
	}
	a.input, a.output = input, bufio.NewScanner(output)
	a.seeds = strings.Fields(a.line())
	t.Cleanup(func() {
		input.Close()
		if err := a.command.Wait(); err != nil {
			t.Errorf("agents: %v", err)
		}
	})
	return a
}

func (a *agents) line() string {
	if !a.output.Scan() {
		a.t.Fatal("the agents ended")
	}
	return a.output.Text()
}

// say has the agents take over what they are told before it returns.
func (a *agents) say(format string, values ...any) {
	fmt.Fprintf(a.input, format+"\n", values...)
	if got := a.line(); got != "ok" {
		a.t.Fatalf("agents: %s", got)
	}
}

func open(t *testing.T, seed string) *Client {
	client, err := Open(Options{Seeds: seed, Poll: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func code(err error) Code {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Code
	}
	return 0
}

func TestGetLeader(t *testing.T) {
	a := startAgents(t)
	client := open(t, a.seeds[0])
	a.say("lead 2 5")
	leader, err := client.GetLeader(long)
	if err != nil || leader.Name != "n2" || leader.Epoch != 5 || leader.Port != 5433 {
		t.Fatalf("%+v, %v", leader, err)
	}
	a.say("follow 2 5 2 0")
	if _, err := client.GetLeader(long); code(err) != NoLeader {
		t.Fatalf("not NoLeader: %v", err)
	}
	if _, err := client.WaitLeader(200 * time.Millisecond); code(err) != NoLeader {
		t.Fatalf("not NoLeader: %v", err)
	}
	client.Close()
	if _, err := client.GetLeader(long); err != ErrClosed {
		t.Fatalf("not ErrClosed: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(Options{}); code(err) != Invalid {
		t.Fatalf("not Invalid: %v", err)
	}
}

func TestGetClusterStatus(t *testing.T) {
	a := startAgents(t)
	client := open(t, a.seeds[2])
	a.say("lead 1 7")
	a.say("follow 3 7 1 20480")
	status, err := client.GetClusterStatus(long)
	if err != nil {
		t.Fatal(err)
	}
	if status.Name != "ours" || status.Leader != "n1" || status.Epoch != 7 ||
		len(status.Members) != 3 || status.Members[2].Replayed != 20480 {
		t.Fatalf("%+v", status)
	}
}

func TestConninfo(t *testing.T) {
	a := startAgents(t)
	client := open(t, a.seeds[0])
	a.say("lead 1 7")
	a.say("follow 2 7 1 20480")
	primary, err := client.Conninfo(Want{}, map[string]string{"user": "o'hara"}, long)
	if err != nil || !strings.Contains(primary, `user='o\'hara'`) ||
		!strings.Contains(primary, "host='127.0.0.1'") ||
		!strings.Contains(primary, "target_session_attrs='read-write'") {
		t.Fatalf("%s, %v", primary, err)
	}
	want := Want{Role: Replica, Strict: true, AfterLSN: "0/5000"}
	replica, err := client.Conninfo(want, nil, long)
	if err != nil || !strings.Contains(replica, "host='127.0.0.2'") {
		t.Fatalf("%s, %v", replica, err)
	}
	want.AfterLSN = "0/5001"
	if _, err := client.Conninfo(want, nil, 200*time.Millisecond); code(err) != NoReplica {
		t.Fatalf("not NoReplica: %v", err)
	}
	if _, err := client.Conninfo(Want{}, map[string]string{"host": "x"}, long); code(err) != Invalid {
		t.Fatalf("not Invalid: %v", err)
	}
}

func next(t *testing.T, changes <-chan Change) Change {
	select {
	case change := <-changes:
		return change
	case <-time.After(long):
		t.Fatal("no change was told")
		return Change{}
	}
}

func TestRegisterChangeListener(t *testing.T) {
	a := startAgents(t)
	client := open(t, a.seeds[0])
	changes := make(chan Change, 100)
	a.say("lead 2 5")
	if err := client.RegisterChangeListener(func(c Change) { changes <- c }); err != nil {
		t.Fatal(err)
	}
	if err := client.RegisterChangeListener(func(Change) {}); err == nil {
		t.Fatal("a second listener was taken")
	}
	if c := next(t, changes); c.Kind != Found || c.Name != "n2" || c.Epoch != 5 {
		t.Fatalf("%+v", c)
	}
	var busy sync.WaitGroup
	for i := 0; i < 4; i++ {
		busy.Add(1)
		go func() {
			defer busy.Done()
			for k := 0; k < 5; k++ {
				client.GetClusterStatus(long)
			}
		}()
	}
	a.say("follow 2 5 2 0")
	if c := next(t, changes); c.Kind != Lost || c.OldName != "n2" || c.Why == "" {
		t.Fatalf("%+v", c)
	}
	a.say("lead 3 6")
	if c := next(t, changes); c.Kind != Changed || c.Name != "n3" || c.OldName != "n2" ||
		c.Epoch != 6 || c.OldEpoch != 5 {
		t.Fatalf("%+v", c)
	}
	busy.Wait()
}
