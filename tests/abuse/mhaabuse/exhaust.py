"""Descriptors, memory and processes run out, in each worker and in a whole agent.

The soft limits of running processes are set (prlimit) at what they use now, so that the next
allocation fails; then something is done that needs one. The limits are lifted as soon as the log
says what is missing, or after some seconds: what has ended was started anew by its master, what has
not ended goes on. Each process's limits are changed as its own user, within its hard ones: neither
CAP_SYS_RESOURCE nor a cgroup is needed.
"""

import os
import re
import resource
import signal
import socket
import time

from mhalab import config
from mhalab.lab import say
from mhalab.probe import wait_whole
from mhalab.system import LabError, in_netns, signal_all, wait_until
from mhalab.system import run as run_command

from .kills import find, is_primary
from .roles import LEASE, Roles
from .world import WORKERS

LIMITS = {"descriptors": "nofile", "memory": "as", "processes": "nproc"}
# A server that is killed younger than this (pg_end.c), again and again, is left alone for a while.
GROWN_S = 12
HOLD_S = 5  # so long at most, if it does not tell earlier what it lacks
# What a person can act on: the system's own words, or a library's.
WORDS = re.compile(r"Too many open files|[Nn]o file descriptors|[Oo]ut of memory|OUT OF MEMORY|"
                   r"Cannot allocate memory|Resource temporarily unavailable|not enough memory|"
                   r"Not enough space|No buffer space|resource limit")
# Who needs what for sure, when it is given what stimulate() gives it. The others may get along:
# memory that was given back is used again, and vip opens nothing once it runs.
FELT = {("consensus", "descriptors"), ("dbmon", "descriptors"), ("dbctl", "descriptors"),
        ("dbctl", "processes"), ("gateway", "descriptors"), ("agent", "descriptors")}
HTTP_CONNECTIONS = 100
# What may follow from it on the primary: see stimulate() for who else is hit then.
MAY_FOLLOW = {"consensus": LEASE, "vip": LEASE, "agent": LEASE, "dbctl": {"database_down"}}


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
    """Something for which the process needs what it has not; who was killed for it."""
    lab = world.lab
    killed = []
    if name == "gateway":
        in_netns(node["ns"], ask_much)
        try:
            lab.mhactl(node, "status", "--json", "--timeout", "1s")
        except LabError:
            pass  # that it gets no answer is what is wanted
    elif name in ("consensus", "vip"):
        # Another member, or its own one, comes anew.
        other = next(other for other in lab.nodes if other is not node)
        killed = [lab.worker(other if name == "consensus" else node, "consensus")]
    elif name == "dbmon":
        killed = [lab.backend(node, "mha_monitor")]
    elif name == "dbctl":
        killed = [lab.postmaster(node)]
    elif name == "agent":
        killed = [lab.worker(node, "gateway")]
    killed = [process for process in killed if process is not None]
    # SIGKILL of a backend would end the whole server.
    signal_all(killed, signal.SIGTERM if name == "dbmon" else signal.SIGKILL)
    return {process.pid for process in killed}


def ask_much():
    """Many connections at once, each with a question; what is answered does not matter here."""
    links = []
    for _ in range(HTTP_CONNECTIONS):
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        link.settimeout(1)
        links.append(link)
        try:
            link.connect(("127.0.0.1", config.HTTP_PORT))
            link.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        except OSError:
            break
    for link in links:
        link.close()


def victims(world, node, name):
    if name == "agent":
        return world.lab.agent_processes(node)
    return [process for process in (find(world, node, name),) if process is not None]


def grown(server):
    """Whether its end will be no part of a crash loop."""
    if server is None:
        return False
    begun = server.started / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begun > GROWN_S


def one(world, roles, node, name, kind):
    """One exhaustion; its row."""
    if name == "dbctl":
        wait_until(lambda: grown(world.lab.postmaster(node)), world.deadline,
                   f"the server of {node['name']} to have lived for {GROWN_S} s")
    primary = is_primary(world, node)
    epoch = roles.epoch
    offset = world.log_sizes()[node["name"]]
    deed = roles.deed(name, node, primary)
    hit = victims(world, node, name)
    before = [(process, tighten(process, kind)) for process in hit]
    killed = set()

    def lacks():
        return [line for line in world.log_from(node, offset).splitlines() if WORDS.search(line)]

    try:
        killed = stimulate(world, node, name)
        held = time.monotonic()
        wait_until(lambda: lacks() or time.monotonic() - held > HOLD_S, world.deadline,
                   "some time", 0.05)
    finally:
        for process, had in before:
            loosen(process, kind, had)
    lifted = time.monotonic()
    ended = [process.program for process in hit
             if process.program != "mhad" and process.pid not in killed and process.gone()]
    if not world.lab.agent_processes(node):
        world.lab.start(node)  # what systemd does
        ended.append("mhad")
    world.wait_ready(node, f"{node['name']} to be ready after {name} ran out of {kind}")
    world.probe.wait_acknowledged(5, world.deadline, f"writes after {name} ran out of {kind}")
    ready = time.monotonic()
    wait_whole(world.lab, world.deadline)
    after = roles.check(deed)
    said = lacks()
    row = {"node": node["name"], "primary": primary, "who": name, "what": kind, "ended": ended,
           "felt": bool(said), "ready_ms": round((ready - lifted) * 1000),
           "whole_ms": round((time.monotonic() - lifted) * 1000), "epochs": [epoch, after],
           "words": said[0][:300] if said else ""}
    say(str(row))
    judge(world, row)
    return row


def judge(world, row):
    words = f"{row['who']} of {row['node']} without {row['what']}"
    if row["ended"] and not row["felt"]:
        world.fail(f"{words}: {', '.join(row['ended'])} ended and nothing says why")
    if (row["who"], row["what"]) in FELT and not row["felt"]:
        world.fail(f"{words}: nothing says that it lacks anything")


def run(world):
    lab, rows, roles = world.lab, [], Roles(world, MAY_FOLLOW)
    world.partial = lambda: {"exhaustions": rows, **roles.row()}
    for primary in (False, True):
        for name in WORKERS + ("agent",):
            for kind in LIMITS:
                if kind == "processes" and name not in ("dbctl", "agent"):
                    continue  # no other worker may make one: the sandbox refuses it
                node = next(node for node in lab.data_nodes
                            if is_primary(world, node) is primary)
                rows.append(one(world, roles, node, name, kind))
    return {"exhaustions": rows, "felt": sum(row["felt"] for row in rows),
            "ended": sum(len(row["ended"]) for row in rows), **roles.row()}
