"""
Scenarios of databases that are ill without being dead: stopped processes, connections that hang,
disks that stall, fail or are full. Each waits for the verdict by its own name, checks whether the
primary moved as the policy of docs/faults.md says, heals, and waits until all is back.
"""

import itertools
import json
import signal
import subprocess
import time

import psycopg2

from . import config
from .probe import connect, wait_whole
from .system import LabError, signal_all, wait_until

NAMED_S = 120  # generous: a verdict that takes longer is none


def member(lab, node):
    """What the node says of itself; None while it does not answer."""
    try:
        status = json.loads(lab.mhactl(node, "status", "--json"))
    except (LabError, ValueError):
        return None
    for row in status["members"]:
        if row["name"] == node["name"]:
            return row
    return None


def named(run, node, *faults):
    """Wait until the node says one of these faults; the time it took in ms."""
    seen = set()
    began = time.monotonic()

    def says():
        row = member(run.lab, node) or {}
        seen.add(row.get("fault") or "nothing")
        return row.get("fault") in faults
    try:
        wait_until(says, NAMED_S, " or ".join(faults), 0.02)
    except LabError as trouble:
        raise LabError(f"{trouble}; {node['name']} says {', '.join(sorted(seen))}") from None
    took = (time.monotonic() - began) * 1000
    run.notes.append(f"named after {took:.0f} ms")
    return took


def healthy(run, node):
    """Nothing is wrong with it any more."""
    def well():
        row = member(run.lab, node)
        return row is not None and not row.get("fault") and row["state"] in ("serving", "streaming")
    wait_until(well, run.deadline, f"{node['name']} to be healthy", 0.1)


def stays(run, node, seconds=3):
    """No failover: the node goes on serving."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run.writes_go_on(20)
    if run.lab.primary()["name"] != node["name"]:
        raise LabError(f"{node['name']} is not the primary any more: this was no reason to move")


def starts(node):
    """How many orders to start the server its dbctl has taken."""
    with open(node["log"], encoding="utf-8", errors="replace") as handle:
        return sum("database.order order=start" in line for line in handle)


def superuser(node, sql):
    """A session of the superuser on the node's own socket, with `sql` done in it."""
    return subprocess.Popen(
        ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "psql", "-X",
         "-q", "-h", node["socket_dir"], "-p", str(config.PG_PORT), "-U", "postgres", "-d",
         config.DBNAME, "-c", sql],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def a_standby(lab):
    primary = lab.primary()
    return next(node for node in lab.data_nodes if node["name"] != primary["name"])


def stop_postmaster(run):
    """the primary's postmaster alone is stopped: old sessions go on, new ones wait"""
    victim = run.lab.primary()
    run.fault("postmaster-freeze", victim)
    run.moved(victim)
    run.writes_go_on()
    return run.whole()


def _stopped_child(child, fault, primary=True):
    def scenario(run):
        serving = run.lab.primary()
        victim = serving if primary else a_standby(run.lab)
        run.fault(f"backend-freeze={child}", victim)
        named(run, victim, fault)
        stays(run, serving)
        run.repair(f"backend-thaw={child}", victim)
        healthy(run, victim)
        return run.whole()
    scenario.__doc__ = (f"the {child} of {'the primary' if primary else 'a standby'} is stopped: "
                        f"named, nobody moves")
    return scenario


def freeze_db(run):
    """every process of a standby's database is stopped: it is ended and started anew"""
    serving, victim = run.lab.primary(), a_standby(run.lab)
    run.fault("pg-freeze", victim)
    named(run, victim, "database_frozen")
    stays(run, serving)
    healthy(run, victim)
    return run.whole()


def new_connections_hang(run):
    """the postmaster can fork no more: sessions that are open go on, new ones hang"""
    victim = run.lab.primary()
    run.fault("fork-stop", victim)
    try:
        run.moved(victim)
        run.writes_go_on()
    finally:
        run.repair("fork-go-on", victim)
    return run.whole()


def _lock_catalog(run, victim):
    session = superuser(victim, "BEGIN; LOCK TABLE pg_catalog.pg_db_role_setting; "
                                "SELECT pg_sleep(600)")
    run.begun("catalog-locked", victim)
    named(run, victim, "no_new_connections")
    stays(run, victim)
    return session


def catalog_locked(run):
    """a session holds a catalog that every new session reads: so do all standbys, by the WAL, and
    nobody moves"""
    victim = run.lab.primary()
    session = _lock_catalog(run, victim)
    holder = run.lab.backend(victim, "postgres")
    if holder is None:
        raise LabError("the session that holds the catalog is gone")
    signal_all([holder], signal.SIGTERM)
    session.wait(NAMED_S)
    for node in run.lab.data_nodes:
        healthy(run, node)
    return run.whole()


def catalog_locked_loss(run):
    """the primary is lost meanwhile: a standby takes over although no session can begin on it; the
    old primary has replayed its own lock, is not ended again and again, and is cloned at last"""
    victim = run.lab.primary()
    session = _lock_catalog(run, victim)
    run.fault("pg-kill", victim)
    run.moved(victim)
    run.writes_go_on()
    session.wait(NAMED_S)
    named(run, victim, "no_new_connections")
    before = starts(victim)
    run.writes_go_on(2000)
    if starts(victim) > before:
        raise LabError("the old primary is ended and started again and again")
    return wait_whole(run.lab, 900)


def connections_full(run):
    """all of max_connections are in use: that is an answer, nobody moves"""
    victim = run.lab.primary()
    run.begun("connections-full", victim)
    sessions = []
    try:
        while len(sessions) < 500:
            try:
                sessions.append(connect(run.lab, victim["addr"]))
            except psycopg2.Error:
                break
        named(run, victim, "connections_full")
        stays(run, victim)
    finally:
        for session in sessions:
            session.close()
    healthy(run, victim)
    return run.whole()


def disk_stall(run):
    """the primary's disk takes no writes any more (a frozen file system), and goes on at last"""
    victim = run.lab.primary()
    run.fault("disk-stall", victim)
    try:
        run.moved(victim)
        run.writes_go_on()
        named(run, victim, "disk_stalled")
    finally:
        run.repair("disk-go-on", victim)
    return run.whole()


def disk_stall_standby(run):
    """a standby's disk stalls: named, the primary stays, and it comes back"""
    serving, victim = run.lab.primary(), a_standby(run.lab)
    run.fault("disk-stall", victim)
    try:
        named(run, victim, "disk_stalled")
        stays(run, serving)
    finally:
        run.repair("disk-go-on", victim)
    healthy(run, victim)
    return run.whole()


def disk_eio(run):
    """everything on the primary's disk fails with EIO; it is replaced by an empty one"""
    victim = run.lab.primary()
    run.fault("disk-error", victim)
    run.moved(victim)
    run.writes_go_on()
    named(run, victim, "disk_error")
    run.no_starts(victim, 5)
    run.lab.power_off([victim])
    run.repair("disk-replace", victim)
    run.repair("start", victim)
    return run.whole()


def use_up_wal(run, victim):
    """A full disk ends the server only when it needs the next segment of WAL."""
    def ended():
        session = superuser(victim, "SELECT pg_logical_emit_message(true, 'lab', ''), "
                                    "pg_switch_wal()")
        session.wait(NAMED_S)
        primary = run.lab.vip_holders()
        return not primary or primary[0]["name"] != victim["name"]
    wait_until(ended, run.deadline, "the server to run out of WAL", 0.01)


def disk_full_db(run):
    """the primary's disk is full: named; when the server ends of it another node serves, no start
    is tried on the full disk, and it comes back with the space"""
    victim = run.lab.primary()
    run.fault("disk-full", victim)
    named(run, victim, "disk_full")
    time.sleep(1)
    if run.lab.primary()["name"] != victim["name"]:
        raise LabError("a full disk alone is no reason to move")
    use_up_wal(run, victim)
    run.moved(victim)
    run.writes_go_on()
    named(run, victim, "disk_full")
    run.no_starts(victim, 5)
    run.repair("disk-free", victim)
    healthy(run, victim)
    return run.whole()


def agent_failure(lab, node):
    """What the node's own agent says about its log; "" when nothing."""
    try:
        status = json.loads(lab.mhactl(node, "status", "--json"))
    except (LabError, ValueError):
        return ""
    return status.get("failure") or ""


def _log_full(run, victim):
    """The agent is started on a full disk: it cannot take part, says so, and does not loop."""
    run.repair("agent-kill", victim)
    run.repair("start", victim)
    other = next(node for node in run.lab.nodes if node["name"] != victim["name"])
    words = itertools.cycle(("off", "on"))

    def says():
        # A log that nothing is written to is never full.
        try:
            run.lab.mhactl(other, "auto-switch", next(words))
        except LabError:
            pass
        return "raft log: disk full" in agent_failure(run.lab, victim)
    wait_until(says, NAMED_S, "the agent to say that its log's disk is full", 0.5)
    first = run.lab.worker(victim, "consensus")
    time.sleep(2)
    second = run.lab.worker(victim, "consensus")
    if first is None or second is None or first.pid != second.pid:
        raise LabError("the consensus worker is restarted again and again")


def _log_back(run, victim):
    wait_until(lambda: agent_failure(run.lab, victim) == "" and member(run.lab, victim),
               run.deadline, "the agent to take part again", 0.1)


def disk_full_agent(run):
    """the disk with the primary's agent's log is full when the agent is started"""
    victim = run.lab.primary()
    run.fault("log-disk-full", victim)
    _log_full(run, victim)
    run.moved(victim)
    run.writes_go_on()
    run.repair("disk-free", victim)
    _log_back(run, victim)
    healthy(run, victim)
    return run.whole()


def disk_full_both(run):
    """both disks of the primary are full"""
    victim = run.lab.primary()
    run.fault("disk-full", victim)
    run.repair("log-disk-full", victim)
    _log_full(run, victim)
    run.moved(victim)
    run.writes_go_on()
    named(run, victim, "disk_full")
    run.repair("disk-free", victim)
    _log_back(run, victim)
    healthy(run, victim)
    return run.whole()


# In a lab of three data nodes with disks of their own.
DISKS = {"stop-postmaster": stop_postmaster,
         "stop-checkpointer": _stopped_child("checkpointer", "checkpointer_stopped"),
         "stop-walwriter": _stopped_child("walwriter", "walwriter_stopped"),
         "stop-receiver": _stopped_child("walreceiver", "receiver_stopped", primary=False),
         "stop-startup": _stopped_child("startup", "startup_stopped", primary=False),
         "freeze-db": freeze_db, "new-connections-hang": new_connections_hang,
         "catalog-locked": catalog_locked, "catalog-locked-loss": catalog_locked_loss,
         "connections-full": connections_full, "disk-stall": disk_stall,
         "disk-stall-standby": disk_stall_standby, "disk-eio": disk_eio,
         "disk-full-db": disk_full_db, "disk-full-agent": disk_full_agent,
         "disk-full-both": disk_full_both}
# By hand, and every night.
SLOW = ("stop-walwriter", "stop-startup", "freeze-db", "catalog-locked-loss", "connections-full",
        "disk-stall-standby", "disk-eio", "disk-full-agent", "disk-full-both")
