"""
Scenarios of the kernel-held fence: whatever happens to the agent of a primary, the last write that
its database accepts comes before the first one that the next primary accepts, and so does its last
answer to a reader. Clients inside the host and on another one, with sessions that they keep and
with new ones, all of them with synchronous_commit = local, which asks no standby.
"""

import time

from .system import LabError

HOLD_S = 4     # how long another node serves before anything is repaired
LATER_S = 12   # the same before a stopped agent is resumed long after

# name, where from, address, options, connect anew after so many ms (0: keep), reads
POLLS = (
    ("in-anew", "inside", "loopback", "-c synchronous_commit=local", 1, False),
    ("out-kept", "client", "node", "-c synchronous_commit=local", 0, False),
    ("out-anew", "client", "node", "-c synchronous_commit=local", 1, False),
    ("in-read", "inside", "loopback", "", 0, True),
    ("out-read", "client", "node", "", 0, True),
)
# The lab's usual poller is the fourth kind of writer: inside, kept, its own address.
WRITERS = ("local", "in-anew", "out-kept", "out-anew")
READERS = ("in-read", "out-read")


def hold(run, victim, seconds=HOLD_S):
    """Another node serves for a while, and the victim stays as it is."""
    run.moved(victim)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run.writes_go_on(50)


def _still_a_primary(run, victim):
    """The database itself goes on: it is the kernel alone that keeps clients away."""
    if run.lab.postmaster(victim) is None:
        raise LabError(f"the database of {victim['name']} has ended, which proves nothing here")


def agent_stop(run):
    """the primary's whole agent is stopped (SIGSTOP) and at last killed and started again"""
    victim = run.lab.primary()
    run.fault("agent-freeze", victim)
    hold(run, victim)
    _still_a_primary(run, victim)
    run.repair("agent-kill", victim)
    run.repair("start", victim)
    return run.whole()


def agent_stop_resume_later(run):
    """the same, but it goes on (SIGCONT) after another node has served for a long while"""
    victim = run.lab.primary()
    run.fault("agent-freeze", victim)
    hold(run, victim, LATER_S)
    _still_a_primary(run, victim)
    run.repair("agent-thaw", victim)
    return run.whole()


def agent_gone(run):
    """the primary's whole agent is killed and nobody starts it again for a while"""
    victim = run.lab.primary()
    run.fault("agent-kill", victim)
    hold(run, victim)
    _still_a_primary(run, victim)
    if run.lab.agent_processes(victim):
        raise LabError("somebody has started the agent")
    run.repair("start", victim)
    return run.whole()


def worker_stop(name):
    def scenario(run):
        victim = run.lab.primary()
        run.fault(f"worker-freeze={name}", victim)
        stopped = run.lab.worker(victim, name)
        run.writes_go_on(500)
        now = run.lab.worker(victim, name)
        if now is not None and stopped is not None and now.pid == stopped.pid:
            run.notes.append(f"{name} was still stopped after 500 writes")
            run.repair(f"worker-thaw={name}", victim)
        if victim not in run.lab.vip_holders():
            run.notes.append("the primary moved")
        return run.whole()
    scenario.__doc__ = f"{name} on the primary's host is stopped (SIGSTOP)"
    return scenario


def _starved(run, fault, repair):
    victim = run.lab.primary()
    run.fault(fault, victim)
    try:
        end = time.monotonic() + 2 * HOLD_S
        while time.monotonic() < end:
            run.writes_go_on(50)
    finally:
        run.repair(repair, victim)
    run.notes.append("the primary moved" if victim not in run.lab.vip_holders()
                     else "the primary stayed")
    return run.whole()


def agent_starve(run):
    """the primary's whole agent gets 1 ms of processor time per second"""
    return _starved(run, "agent-starve", "agent-feed")


def consensus_starve(run):
    """consensus on the primary's host gets what two busy loops of top priority leave it"""
    return _starved(run, "worker-starve=consensus", "worker-feed=consensus")


def fence_local(run):
    """the primary's host is cut off, and clients inside it go on writing as long as they can"""
    victim = run.lab.primary()
    run.fault("cut", victim)
    hold(run, victim)
    run.repair("heal", victim)
    return run.whole()


SCENARIOS = {"agent-stop": agent_stop, "agent-stop-resume-later": agent_stop_resume_later,
             "agent-gone": agent_gone,
             **{f"worker-stop={name}": worker_stop(name)
                for name in ("consensus", "vip", "dbctl", "dbmon", "gateway")},
             "agent-starve": agent_starve, "consensus-starve": consensus_starve,
             "fence-local": fence_local}


# -- what the probe's logs say of it --------------------------------------------------------------

def _reign_of(found, node, fault_ns):
    """The timeline under which the node served when the fault was done."""
    mine = [r for r in found if r.node == node and r.first_answered < fault_ns]
    return mine[-1].timeline if mine else None


def margins(found, logs, fault):
    """
    {kind of client: ms} from its last acknowledged write (or answered read) on the old primary to
    the first write that another node accepted, sent after the fault; nothing when nobody took over.
    """
    timeline = _reign_of(found, fault["node"], fault["at_ns"])
    first = [r.first_sent for r in found
             if r.node != fault["node"] and r.first_answered > fault["at_ns"]]
    if timeline is None or not first:
        return {}
    result = {}
    for (node, kind), writes in logs.items():
        last = [w.answered for w in writes if w.timeline == timeline]
        if node == fault["node"] and last:
            result[kind] = (min(first) - max(last)) / 1e6
    return result


def stale_reads(found, readers):
    """Reads that an old primary answered although they were sent after a later one's first write."""
    stale = 0
    for node, reads in readers:
        for read in reads:
            own = [r for r in found if r.node == node and r.timeline == read.timeline]
            later = [r for r in found if r.node != node and own
                     and r.first_answered > own[0].first_answered]
            stale += any(read.sent > r.first_answered for r in later)
    return stale
