"""Scenarios of nodes that come back from where they should not have been."""

import glob
import os
import re
import subprocess

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


THREE = {"hand-promote": hand_promote}
