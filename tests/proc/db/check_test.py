#!/usr/bin/python3
"""The background check of the data with real PostgreSQL: a byte is flipped in a table's file."""

import argparse
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import db_test  # noqa: E402
from db_test import (BIN_DIR, MONITOR_USER, OS_USER, Failure, Node, free_ports,  # noqa: E402
                     say, skip)
from rejoin_test import (EPOCH, admin, begin, change_conf, clone_to, follow, restart_dbctl,  # noqa: E402
                         wait_replayed)

BLOCK = 3
PATIENCE = 900  # a pass stands behind everybody else on a busy host
CHECK = "check: {interval: 1s, rate: 64MB}"


def wait_log(node, words, since=0):
    """The line with all of `words` that the node's workers log after the byte `since`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open(f"{node.dir}/log", errors="replace") as file:
            file.seek(since)
            for line in file:
                if all(word in line for word in words):
                    return line
        time.sleep(0.05)
    raise Failure(f"node {node.number} does not log {words}")


def log_end(node):
    return os.path.getsize(f"{node.dir}/log")


def flip(node, path):
    """The same again takes it back."""
    with open(f"{node.data}/{path}", "r+b") as file:
        file.seek(BLOCK * 8192 + 4000)
        byte = file.read(1)[0]
        file.seek(BLOCK * 8192 + 4000)
        file.write(bytes([byte ^ 0x10]))
        file.flush()
        os.fsync(file.fileno())


def make_table(n1, n2, name):
    """A table that is on both disks; where it is."""
    admin(n1, f"CREATE TABLE {name} AS SELECT g AS id, repeat('x', 200) AS t "
              "FROM generate_series(1, 5000) g")
    admin(n1, f"GRANT SELECT ON {name} TO app")
    admin(n1, "CHECKPOINT")
    wait_replayed(n1, n2)
    admin(n2, "CHECKPOINT")
    return admin(n1, f"SELECT pg_relation_filepath('{name}')")


def wait_damage(node, damaged, since):
    return node.facts(f"damaged {damaged}", lambda f: f["damaged"] == damaged,
                      timeout=PATIENCE, since=since)


def found_by_the_check(n1, n2):
    say("a pass over good data finds nothing")
    for node in (n1, n2):
        line = wait_log(node, ["database.checked", "damaged=0", "unread=0"])
        pages = int(line.split("pages=")[1].split()[0])
        assert pages > 500, line
    path = make_table(n1, n2, "heap")

    say("a flipped byte of a standby is found in one pass, by file and block")
    since, seen = n2.mark(), log_end(n2)
    flip(n2, path)
    event = wait_damage(n2, 1, since)
    assert event["facts"]["fault"] == "data_damaged" and event["facts"]["db"] == "standby", event
    wait_log(n2, ["database.damaged", f"block {BLOCK} of {path} has checksum"], seen)
    assert f" {path}\n" in open(f"{n2.data}.mha4rdb/damaged").read()
    assert not any(e["facts"]["damaged"] for e in n1.events if "facts" in e)

    say("it is known after dbctl was killed, before any pass")
    since, seen = n2.mark(), log_end(n2)
    restart_dbctl(n2, False)
    wait_log(n2, ["database.damaged", f"block {BLOCK} of {path}"], seen)
    n2.job("the damage", lambda e: e["damaged"] > 0, since=since)

    say("a page that is good again is found good by a later pass")
    since = n2.mark()
    flip(n2, path)
    wait_damage(n2, 0, since)
    assert not os.path.exists(f"{n2.data}.mha4rdb/damaged")
    return path


def gone_with_a_clone(n1, n2, path):
    say("a clone is not damaged")
    since = n2.mark()
    flip(n2, path)
    wait_damage(n2, 1, since)
    n2.order("stop", epoch=EPOCH)
    since = n2.mark()
    clone_to(n1, n2)
    wait_damage(n2, 0, since)
    assert not os.path.exists(f"{n2.data}.mha4rdb/damaged")


def cut_off(n1, n2):
    say("a pass is given up when its server is stopped")
    seen = log_end(n2)
    change_conf(n2, "rate: 64MB", "rate: 64kB")
    wait_log(n2, ["database.check", "a pass begins at 65536 bytes"], seen)
    n2.order("stop", epoch=EPOCH)
    wait_log(n2, ["database.check", "given up"], seen)
    follow(n1, n2)


def found_by_the_server(n1, n2):
    say("without passes, what the server comes upon is told all the same")
    change_conf(n2, CHECK.replace("64MB", "64kB"), CHECK.replace("1s", "0").replace("64MB", "64kB"))
    path = make_table(n1, n2, "late")
    n2.order("stop", epoch=EPOCH)
    flip(n2, path)
    follow(n1, n2)
    since = n2.mark()
    assert n2.sql("SELECT sum(length(t)) FROM late", expect=False) is None, "the page was read"
    event = wait_damage(n2, 1, since)
    assert event["facts"]["fault"] == "data_damaged", event

    say("a pass that begins later and finds nothing ends that")
    since = n2.mark()
    n2.order("stop", epoch=EPOCH)
    flip(n2, path)
    change_conf(n2, CHECK.replace("1s", "0").replace("64MB", "64kB"), CHECK)
    follow(n1, n2)
    wait_damage(n2, 0, since)


def damaged_primary(n1):
    say("a damaged primary is named, and goes on")
    path = admin(n1, "SELECT pg_relation_filepath('heap')")
    since, seen = n1.mark(), log_end(n1)
    flip(n1, path)
    event = wait_damage(n1, 1, since)
    assert event["facts"]["db"] == "primary" and event["facts"]["fault"] == "data_damaged", event
    wait_log(n1, ["database.damaged", path], seen)
    assert admin(n1, "SELECT 1 WHERE NOT pg_is_in_recovery()") == "1"


def stories(n1, n2):
    begin(n1, n2)
    path = found_by_the_check(n1, n2)
    gone_with_a_clone(n1, n2, path)
    cut_off(n1, n2)
    found_by_the_server(n1, n2)
    damaged_primary(n1)


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
    db_test.CONF += CHECK.replace("{", "{{").replace("}", "}}") + "\n"
    db_test.CONF = db_test.CONF.replace("start_timeout: 4s", "start_timeout: 20s")
    base = tempfile.mkdtemp(prefix="mha-check-")
    os.chmod(base, 0o755)
    nodes = []
    code = 1
    try:
        ports = free_ports(2)
        nodes = [Node(args, base, number, ports) for number in (1, 2)]
        stories(*nodes)
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
