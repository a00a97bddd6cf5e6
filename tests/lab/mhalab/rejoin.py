"""Scenarios of nodes that come back from where they should not have been."""

import glob
import os
import re
import subprocess

from . import config
from .lab import PG_BIN
from .system import LabError, now_ns, wait_until


def said(node, pattern):
    """The lines of this node's agents that match."""
    with open(node["log"], encoding="utf-8", errors="replace") as handle:
        return [line for line in handle if re.search(pattern, line)]


def saved(node):
    """Reports about WAL that only this node had."""
    return glob.glob(os.path.join(glob.escape(node["pgdata"] + ".mha4rdb"),
                                  "diverged-*", "report.txt"))


def promote_by_hand(run, node):
    """pg_ctl promote, as a person on that host would do it."""
    at = now_ns()
    done = subprocess.run(
        ["nsenter", "-t", str(run.lab.host(node).pid), "-p", "-m", "setpriv", "--reuid=postgres",
         "--regid=postgres", "--init-groups", os.path.join(PG_BIN, "pg_ctl"), "promote", "-D",
         node["pgdata"]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"pg_ctl promote on {node['name']}: {done.stdout}{done.stderr}")
    run.faults.append({"kind": "hand-promote", "node": node["name"], "at_ns": at})


def hand_promote(run):
    """a person promotes a standby behind the agent's back: it is named, ended and rebuilt"""
    primary = run.lab.primary()
    victim = run.lab.resolve("standby")
    named = len(said(victim, "promoted_by_hand"))
    before = set(saved(victim))
    judged = len(said(victim, r"rejoin\.(clean|diverged)"))
    promote_by_hand(run, victim)
    wait_until(lambda: len(said(victim, "promoted_by_hand")) > named, run.deadline,
               "the promotion by hand to be named")
    run.writes_go_on()
    seconds = run.whole()
    if run.lab.primary()["name"] != primary["name"]:
        raise LabError("a promotion by hand moved the primary")
    fresh = set(saved(victim)) - before
    for path in fresh:
        with open(path, encoding="ascii") as handle:
            found = re.search(r"Transactions: (\d+) committed", handle.read())
        run.notes.append(f"saved: {found[1] if found else '?'} commits that the cluster has not")
    if len(said(victim, r"rejoin\.(clean|diverged)")) == judged:
        raise LabError("nothing is said of what the promoted node wrote")
    return seconds


def admin(node, sql):
    """What the superuser on the node's own socket is answered."""
    done = subprocess.run(
        ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "psql", "-XAtq",
         "-h", node["socket_dir"], "-p", str(config.PG_PORT), "-U", "postgres", "-d",
         config.DBNAME, "-c", sql], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{node['name']}: {sql}: {done.stderr}")
    return done.stdout.strip()


def forget_wal(run, node):
    """The node removes every segment up to the present one."""
    segment = admin(node, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    admin(node, "ALTER SYSTEM SET wal_keep_size = 0")
    admin(node, "SELECT pg_reload_conf()")

    def gone():
        admin(node, "SELECT pg_switch_wal()")
        admin(node, "CHECKPOINT")
        return not os.path.exists(os.path.join(node["pgdata"], "pg_wal", segment))

    wait_until(gone, run.deadline, f"{node['name']} to remove {segment}", 0.2)


def wal_elsewhere(run):
    """the primary has removed WAL that a standby needs, another standby has it: no clone"""
    primary = run.lab.primary()
    victim = run.lab.resolve("standby")
    keeper = next(node for node in run.lab.data_nodes
                  if node["name"] not in (primary["name"], victim["name"]))
    pattern = rf"order=configure .*upstream={keeper['id']}$"
    detours = len(said(victim, pattern))
    rebuilds = len(said(victim, "order=(clone|rewind) "))
    run.fault("node-crash", victim)
    run.writes_go_on()
    forget_wal(run, primary)
    run.repair("start", victim)
    wait_until(lambda: len(said(victim, pattern)) > detours, run.deadline,
               f"{victim['name']} to ask {keeper['name']}")
    seconds = run.whole()
    admin(primary, "ALTER SYSTEM RESET wal_keep_size")
    admin(primary, "SELECT pg_reload_conf()")
    if len(said(victim, "order=(clone|rewind) ")) != rebuilds:
        raise LabError(f"{victim['name']} was rebuilt although {keeper['name']} had its WAL")
    return seconds


THREE = {"hand-promote": hand_promote, "wal-elsewhere": wal_elsewhere}
