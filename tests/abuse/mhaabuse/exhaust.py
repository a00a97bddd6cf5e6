"""Descriptors, memory and processes run out, in each worker and in a whole agent.

The limits are set from outside (prlimit) on running processes at what they use now, so that the
next allocation fails; then something is done that needs one. The limits are lifted afterwards:
what has ended was started anew by its master, what has not ended goes on.
"""

import re
import resource
import signal
import time

from mhalab.lab import say
from mhalab.system import LabError, in_netns, signal_all, wait_until
from mhalab.system import run as run_command

from .kills import MAY_CHANGE, find, is_primary
from .world import WORKERS

LIMITS = {"descriptors": "nofile", "memory": "as", "processes": "nproc"}
HOLD_S = 4
# What a person can act on: the system's own words, or the master's about a worker.
WORDS = re.compile(r"Too many open files|[Nn]o file descriptors|out of memory|Cannot allocate memory|"
                   r"Resource temporarily unavailable|worker\.ended|worker\.failed|bytes|"
                   r"not enough memory|Not enough space|No buffer space")


def used(process, kind):
    """What it uses now of that kind, so that there is nothing left."""
    if kind == "descriptors":
        return 3
    if kind == "memory":
        with open(f"/proc/{process.pid}/statm", encoding="ascii") as handle:
            return int(handle.read().split()[0]) * resource.getpagesize()
    return 1


def owner(process):
    """(user, group) of the process. An undumpable one's folder in /proc is root's."""
    with open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as handle:
        rows = {key: value for key, _, value in (line.partition(":") for line in handle)}
    return rows["Uid"].split()[0], rows["Gid"].split()[0]


def limits(process, *words):
    """prlimit(1) as the process's own user: one that is not root's needs no further right."""
    user, group = owner(process)
    return run_command("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--",
                       "prlimit", f"--pid={process.pid}", *words)


def soft_limit(process, kind):
    return limits(process, f"--{LIMITS[kind]}", "--raw", "--noheadings", "--output=SOFT").strip()


def tighten(process, kind):
    """Its limit is what it has, or less; the limit that it had."""
    before = soft_limit(process, kind)
    limits(process, f"--{LIMITS[kind]}={used(process, kind)}:")
    return before


def loosen(process, kind, before):
    try:
        limits(process, f"--{LIMITS[kind]}={before}:")
    except (LabError, OSError, KeyError):
        if process.open() is not None:
            raise


def stimulate(world, node, name):
    """Something for which the process needs what it has not: others come and go."""
    lab = world.lab
    if name == "gateway":
        for _ in range(20):
            in_netns(node["ns"], lambda: _ask(world, node))
    elif name == "consensus":
        other = next(other for other in lab.nodes if other is not node)
        signal_all([lab.worker(other, "consensus")], signal.SIGKILL)
    elif name == "dbmon":
        backend = lab.backend(node, "mha_monitor")
        if backend is not None:
            signal_all([backend], signal.SIGTERM)
    elif name == "dbctl" and not is_primary(world, node):
        postmaster = lab.postmaster(node)
        if postmaster is not None:
            signal_all([postmaster], signal.SIGKILL)
    elif name == "agent":
        victim = lab.worker(node, "gateway")
        if victim is not None:
            signal_all([victim], signal.SIGKILL)


def _ask(world, node):
    try:
        world.lab.mhactl(node, "status", "--json", "--timeout", "1s")
    except LabError:
        pass


def victims(world, node, name):
    if name == "agent":
        return world.lab.agent_processes(node)
    return [process for process in (find(world, node, name),) if process is not None]


def one(world, node, name, kind):
    """One exhaustion; its row."""
    primary = is_primary(world, node)
    epoch = world.epoch()
    offset = len(world.log(node))
    hit = victims(world, node, name)
    before = [(process, tighten(process, kind)) for process in hit]
    begun = time.monotonic()
    try:
        stimulate(world, node, name)
        wait_until(lambda: time.monotonic() - begun > HOLD_S, world.deadline, "some time", 0.1)
    finally:
        for process, had in before:
            loosen(process, kind, had)
    ended = [process.program for process in hit
             if process.program not in ("", "mhad") and _gone(world, node, process)]
    if not world.lab.agent_processes(node):
        world.lab.start(node)  # what systemd does
        ended.append("mhad")
    lifted = time.monotonic()
    world.wait_ready(node, f"{node['name']} to be ready after {name} ran out of {kind}")
    world.probe.wait_acknowledged(5, world.deadline, f"writes after {name} ran out of {kind}")
    after = world.epoch()
    said = [line for line in world.log(node)[offset:].splitlines() if WORDS.search(line)]
    row = {"node": node["name"], "primary": primary, "who": name, "what": kind, "ended": ended,
           "back_ms": round((time.monotonic() - lifted) * 1000), "epochs": [epoch, after],
           "words": said[0][:300] if said else ""}
    say(str(row))
    if ended and not said:
        world.fail(f"{name} of {node['name']} ended without {kind} and nothing says why")
    if after != epoch and not (primary and name in MAY_CHANGE | {"agent", "dbmon", "dbctl"}):
        world.fail(f"epoch {epoch} became {after} when {name} of {node['name']} had no {kind}")
    return row


def _gone(world, node, process):
    name = process.program.removeprefix("mha-")
    now = find(world, node, name)
    return now is None or now.pid != process.pid


def run(world):
    lab, rows = world.lab, []
    for primary in (False, True):
        for name in WORKERS + ("agent",):
            for kind in LIMITS:
                if kind == "processes" and name not in ("dbctl", "agent"):
                    continue  # no other worker may make one: the sandbox refuses it
                node = next(node for node in lab.data_nodes
                            if is_primary(world, node) is primary)
                rows.append(one(world, node, name, kind))
        wait_until(lambda: all(world.ready(node) for node in lab.nodes), world.deadline,
                   "all agents to be ready", 0.2)
    return {"exhaustions": rows, "ended": sum(len(row["ended"]) for row in rows)}
