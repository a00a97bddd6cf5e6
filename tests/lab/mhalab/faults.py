"""What can go wrong with a host. Every fault returns the CLOCK_MONOTONIC time it was done at."""

import signal

from . import net
from .system import LabError, now_ns, signal_all, wait_until

KINDS = {
    "pg-kill": "SIGKILL for the postmaster",
    "node-crash": "every process of the host at once, the database included; what the kernel had "
                  "not written back is not lost, because the machine lives on",
    "power-off": "node-crash, and the host's network is silent from then on",
    "cut": "the host's network is silent both ways",
    "cut-in": "nothing reaches the host",
    "cut-out": "nothing leaves the host",
    "heal": "the network works again",
    "pg-freeze": "SIGSTOP for every process of the database",
    "pg-thaw": "SIGCONT for them",
    "worker-kill": "worker-kill=NAME: SIGKILL for one worker of the agent",
    "agent-kill": "SIGKILL for all processes of the agent, the database lives on",
    "agent-freeze": "SIGSTOP for all processes of the agent",
    "agent-thaw": "SIGCONT for them",
    "start": "start the agent; after node-crash or power-off the host with it",
}


def _hit(processes, number, what):
    if not processes:
        raise LabError(f"{what}: no such process")
    at = now_ns()
    if signal_all(processes, number) == 0:
        raise LabError(f"{what}: it ended before the signal came")
    return at


def _crash(lab, node, silent):
    if lab.host(node) is None:
        raise LabError(f"{node['name']} is off already")
    if silent:
        net.cut(lab.plan["switch"], node["name"])
    return lab.power_off([node])


def _start(lab, node):
    at = now_ns()
    if lab.start(node):
        net.heal(lab.plan["switch"], node["name"])
    wait_until(lambda: lab.master(node), 30, f"the agent of {node['name']} to start")
    return at


def _cut(lab, node, inward, outward):
    at = now_ns()
    net.cut(lab.plan["switch"], node["name"], inward, outward)
    return at


def _heal(lab, node):
    at = now_ns()
    net.heal(lab.plan["switch"], node["name"])
    return at


def do(lab, kind, node):
    """Do one fault to one node (a row of the plan)."""
    name, _, argument = kind.partition("=")
    where = f"{kind} on {node['name']}"
    if name not in KINDS or (name == "worker-kill") != bool(argument):
        raise LabError(f"unknown fault {kind}: there are {', '.join(KINDS)}")
    if name == "pg-kill":
        postmaster = lab.postmaster(node)
        return _hit([postmaster] if postmaster else [], signal.SIGKILL, where)
    if name in ("node-crash", "power-off"):
        return _crash(lab, node, name == "power-off")
    if name in ("cut", "cut-in", "cut-out"):
        return _cut(lab, node, name != "cut-out", name != "cut-in")
    if name == "heal":
        return _heal(lab, node)
    if name in ("pg-freeze", "pg-thaw"):
        number = signal.SIGSTOP if name == "pg-freeze" else signal.SIGCONT
        return _hit(lab.database_processes(node), number, where)
    if name == "worker-kill":
        worker = lab.worker(node, argument)
        return _hit([worker] if worker else [], signal.SIGKILL, where)
    if name == "start":
        return _start(lab, node)
    number = {"agent-kill": signal.SIGKILL, "agent-freeze": signal.SIGSTOP,
              "agent-thaw": signal.SIGCONT}[name]
    return _hit(lab.agent_processes(node), number, where)
