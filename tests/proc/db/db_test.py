#!/usr/bin/python3
"""mha-dbctl and mha-dbmon with real PostgreSQL servers: the test plays consensus (stage.c)."""

import argparse
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BIN_DIR = "/usr/lib/postgresql/15/bin"
OS_USER = "postgres"
MONITOR_USER = "mha-dbmon"
SECRET = "se'c\\ret:pass word"
DONE, FAILED, REFUSED = 0, 1, 2

CONF = """
cluster: {{name: test, id: 3d1f0a52-6a0e-4d5c-8f55-0d2f1f0c9b7e}}
node: {{name: node-{id}}}
paths: {{state_dir: {dir}/state, run_dir: {dir}/run}}
keys: {{secret_file: {dir}/node.key}}
log: {{level: info}}
vip: {{address: "", interface: ""}}
postgresql:
  bin_dir: {bin_dir}
  data_dir: {dir}/pg/data
  socket_dir: {dir}/socket
  replication_password_file: {dir}/replication.password
  bootstrap_sql_file: {dir}/bootstrap.sql
  parameters: {{shared_buffers: 16MB, max_connections: "60", fsync: "on"}}
  hba: ["local all app trust", "host all app 127.0.0.1/32 trust"]
monitor: {{interval: 100ms, timeout: 3s, flush_interval: 300ms}}
database: {{stop_timeout: 20s, start_timeout: 15s}}
members:
{members}
"""
MEMBER = (
    "  - {{name: node-{id}, id: {id}, address: 127.0.0.1, peer_port: {peer}, postgres_port: {port},"
    ' public_key: "{key}"}}\n'
)


def skip(reason):
    print("SKIP:", reason)
    sys.exit(77)


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def free_ports(count):
    sockets = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        sockets.append(s)
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


PATIENCE = 120  # seconds until something will not come any more; not a measure of anything


class Failure(Exception):
    pass


class Node:
    """One node's workers and what they said."""

    def __init__(self, args, base, number, ports):
        self.number = number
        self.port = ports[number - 1]
        self.dir = f"{base}/n{number}"
        self.data = f"{self.dir}/pg/data"
        self.events = []
        self.changed = threading.Condition()
        self.next_id = number * 100000
        pg = pwd.getpwnam(OS_USER)
        for sub, owner in (("", 0), ("/run", 0), ("/state", 0), ("/pg", 1), ("/socket", 1)):
            os.mkdir(self.dir + sub)
            os.chmod(self.dir + sub, 0o755)
            if owner:
                os.chown(self.dir + sub, pg.pw_uid, pg.pw_gid)
        with open(f"{self.dir}/bootstrap.sql", "w") as file:
            file.write(
                "CREATE ROLE app LOGIN;\nCREATE TABLE t (id bigint PRIMARY KEY);\n"
                "GRANT ALL ON t TO app;\n"
            )
        members = "".join(
            MEMBER.format(
                id=i + 1, peer=7400 + i, port=port, key=chr(ord("a") + i) * 40
            )
            for i, port in enumerate(ports)
        )
        with open(f"{self.dir}/conf", "w") as file:
            file.write(CONF.format(id=number, dir=self.dir, bin_dir=BIN_DIR, members=members))
        self.log = open(f"{self.dir}/log", "w")
        self.stage = subprocess.Popen(
            [args.stage, args.bin, f"{self.dir}/run", f"{self.dir}/conf", SECRET, OS_USER,
             MONITOR_USER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.stage.stdout:
            with self.changed:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.events.append({"t": now_ns(), "garbage": line})
                self.changed.notify_all()

    def wait(self, what, match, timeout, since=0):
        """The first event from index `since` on for which match() holds."""
        deadline = time.monotonic() + timeout
        with self.changed:
            at = since
            while True:
                while at < len(self.events):
                    if match(self.events[at]):
                        return self.events[at]
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0:
                    last = [e for e in self.events if "facts" in e][-1:]
                    raise Failure(f"node {self.number}: no {what} in {timeout} s; last: {last}")
                self.changed.wait(left)

    def mark(self):
        return len(self.events)

    def say(self, line):
        self.stage.stdin.write(line + "\n")
        self.stage.stdin.flush()

    def begin(self, kind, **fields):
        self.next_id += 1
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        self.last = f"order {kind} id={self.next_id} {text}"
        self.say(self.last)
        return self.next_id

    def result(self, number, timeout=PATIENCE):
        since = 0
        while True:
            event = self.wait(
                f"result of {number}",
                lambda e: number in (e.get("result"), e.get("unsent")), timeout, since)
            if "result" in event:
                return event
            # The worker is not connected yet: given again, as consensus does.
            since = self.events.index(event) + 1
            time.sleep(0.02)
            self.say(self.last)

    def order(self, kind, expect=DONE, timeout=PATIENCE, **fields):
        result = self.result(self.begin(kind, **fields), timeout)
        if result["outcome"] != expect:
            raise Failure(f"node {self.number}: {kind}: {result}")
        return result

    def facts(self, what, match, timeout=PATIENCE, since=None):
        return self.wait(
            what,
            lambda e: "result" not in e and "facts" in e and match(e["facts"]),
            timeout,
            self.mark() if since is None else since,
        )

    def job(self, what, match, timeout=PATIENCE, since=0):
        return self.wait(what, lambda e: "job" in e and match(e), timeout, since)

    def sql(self, text, user="app", expect=True, timeout=PATIENCE):
        done = subprocess.run(
            ["psql", "-X", "-A", "-t", "-q", "-h", f"{self.dir}/socket", "-p", str(self.port),
             "-U", user, "-d", "postgres", "-c", text],
            capture_output=True, text=True, timeout=timeout,
        )
        if expect and done.returncode != 0:
            raise Failure(f"node {self.number}: {text}: {done.stderr}")
        return done.stdout.strip() if done.returncode == 0 else None

    def postmaster(self):
        with open(f"{self.data}/postmaster.pid") as file:
            return int(file.readline())

    def server_pids(self):
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{name}/cwd") == self.data:
                    found.append(int(name))
            except OSError:
                pass
        return found

    def settings(self):
        with open(f"{self.data}/mha4rdb.conf") as file:
            return file.read()

    def close(self):
        try:
            self.stage.stdin.close()
            self.stage.wait(PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            self.stage.kill()
        self.reader.join(PATIENCE)
        # What a sanitizer finds ends a worker with a status of its own.
        bad = [e for e in self.events if e.get("ended") and e["status"] not in (0, signal.SIGKILL)]
        for pid in self.server_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.log.close()
        return bad


def say(text):
    print(text, flush=True)


def bit(*numbers):
    return sum(1 << n for n in numbers)


class Writer:
    """Commits one id after the other on a node and keeps the acknowledged ones."""

    acknowledged = []
    next_id = 0

    @classmethod
    def write(cls, node, timeout=PATIENCE):
        cls.next_id += 1
        node.sql(f"INSERT INTO t VALUES ({cls.next_id})", timeout=timeout)
        cls.acknowledged.append(cls.next_id)

    @classmethod
    def check(cls, node):
        have = set(node.sql("SELECT id FROM t").split())
        missing = [i for i in cls.acknowledged if str(i) not in have]
        if missing:
            raise Failure(f"node {node.number} lost acknowledged {missing}")


def open_files(pid):
    links = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return links


def ms(start, end):
    return (end - start) / 1e6


def promote(node, epoch, rule, reserve=0):
    """CONFIGURE and PROMOTE as the agent does; returns the facts and the time to the first write."""
    node.order("configure", epoch=epoch, promise=epoch, reserve=reserve, **rule)
    begun = now_ns()
    number = node.begin("promote", epoch=epoch, promise=epoch, lease_ms=600000)
    first = None
    while first is None and ms(begun, now_ns()) < 1000 * PATIENCE:
        if node.sql("SELECT 1 WHERE NOT pg_is_in_recovery()", expect=False) == "1":
            first = now_ns()
    result = node.result(number)
    if result["outcome"] != DONE:
        raise Failure(f"promote: {result}")
    say(f"    promote: result after {ms(begun, result['t']):.1f} ms, "
        f"writable by a new psql after {ms(begun, first):.1f} ms")
    return result["facts"]


def bootstrap(n1):
    n1.job("absent directory", lambda e: e["directory"] == 1)
    n1.facts("ABSENT", lambda f: f["db"] == "absent", since=0)
    begun = time.monotonic()
    n1.order("start", expect=FAILED, epoch=0)
    n1.order("initdb")
    say(f"  initdb {time.monotonic() - begun:.1f} s")
    n1.order("initdb")  # it is so already
    assert os.path.exists(f"{n1.data}/standby.signal")
    assert not n1.server_pids()
    n1.facts("DOWN", lambda f: f["db"] == "down", since=0)
    begun = now_ns()
    since = n1.mark()
    n1.order("start", epoch=0, promise=0, need=1)
    event = n1.facts("STANDBY", lambda f: f["db"] == "standby" and f["timeline"] == 1, since=since)
    say(f"  start -> standby seen {ms(begun, event['t']):.0f} ms")
    assert event["facts"]["system_id"] != 0 and not event["facts"]["receiving"]
    n1.order("start", epoch=0, promise=0, need=1)  # it is so already
    for path, mode in (("pg/data.mha4rdb/passfile", 0o600), ("pg/data/mha4rdb.conf", 0o600)):
        assert os.stat(f"{n1.dir}/{path}").st_mode & 0o777 == mode, path
    assert SECRET not in n1.settings()
    # The server is in a session of its own and holds nothing of the worker.
    pid = n1.postmaster()
    assert os.getsid(pid) == pid
    links = open_files(pid)
    assert not any("memfd" in link or "seqpacket" in link.lower() for link in links), links

    facts = promote(n1, 1, {"need": 1})
    assert facts["db"] == "primary" and facts["timeline"] == 2, facts
    assert facts["branches"] == [[1, facts["branches"][0][1]]], facts
    assert facts["need"] == 1 and facts["members"] == 0 and facts["rule_since"] > 0, facts
    assert facts["epoch"] == 1 and facts["promise"] == 1, facts
    assert n1.sql("SHOW data_checksums") == "on"
    # Commits wait for a standby that does not exist.
    try:
        n1.sql("INSERT INTO t VALUES (-1)", timeout=1)
        raise Failure("a commit was acknowledged without a standby")
    except subprocess.TimeoutExpired:
        pass
    n1.order("checkpoint", epoch=1)
    # What an executor has seen does not go back.
    n1.order("configure", expect=REFUSED, epoch=0)
    n1.order("position", expect=REFUSED, epoch=0)


def clone(primary, node, epoch, rule):
    begun = time.monotonic()
    since = node.mark()
    node.order("clone", epoch=epoch, promise=epoch, upstream=primary.number)
    node.job("a running clone", lambda e: e["job"] == "clone", since=since)
    say(f"  clone {time.monotonic() - begun:.1f} s")
    begun = now_ns()
    node.order("start", epoch=epoch, promise=epoch, upstream=primary.number, need=1)
    event = primary.facts(
        "streaming standby", lambda f: any(s[0] == node.number and s[1] for s in f["standbys"]))
    say(f"  start -> streaming seen by the primary {ms(begun, event['t']):.0f} ms")
    event = node.facts("upstream", lambda f: f["upstream"] == primary.number and f["receiving"])
    assert event["facts"]["timeline"] == 2, event
    primary.order("configure", epoch=epoch, promise=epoch, **rule)
    event = primary.facts(
        "rule in force",
        lambda f: f["members"] == rule["members"] and f["need"] == rule["need"])
    primary.facts(
        "flush barrier",
        lambda f: all(s[2] >= f["rule_since"] > 0 for s in f["standbys"] if s[0] == node.number))


def position(node, epoch):
    begun = now_ns()
    node.order("configure", epoch=epoch, promise=epoch, need=1)
    middle = now_ns()
    result = node.order("position", epoch=epoch, promise=epoch)
    facts = result["facts"]
    say(f"  node {node.number}: promise written {ms(begun, middle):.1f} ms, "
        f"position {ms(middle, result['t']):.1f} ms")
    assert not facts["receiving"] and facts["promise"] == epoch and facts["flushed"] > 0, facts
    return facts


def main_story(n1, n2, n3):
    say("bootstrap on node 1")
    bootstrap(n1)
    say("clone to nodes 2 and 3")
    clone(n1, n2, 1, {"members": bit(2), "need": 1})
    for _ in range(5):
        Writer.write(n1)
    clone(n1, n3, 1, {"members": bit(2, 3), "need": 1})
    for _ in range(5):
        Writer.write(n1)

    say("the postmaster of node 1 is killed")
    busy = subprocess.Popen(
        ["psql", "-X", "-h", f"{n1.dir}/socket", "-p", str(n1.port), "-U", "app", "-d", "postgres",
         "-c", "SELECT sum(a.i * b.i) FROM generate_series(1, 30000) a(i), generate_series(1, 3000) b(i)"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    pid = n1.postmaster()
    begun = now_ns()
    since = n1.mark()
    os.kill(pid, signal.SIGKILL)
    event = n1.facts("DOWN", lambda f: f["db"] == "down", since=since)
    say(f"  DOWN seen after {ms(begun, event['t']):.1f} ms")
    assert event["facts"]["fault"] == "postmaster_gone", event
    orphans = n1.server_pids()
    say(f"  {len(orphans)} orphaned processes")
    begun = now_ns()
    result = n1.order("kill", epoch=2)
    say(f"  KILL took {ms(begun, result['t']):.1f} ms")
    assert not n1.server_pids()
    busy.wait(PATIENCE)

    say("survey and promotion of node 2")
    p2, p3 = position(n2, 2), position(n3, 2)
    assert p2["timeline"] == 2 and p3["timeline"] == 2
    n2.order("promote", expect=FAILED, epoch=3, lease_ms=600000)  # configured for another epoch
    n3.order("promote", expect=REFUSED, epoch=2, lease_ms=0)  # no lease
    assert n3.sql("SELECT pg_is_in_recovery()") == "t"
    return p2, p3


def failover_story(n1, n2, n3):
    facts = promote(n2, 3, {"members": bit(3), "need": 1}, reserve=4)
    assert facts["timeline"] == 5, facts  # 3 and 4 were reserved
    assert [b[0] for b in facts["branches"]] == [1, 2], facts
    begun = now_ns()
    since = n3.mark()
    n3.order("configure", epoch=3, promise=3, upstream=2, need=1)
    event = n3.facts("following", lambda f: f["upstream"] == 2 and f["timeline"] == 5, since=since)
    say(f"  node 3 follows after {ms(begun, event['t']):.0f} ms")
    for _ in range(3):
        Writer.write(n2)
    n2.order("checkpoint", epoch=3)
    # A restart of a standby that holds stubs below its timeline.
    n3.order("stop", epoch=3)
    assert not n3.server_pids()
    since = n3.mark()
    n3.order("start", epoch=3, promise=3, upstream=2, need=1)
    n3.facts("following", lambda f: f["upstream"] == 2 and f["timeline"] == 5, since=since)
    Writer.write(n2)


def rejoin_story(n1, n2, n3):
    say("node 1 diverges behind the agent's back, and is rewound")
    n1.order("start", epoch=3, promise=3, need=1)
    since = n1.mark()
    subprocess.run(
        ["setpriv", "--reuid", OS_USER, "--regid", OS_USER, "--init-groups",
         f"{BIN_DIR}/pg_ctl", "promote", "-D", n1.data], check=True, stdout=subprocess.DEVNULL)
    n1.facts("PRIMARY", lambda f: f["db"] == "primary", since=since)
    n1.order("checkpoint", epoch=3)
    n1.sql("SET synchronous_commit = local; INSERT INTO t VALUES (-7)")
    n1.order("kill", epoch=3)
    n1.facts("DOWN", lambda f: f["db"] == "down", since=since)

    say("a diverged node that is made to follow all the same never counts as streaming")
    n1.order("start", epoch=3, promise=3, upstream=2, need=1)
    since = n2.mark()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        Writer.write(n2)
    for event in n2.events[since:]:
        for standby in event.get("facts", {}).get("standbys", []):
            assert standby[0] != 1 or not standby[1], event
    n1.order("kill", epoch=3)
    n1.facts("DOWN", lambda f: f["db"] == "down")

    since = n1.mark()
    begun = time.monotonic()
    n1.order("rewind", epoch=3, promise=3, upstream=2)
    say(f"  rewind {time.monotonic() - begun:.1f} s")
    assert os.path.exists(f"{n1.data}/standby.signal")
    saved = [d for d in os.listdir(f"{n1.data}.mha4rdb") if d.startswith("diverged-")]
    assert len(saved) == 1 and os.listdir(f"{n1.data}.mha4rdb/{saved[0]}"), saved
    n1.order("start", epoch=3, promise=3, upstream=2, need=1)
    n1.facts("following", lambda f: f["upstream"] == 2 and f["timeline"] == 5, since=since)
    n2.facts("three nodes", lambda f: {s[0] for s in f["standbys"] if s[1]} == {1, 3})
    Writer.write(n2)
    Writer.check(n1)
    assert n1.sql("SELECT count(*) FROM t WHERE id = -7") == "0"


def wait_child(node):
    """The pid of pg_basebackup, once it runs."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with open(f"{node.data}.mha4rdb/child") as file:
                pid = int(file.read())
            if os.readlink(f"/proc/{pid}/exe").endswith("/pg_basebackup"):
                return pid
        except (OSError, ValueError):
            pass
        time.sleep(0.005)
    raise Failure("pg_basebackup does not run")


def broken_start(node):
    """START failures: the reason is told; only damage counts as broken, after three of them."""
    node.order("stop", epoch=3)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", node.port))
        taken.listen()
        with socket.socket(socket.AF_INET6) as taken6:
            taken6.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            taken6.bind(("::", node.port))
            taken6.listen()
            for _ in range(4):
                result = node.order("start", expect=FAILED, epoch=3, promise=3, upstream=2)
                assert "TCP/IP" in result["text"], result
    control = f"{node.data}/global/pg_control"
    os.rename(control, control + ".away")
    node.order("start", expect=FAILED, epoch=3, promise=3, upstream=2)
    since = node.mark()
    node.facts("BROKEN", lambda f: f["db"] == "broken", since=since)
    os.rename(control + ".away", control)
    # A history that leaves out this server's timeline: it waits for ever for a checkpoint on it.
    made = f"{node.data}/pg_wal/00000006.history"
    with open(made, "w") as file:
        file.write("1\t0/10\tmade by a test\n")
    for _ in range(3):
        result = node.order("start", expect=FAILED, epoch=3, promise=3, upstream=2)
        assert "no progress" in result["text"] or "history" in result["text"], result
        assert not node.server_pids()
    since = node.mark()
    node.facts("BROKEN", lambda f: f["db"] == "broken", since=since)
    os.unlink(made)
    node.order("start", epoch=3, promise=3, upstream=2, need=1)
    node.facts("following", lambda f: f["upstream"] == 2, since=since)


def stopped_child(node, title, fault):
    """A stopped process is named, and the server goes on."""
    for pid in node.server_pids():
        with open(f"/proc/{pid}/cmdline") as file:
            if title in file.read():
                break
    else:
        raise Failure(f"node {node.number} has no {title}")
    since = node.mark()
    os.kill(pid, signal.SIGSTOP)
    event = node.facts(fault, lambda f: f["fault"] == fault, since=since)
    assert event["facts"]["db"] in ("primary", "standby"), event
    since = node.mark()
    os.kill(pid, signal.SIGCONT)
    node.facts("well again", lambda f: f["fault"] == "none", since=since)


def trouble_story(n1, n2, n3):
    say("stopped processes are named, and nobody is ended for it")
    stopped_child(n2, ": checkpointer", "checkpointer_stopped")
    stopped_child(n2, ": walwriter", "walwriter_stopped")
    stopped_child(n3, ": walreceiver", "receiver_stopped")
    stopped_child(n3, ": startup", "startup_stopped")

    say("a frozen postmaster is HUNG, and can be killed")
    pid = n3.postmaster()
    since = n3.mark()
    begun = now_ns()
    os.kill(pid, signal.SIGSTOP)
    n3.facts("its name", lambda f: f["fault"] == "postmaster_stopped", since=since)
    event = n3.facts("HUNG", lambda f: f["db"] == "hung", since=since)
    assert event["facts"]["fault"] == "postmaster_stopped", event
    say(f"  HUNG seen after {ms(begun, event['t']):.0f} ms (timeout 3 s, interval 100 ms)")
    begun = now_ns()
    result = n3.order("kill", epoch=3)
    say(f"  KILL took {ms(begun, result['t']):.0f} ms")
    n3.facts("DOWN, by order", lambda f: f["db"] == "down" and f["fault"] == "none", since=since)
    assert not n3.server_pids()

    say("half a rewind is never started; a clone repairs it")
    marker = f"{n3.data}.mha4rdb/rebuilding"
    with open(marker, "w"):
        pass
    since = n3.mark()
    n3.facts("BROKEN", lambda f: f["db"] == "broken", since=since)
    n3.order("start", expect=FAILED, epoch=3, promise=3, upstream=2, need=1)
    n3.order("rewind", expect=FAILED, epoch=3, promise=3, upstream=2)

    say("a clone whose dbctl dies is ended with it")
    since = n3.mark()
    n3.begin("clone", epoch=3, promise=3, upstream=2)
    n3.job("a running clone", lambda e: e["job"] == "clone", since=since)
    child = wait_child(n3)
    since = n3.mark()
    n3.say("kill dbctl")
    n3.say("start dbctl")
    n3.job("idle again", lambda e: e["job"] == "none", since=since)
    deadline = time.monotonic() + PATIENCE
    while os.path.exists(f"/proc/{child}/exe") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{child}/exe"), "pg_basebackup goes on"
    n3.facts("still BROKEN", lambda f: f["db"] == "broken")

    n3.order("clone", epoch=3, promise=3, upstream=2)
    assert not os.path.exists(marker)
    assert os.path.exists(f"{n3.data}.old")
    since = n3.mark()
    n3.order("start", epoch=3, promise=3, upstream=2, need=1)
    n3.facts("following", lambda f: f["upstream"] == 2, since=since)
    deadline = time.monotonic() + PATIENCE
    while os.path.exists(f"{n3.data}.old"):
        if time.monotonic() > deadline:
            raise Failure("the old directory stays")
        time.sleep(0.05)

    say("reserved timelines of a promotion that did not happen do not hinder a start")
    n3.order("configure", epoch=3, promise=3, need=1, reserve=9)
    assert os.path.exists(f"{n3.data}/pg_wal/00000009.history")
    n3.facts("still a standby", lambda f: f["db"] == "standby" and f["timeline"] == 5)
    n3.order("stop", epoch=3)
    since = n3.mark()
    n3.order("start", epoch=3, promise=3, upstream=2, need=1)
    n3.facts("following", lambda f: f["upstream"] == 2, since=since)
    names = {name for name in os.listdir(f"{n3.data}/pg_wal") if name.endswith(".history")}
    assert "00000005.history" in names and "00000009.history" not in names, names

    say("a server that gives up over its data is broken, one without its port is not")
    broken_start(n1)

    say("workers die and come back; the server does not notice")
    pid = n2.postmaster()
    since = n2.mark()
    n2.say("kill dbctl")
    n2.say("kill dbmon")
    n2.say("start dbctl")
    n2.say("start dbmon")
    n2.facts("PRIMARY again", lambda f: f["db"] == "primary" and f["members"] != 0, since=since + 2)
    n2.job("dbctl again", lambda e: e["postmaster"] == pid, since=since)
    assert n2.postmaster() == pid
    # A new dbmon says nothing of a server that it has not asked yet.
    seen = [e["facts"]["db"] for e in n2.events[since:] if "facts" in e]
    assert set(seen) <= {"unknown", "primary"}, seen
    n2.order("configure", expect=REFUSED, epoch=2)  # the epoch seen outlives the worker
    Writer.write(n2)

    say("ALTER SYSTEM does not outlive a start")
    n1.order("stop", epoch=3)
    with open(f"{n1.data}/postgresql.auto.conf", "a") as file:
        file.write("primary_conninfo = 'host=127.0.0.9'\nwork_mem = '5MB'\n")
    since = n1.mark()
    n1.order("start", epoch=3, promise=3, upstream=2, need=1)
    n1.facts("following", lambda f: f["upstream"] == 2, since=since)
    assert n1.sql("SHOW work_mem") == "5MB"


def rule_story(n1, n2, n3):
    say("the rule is changed under load, and read back")
    stop = threading.Event()
    failures = []

    def load():
        while not stop.is_set():
            try:
                Writer.write(n2)
            except (Failure, subprocess.TimeoutExpired) as problem:
                failures.append(str(problem))

    thread = threading.Thread(target=load)
    thread.start()
    for members, need in ((bit(1, 3), 1), (bit(1, 3), 2), (bit(1), 1), (bit(1, 3), 1)):
        since = n2.mark()
        begun = now_ns()
        n2.order("configure", epoch=3, promise=3, members=members, need=need)
        event = n2.facts(
            "rule in force",
            lambda f: (f["members"], f["need"]) == (members, need) and f["rule_since"] > 0,
            since=since)
        say(f"  {need} of {members:#x}: in force after {ms(begun, event['t']):.1f} ms")
    # An order that keeps the rule leaves it as it is: '' would release all waiters.
    n2.order("configure", epoch=3, promise=3, keep=1)
    assert n2.sql("SHOW synchronous_standby_names") == "ANY 1 (mha_n1, mha_n3)"
    stop.set()
    thread.join()
    if failures:
        raise Failure(f"the load failed: {failures[:3]}")
    say("KILL ends a start that waits")
    n1.order("stop", epoch=3)
    begun = n1.begin("start", epoch=3, promise=3, upstream=2, need=1)
    n1.order("kill", epoch=3)
    assert not n1.server_pids(), begun


def alone_story(node):
    say("a cluster of one node waits for nobody")
    node.order("initdb")
    node.order("start", epoch=0, promise=0)
    facts = promote(node, 1, {"need": 0})
    assert facts["db"] == "primary" and facts["need"] == 0 and facts["rule_since"] > 0, facts
    assert node.sql("SHOW synchronous_standby_names") == ""
    node.sql("INSERT INTO t VALUES (1)")
    node.order("stop", epoch=1)
    since = node.mark()
    node.order("start", epoch=2, promise=2)
    node.facts("STANDBY", lambda f: f["db"] == "standby" and f["timeline"] == 2, since=since)
    assert node.sql("SELECT id FROM t") == "1"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    if os.geteuid() != 0:
        skip("only root can run the workers as their users")
    if not os.path.exists(f"{BIN_DIR}/postgres"):
        skip(f"no PostgreSQL in {BIN_DIR}")
    for user in (OS_USER, MONITOR_USER):
        try:
            pwd.getpwnam(user)
        except KeyError:
            skip(f"there is no user {user} (deploy/mha4rdb.sysusers makes it)")
    base = tempfile.mkdtemp(prefix="mha-db-")
    os.chmod(base, 0o755)
    nodes = []
    code = 1
    try:
        ports = free_ports(3)
        nodes = [Node(args, base, number, ports) for number in (1, 2, 3)]
        for story in (main_story, failover_story, rejoin_story, trouble_story, rule_story):
            story(*nodes)
        os.mkdir(f"{base}/alone")
        nodes.append(Node(args, f"{base}/alone", 1, free_ports(1)))
        alone_story(nodes[-1])
        say("all stories passed")
        code = 0
    except Exception as problem:
        import traceback

        traceback.print_exc()
        say(f"FAILED: {problem}")
        for node in nodes:
            say(f"--- log of node {node.number}, its end")
            say(subprocess.run(["tail", "-n", "25", f"{node.dir}/log"], capture_output=True,
                               text=True).stdout)
    finally:
        for node in nodes:
            bad = node.close()
            if bad:
                code = 1
                say(f"FAILED: workers of node {node.number} ended badly: {bad}")
        if args.keep:
            say(f"kept: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
