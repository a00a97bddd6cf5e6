#!/usr/bin/python3
"""Rejoin with real PostgreSQL: a node that diverged comes back whatever is killed on the way.

Each round makes node 2 diverge (promoted by hand, written to, killed), orders a rewind or a clone,
and kills dbctl, its child, or every process of the node at a random moment. What is left is then
started on purpose: it must be refused, or be a standby. After that the node must come back by the
orders that consensus gives, with what it had written saved and reported.
"""

import argparse
import glob
import os
import pwd
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import db_test  # noqa: E402
from db_test import (BIN_DIR, DONE, FAILED, MONITOR_USER, OS_USER, Failure, Node, Writer, bit,  # noqa: E402
                     clone, free_ports, promote, say, skip)

EPOCH = 5  # of the only primary, node 1
SEGMENT = 16 << 20
SMALL_MB = 400  # the disk of node 3
AS_USER = ["setpriv", "--reuid", OS_USER, "--regid", OS_USER, "--init-groups"]


def begin(n1, n2):
    n1.order("initdb", timeout=600)
    n1.order("start", epoch=0, promise=0, need=1)
    promote(n1, EPOCH, {"need": 1}, reserve=1)
    n1.order("checkpoint", epoch=EPOCH)
    clone_to(n1, n2)


def clone_to(n1, node):
    node.order("clone", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    follow(n1, node)
    n1.order("configure", epoch=EPOCH, promise=EPOCH, members=bit(2), need=1)
    n1.facts("rule", lambda f: f["members"] == bit(2))


def follow(n1, node):
    """Started, and streaming from node 1."""
    since = node.mark()
    node.order("start", epoch=EPOCH, promise=EPOCH, upstream=1, need=1)
    node.facts("streaming", lambda f: f["upstream"] == 1 and f["receiving"], since=since)


def admin(node, text):
    done = subprocess.run(
        AS_USER + ["psql", "-X", "-A", "-t", "-q", "-h", f"{node.dir}/socket", "-p", str(node.port),
                   "-d", "postgres", "-c", text], capture_output=True, text=True, timeout=120,
        env={"PGOPTIONS": "-c synchronous_commit=local", "PATH": "/usr/bin:/bin"})
    if done.returncode != 0:
        raise Failure(f"node {node.number}: {text}: {done.stderr}")
    return done.stdout.strip()


def sets(node):
    return sorted(glob.glob(f"{node.data}.mha4rdb/diverged-*"))


def said(node, event):
    with open(f"{node.dir}/log") as file:
        return file.read().count(event)


def report(path):
    with open(f"{path}/report.txt") as file:
        return file.read()


def diverge(node, rows=1):
    """Promoted by hand, written to, and killed. Returns the transaction's number."""
    node.order("stop", epoch=EPOCH)
    since = node.mark()
    node.order("start", epoch=EPOCH, promise=EPOCH, need=1)
    subprocess.run(AS_USER + [f"{BIN_DIR}/pg_ctl", "promote", "-D", node.data], check=True,
                   stdout=subprocess.DEVNULL)
    node.facts("PRIMARY", lambda f: f["db"] == "primary", since=since)
    text = node.sql("SET synchronous_commit = local; BEGIN; "
                    f"INSERT INTO t SELECT -i FROM generate_series(1, {rows}) i; "
                    "SELECT txid_current(); COMMIT")
    node.order("kill", epoch=EPOCH)
    return int(text.split()[-1])


def saved(node, xid):
    """The set that has the transaction, by its report and by its WAL."""
    for path in reversed(sets(node)):
        text = report(path)
        if re.search(rf"^  commit +{xid} ", text, re.M):
            timeline = re.search(r"^  timeline (\d+) from (\S+) to", text, re.M)
            done = subprocess.run(
                [f"{BIN_DIR}/pg_waldump", "-p", path, "-t", timeline[1], "-s", timeline[2]],
                capture_output=True, text=True)
            if f"tx: {xid:10d}" not in done.stdout or "COMMIT" not in done.stdout:
                raise Failure(f"the WAL in {path} does not have transaction {xid}")
            if "could not be asked" not in text and "  t\n" not in text:
                raise Failure(f"no names of relations in {path}")
            return path
    raise Failure(f"no saved set has transaction {xid}: {sets(node)}")


def directory(node):
    """What dbctl said last that the directory is."""
    last = [e for e in node.events if "job" in e and e["job"] == "none"][-1]
    return {1: "absent", 2: "present", 3: "broken"}[last["directory"]]


def come_back(n1, node, tries=6):
    """As consensus does it: a rewind once, then clones. Returns how many orders it took."""
    rebuild = "rewind"
    for attempt in range(1, tries + 1):
        if not (os.path.exists(node.data) and os.listdir(node.data)) or os.path.exists(
                f"{node.data}.mha4rdb/rebuilding"):
            rebuild = "clone"
        result = node.result(
            node.begin(rebuild, epoch=EPOCH, promise=EPOCH, upstream=1), timeout=600)
        if result["outcome"] == DONE:
            follow(n1, node)
            return attempt
        say(f"    {rebuild}: {result['text']}")
        rebuild = "clone"
    raise Failure(f"node {node.number} did not come back")


def check_back(n1, node, xid):
    Writer.write(n1)
    Writer.check(node) if wait_replayed(n1, node) else None
    if node.sql("SELECT count(*) FROM t WHERE id < 0") != "0":
        raise Failure("rows of the diverged timeline are in the database")
    return saved(node, xid)


def wait_replayed(n1, node):
    target = n1.sql("SELECT pg_current_wal_flush_lsn()")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if node.sql(f"SELECT pg_last_wal_replay_lsn() >= '{target}'") == "t":
            return True
        time.sleep(0.01)
    raise Failure("the standby does not replay")


def child_of(node):
    try:
        with open(f"{node.data}.mha4rdb/child") as file:
            pid = int(file.read())
        return pid, os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except (OSError, ValueError):
        return None, None


def kill_group(pid):
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == pid:
                    os.kill(int(name), signal.SIGKILL)
            except OSError:
                pass


def restart_dbctl(node, whole_host):
    pid, _ = child_of(node)
    since = node.mark()
    node.say("kill dbctl")
    if whole_host:
        if pid is not None:
            kill_group(pid)
        for server in node.server_pids():
            try:
                os.kill(server, signal.SIGKILL)
            except OSError:
                pass
    node.say("start dbctl")
    node.job("dbctl again", lambda e: e["job"] == "none", since=since)


def try_start(node):
    """What is there after a kill is a standby, or is not started at all."""
    result = node.result(node.begin("start", epoch=EPOCH, promise=EPOCH, need=1), timeout=600)
    if result["outcome"] == DONE:
        if node.sql("SELECT pg_is_in_recovery()") != "t":
            raise Failure("it was started as a primary")
        node.sql("SELECT count(*) FROM t")
        state = "a standby"
    else:
        state = result["text"]
    node.order("kill", epoch=EPOCH)
    return state


def kill_round(n1, n2, rng, number, span):
    xid = diverge(n2, rows=rng.choice((1, 1, 1000)))
    Writer.write_alone(n1)
    kind = rng.choice(("rewind", "rewind", "clone"))
    whom = rng.choice(("dbctl", "child", "host"))
    delay = rng.uniform(0, span[kind])
    done = False
    order = n2.begin(kind, epoch=EPOCH, promise=EPOCH, upstream=1)
    time.sleep(delay)
    pid, program = child_of(n2)
    if whom == "child" and pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    if whom == "child":
        done = n2.result(order, timeout=600)["outcome"] == DONE
    else:
        restart_dbctl(n2, whom == "host")
    state = try_start(n2) if rng.random() < 0.6 else "not tried"
    if done:
        follow(n1, n2)
    took = 0 if done else come_back(n1, n2)
    path = check_back(n1, n2, xid)
    say(f"  {number}: {kind}, {whom} killed after {delay * 1000:.0f} ms ({program}), start: "
        f"{state[:60]}; back after {took} more orders, {os.path.basename(path)}")


def plain_rewind(n1, n2):
    say("a rewind saves what only this node has, and says what it was")
    xid = diverge(n2, rows=100)
    begun = time.monotonic()
    result = n2.order("rewind", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    took = time.monotonic() - begun
    say(f"  {result['text']} ({took:.2f} s)")
    assert "acknowledged: none" in result["text"], result
    follow(n1, n2)
    text = report(check_back(n1, n2, xid))
    assert "No: since this node was last made a primary" in text or "Not known" in text, text
    assert re.search(r"^  Heap +\d+ records", text, re.M), text
    return took


def refused(n1, n2):
    say("a rewind that cannot work is refused with its reason, and a clone comes instead")
    xid = diverge(n2)
    tries = said(n2, "rejoin.again")
    admin(n1, "REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) "
           "FROM mha_replication")
    result = n2.order("rewind", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1)
    assert "may not execute pg_read_binary_file(text, bigint, bigint, boolean)" in result["text"]
    assert said(n2, "rejoin.again") == tries, "repeating does not help"
    assert directory(n2) == "present"
    admin(n1, "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) "
           "TO mha_replication")

    say("a source that cannot be reached is tried again, a bounded number of times")
    result = n2.order("rewind", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=3, timeout=600)
    assert "connection" in result["text"], result
    assert said(n2, "rejoin.again") == tries + 2
    assert directory(n2) == "present"

    say("a clone saves it, too")
    begun = time.monotonic()
    n2.order("clone", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    took = time.monotonic() - begun
    follow(n1, n2)
    check_back(n1, n2, xid)

    say("tablespaces elsewhere and another database are not overwritten")
    place = f"{n1.dir}/pg/space"
    os.mkdir(place)
    pg = pwd.getpwnam(OS_USER)
    os.chown(place, pg.pw_uid, pg.pw_gid)
    admin(n1, f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    wait_replayed(n1, n2)
    n2.order("stop", epoch=EPOCH)
    result = n2.order("clone", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1)
    assert "1 tablespaces outside" in result["text"], result
    assert not os.path.exists(f"{n2.data}.clone")
    follow(n1, n2)
    admin(n1, "DROP TABLESPACE elsewhere")
    wait_replayed(n1, n2)
    return took


def foreign(n1, n3):
    n3.order("initdb", timeout=600)
    before = os.stat(f"{n3.data}/global/pg_control").st_ino
    result = n3.order("clone", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1)
    assert "another database" in result["text"], result
    assert os.stat(f"{n3.data}/global/pg_control").st_ino == before


def leave_room(node, megabytes):
    """Fill the node's small disk until so much is left."""
    disk = os.statvfs(f"{node.dir}/pg")
    with open(f"{node.dir}/pg/filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0,
                           max(1, disk.f_bavail * disk.f_frsize - (megabytes << 20)))


def change_conf(node, old, new):
    with open(f"{node.dir}/conf") as file:
        text = file.read()
    assert old in text
    with open(f"{node.dir}/conf", "w") as file:
        file.write(text.replace(old, new))
    restart_dbctl(node, False)


def full_disk(n1, n3):
    say("without room nothing is overwritten, the reason is told, and room is all it takes")
    os.rename(n3.data, f"{n3.dir}/pg/foreign")
    shutil.rmtree(f"{n3.dir}/pg/foreign", ignore_errors=True)
    n3.order("clone", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    follow(n1, n3)
    xid = diverge(n3)
    leave_room(n3, 20)
    for kind in ("rewind", "clone"):
        result = n3.order(kind, expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1)
        assert "cannot be saved" in result["text"], result
    assert not sets(n3)

    say("  best_effort: the report is all that is left of it")
    change_conf(n3, "diverged_keep: 3", "diverged_keep: 3, save_diverged: best_effort")
    for _ in range(2):
        result = n3.order("rewind", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1)
        assert "a rewind may need" in result["text"], result
        assert len(sets(n3)) == 1 and sets(n3)[0].endswith("-report"), sets(n3)
        assert "COULD NOT BE SAVED" in report(sets(n3)[0])
        assert os.listdir(sets(n3)[0]) == ["report.txt"]
    change_conf(n3, ", save_diverged: best_effort", "")

    os.unlink(f"{n3.dir}/pg/filler")
    leave_room(n3, 60)
    result = n3.order("clone", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1)
    assert "the clone needs" in result["text"], result
    say(f"  {result['text']}")
    saved(n3, xid)
    assert directory(n3) == "present"
    os.unlink(f"{n3.dir}/pg/filler")
    come_back(n1, n3)
    check_back(n1, n3, xid)
    assert len(sets(n3)) == 1, sets(n3)
    n3.order("stop", epoch=EPOCH)


def remove_wal(n1, archive=None):
    """Whoever is away now finds nothing to go on with at node 1."""
    admin(n1, "ALTER SYSTEM SET wal_keep_size = 0")
    admin(n1, "SELECT pg_reload_conf()")
    for _ in range(4):
        Writer.write_alone(n1)
        admin(n1, "SELECT pg_switch_wal()")
    for path in glob.glob(f"{n1.data}/pg_wal/0*") if archive else ():
        if len(os.path.basename(path)) == 24:
            shutil.copy(path, archive)
            os.chmod(f"{archive}/{os.path.basename(path)}", 0o644)
    n1.order("checkpoint", epoch=EPOCH)
    n1.order("checkpoint", epoch=EPOCH)


def keep_wal(n1):
    admin(n1, "ALTER SYSTEM RESET wal_keep_size")
    admin(n1, "SELECT pg_reload_conf()")


def from_archive(n1, n2):
    say("WAL that the upstream has removed comes from the archive")
    archive = f"{n2.dir}/pg/archive"
    os.mkdir(archive)
    change_conf(n2, "  parameters:", f'  restore_command: "cp {archive}/%f %p"\n  parameters:')
    n2.order("stop", epoch=EPOCH)
    remove_wal(n1, archive)
    since = n2.mark()
    n2.order("start", epoch=EPOCH, promise=EPOCH, upstream=1, need=1)
    n2.facts("streaming", lambda f: f["upstream"] == 1 and f["receiving"], since=since)
    wait_replayed(n1, n2)
    Writer.check(n2)
    assert not [e for e in n2.events[since:] if e.get("facts", {}).get("fault") == "wal_missing"]
    say(f"  {said(n2, 'archive.restored')} segments")
    keep_wal(n1)
    change_conf(n2, f'  restore_command: "cp {archive}/%f %p"\n', "")
    shutil.rmtree(archive)


def wal_gone(n1, n2):
    say("a standby whose upstream has removed the WAL that it needs says so by itself")
    n2.order("stop", epoch=EPOCH)
    remove_wal(n1)
    since = n2.mark()
    n2.order("start", epoch=EPOCH, promise=EPOCH, upstream=1, need=1)
    begun = time.monotonic()
    event = n2.facts("WAL missing", lambda f: f["fault"] == "wal_missing", since=since)
    say(f"  told after {time.monotonic() - begun:.1f} s: {event['facts']['detail']}")
    n2.order("stop", epoch=EPOCH)
    result = n2.order("rewind", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    say(f"  {result['text']}")
    # Before the clone, which has the primary's settings.
    keep_wal(n1)
    n2.order("clone", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    since = n2.mark()
    follow(n1, n2)
    n2.facts("no fault", lambda f: f["fault"] == "none" and f["receiving"], since=since)


def control_file(node):
    """As pg_controldata prints it."""
    text = subprocess.run([f"{BIN_DIR}/pg_controldata", "-D", node.data], check=True,
                          capture_output=True, text=True, env={"LC_ALL": "C"}).stdout
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def not_whole(n1, n2):
    say("a rewound copy that lacks WAL says up to where, and is not rewound again")
    xid = diverge(n2)
    for _ in range(2):
        admin(n1, "SELECT pg_switch_wal()")
        Writer.write_alone(n1)
    n2.order("rewind", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    # What the source had, and nobody else will ever have: as after a failover that lost it.
    high, low = control_file(n2)["Minimum recovery ending location"].split("/")
    for path in glob.glob(f"{n2.data}/pg_wal/0*"):
        if os.path.basename(path)[8:24] >= f"{int(high, 16):08X}{int(low, 16) // SEGMENT:08X}":
            os.remove(path)
    since = n2.mark()
    n2.begin("start", epoch=EPOCH, promise=EPOCH, need=1)
    told = n2.job("the end that it needs", lambda e: e["whole_timeline"] != 0, since=since)
    control = control_file(n2)
    where = f"{told['whole_from'] >> 32:X}/{told['whole_from'] & 0xffffffff:X}"
    say(f"  timeline {told['whole_timeline']}, {where}")
    assert control["Minimum recovery ending location"].strip() == where, control
    assert int(control["Min recovery ending loc's timeline"]) == told["whole_timeline"], control
    n2.facts("a start", lambda f: f["db"] == "starting", since=since)
    n2.order("stop", epoch=EPOCH)
    result = n2.order("rewind", expect=FAILED, epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    assert f"lacks WAL up to {where}" in result["text"], result
    n2.order("clone", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    since = n2.mark()
    follow(n1, n2)
    assert not [e for e in n2.events[since:] if e.get("whole_timeline")], "a clone is whole"
    check_back(n1, n2, xid)


def long_history(n1, n2):
    say("a timeline history as long as that of thousands of promotions")
    number = int(n1.sql("SELECT timeline_id FROM pg_control_checkpoint()"))
    with open(f"{n1.data}/pg_wal/{number:08X}.history", "a") as history:
        for i in range(2000):
            history.write(f"# in place of promotion {i}, as long as what PostgreSQL writes\n")
    xid = diverge(n2)
    result = n2.order("rewind", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    say(f"  {result['text']}")
    follow(n1, n2)
    check_back(n1, n2, xid)


def pruned(n1, n2):
    say("no more sets are kept than were asked for, the newest always")
    have = len(sets(n2))
    while have <= 3:
        xid = diverge(n2)
        come_back(n1, n2)
        newest = check_back(n1, n2, xid)
        assert newest == sets(n2)[-1], (newest, sets(n2))
        have += 1
    assert len(sets(n2)) == 3, sets(n2)


def on_boundary(n1, n2):
    say("a fork at the very beginning of a segment is rewound like any other")
    wait_replayed(n1, n2)
    n1.say("kill dbmon")  # its probes write WAL
    for _ in range(20):
        admin(n1, "CHECKPOINT")
        admin(n1, "SELECT pg_switch_wal()")
        wait_replayed(n1, n2)
        n2.order("stop", epoch=EPOCH)
        n2.order("start", epoch=EPOCH, promise=EPOCH, need=1)
        if int(n2.sql("SELECT pg_last_wal_replay_lsn() - '0/0'")) % SEGMENT == 0:
            break
        follow(n1, n2)
    since = n1.mark()
    n1.say("start dbmon")
    xid = diverge(n2)
    n1.facts("PRIMARY", lambda f: f["db"] == "primary", since=since)
    n2.order("rewind", epoch=EPOCH, promise=EPOCH, upstream=1, timeout=600)
    follow(n1, n2)
    fork = re.search(r"^Fork: ([0-9A-F]+)/([0-9A-F]+) ", report(check_back(n1, n2, xid)), re.M)
    assert (int(fork[1], 16) << 32 | int(fork[2], 16)) % SEGMENT == 0, fork


def comes_first(node):
    """A segment that was never written to, where the directory's order puts it first."""
    for number in range(256):
        name = f"{node.data}/pg_wal/0000000100000F00000000{number:02X}"
        with open(name, "wb") as file:
            file.truncate(SEGMENT)
        with os.scandir(os.path.dirname(name)) as entries:
            if next(e.name for e in entries if len(e.name) == 24) == os.path.basename(name):
                return
        os.unlink(name)
    say("  (no such name here; left out)")


def hindered(n1, n2):
    say("a pg_waldump that is killed has not said that there is nothing to save")
    xid = diverge(n2, rows=100000)
    comes_first(n2)
    order = n2.begin("rewind", epoch=EPOCH, promise=EPOCH, upstream=1)
    deadline = time.monotonic() + db_test.PATIENCE
    while True:
        pid, program = child_of(n2)
        if program == "pg_waldump":
            os.kill(pid, signal.SIGKILL)
            break
        if time.monotonic() > deadline:
            raise Failure("pg_waldump was never seen")
    result = n2.result(order, timeout=600)
    assert result["outcome"] == DONE, result
    follow(n1, n2)
    assert said(n2, "rejoin.unread"), "it was not killed in time"
    check_back(n1, n2, xid)


def write_alone(cls, node):
    """Committed without waiting for node 2, which is away."""
    cls.next_id += 1
    node.sql(f"SET synchronous_commit = local; INSERT INTO t VALUES ({cls.next_id})")
    cls.acknowledged.append(cls.next_id)


Writer.write_alone = classmethod(write_alone)


def measure(n1, n2):
    say("figures: 100 MB, a crashed node that has diverged")
    admin(n1, "CREATE TABLE big AS SELECT i, repeat('x', 80) AS filler FROM "
           "generate_series(1, 800000) i")
    wait_replayed(n1, n2)
    say(f"  database: {int(n1.sql('SELECT pg_database_size(current_database())')) >> 20} MB")
    for kind in ("rewind", "clone") * 3:
        diverge(n2)
        begun = time.monotonic()
        n2.order(kind, epoch=EPOCH, promise=EPOCH, upstream=1)
        took = time.monotonic() - begun
        begun = time.monotonic()
        follow(n1, n2)
        say(f"  {kind} {took:.2f} s, start to streaming {time.monotonic() - begun:.2f} s")


def stories(args, n1, n2, n3):
    begin(n1, n2)
    if args.measure:
        measure(n1, n2)
        return
    # How long they take here: the kills are spread over that.
    span = {"rewind": plain_rewind(n1, n2), "clone": refused(n1, n2)}
    on_boundary(n1, n2)
    hindered(n1, n2)
    not_whole(n1, n2)
    long_history(n1, n2)
    foreign(n1, n3)
    full_disk(n1, n3)
    from_archive(n1, n2)
    wal_gone(n1, n2)
    say(f"{args.rounds} kills, seed {args.seed}")
    rng = random.Random(args.seed)
    for number in range(1, args.rounds + 1):
        kill_round(n1, n2, rng, number, span)
    pruned(n1, n2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", action="store_true")
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
    db_test.CONF += "rejoin: {{diverged_keep: 3}}\n"
    db_test.CONF = db_test.CONF.replace("start_timeout: 15s", "start_timeout: 30s")
    db_test.CONF = db_test.CONF.replace('fsync: "on"', 'fsync: "on", wal_keep_size: 64MB')
    base = tempfile.mkdtemp(prefix="mha-rejoin-")
    os.chmod(base, 0o755)
    nodes = []
    small = None
    code = 1
    try:
        ports = free_ports(3)
        nodes = [Node(args, base, number, ports) for number in (1, 2, 3)]
        small = f"{nodes[2].dir}/pg"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}M,mode=0755,"
                        f"uid={pwd.getpwnam(OS_USER).pw_uid},gid={pwd.getpwnam(OS_USER).pw_gid}",
                        "tmpfs", small], check=True)
        stories(args, *nodes)
        say("all stories passed")
        code = 0
    except Exception as problem:
        import traceback

        traceback.print_exc()
        say(f"FAILED (seed {args.seed}): {problem}")
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
        if small:
            subprocess.run(["umount", "-l", small], check=False)
        if args.keep:
            say(f"kept: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
