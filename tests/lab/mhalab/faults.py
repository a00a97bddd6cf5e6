"""What can go wrong with a host. Every fault returns the CLOCK_MONOTONIC time it was done at."""

import signal

from . import net, starve
from .system import LabError, now_ns, run, signal_all, wait_until

KINDS = {
    "pg-kill": "SIGKILL for the postmaster",
    "node-crash": "every process of the host at once, the database included; what the kernel had "
                  "not written back is not lost, because the machine lives on",
    "power-off": "node-crash, and the host's network is silent from then on",
    "cut": "the host's network is silent both ways",
    "cut-in": "nothing reaches the host",
    "cut-out": "nothing leaves the host",
    "heal": "the network works again",
    "cut-to": "cut-to=NODE: nothing that this host sends reaches that one",
    "loss": "loss=PERCENT: so many of its frames are lost, both ways",
    "pg-stop": "SIGINT for the postmaster: a person's fast shutdown",
    "backend-kill": "backend-kill=NAME: SIGKILL for one process of the database: client, "
                    "walsender, walreceiver, walwriter, checkpointer, startup, ...",
    "backend-freeze": "backend-freeze=NAME: SIGSTOP for it",
    "backend-thaw": "backend-thaw=NAME: SIGCONT for it",
    "postmaster-freeze": "SIGSTOP for the postmaster alone",
    "postmaster-thaw": "SIGCONT for it",
    "pg-freeze": "SIGSTOP for every process of the database",
    "pg-thaw": "SIGCONT for them",
    "worker-kill": "worker-kill=NAME: SIGKILL for one worker of the agent",
    "worker-freeze": "worker-freeze=NAME: SIGSTOP for one worker",
    "worker-thaw": "worker-thaw=NAME: SIGCONT for it",
    "master-kill": "SIGKILL for the agent's master alone",
    "agent-stop": "SIGTERM for the agent's master",
    "host-freeze": "SIGSTOP for every process of the host; its kernel lives on",
    "host-thaw": "SIGCONT for them",
    "disk-full": "the database's disk is full (labs with disks of their own: lab up --disk)",
    "log-disk-full": "the disk with the agent's log is full",
    "disk-free": "both have room again",
    "fork-stop": "the postmaster cannot fork any more: no session begins",
    "fork-go-on": "it can again",
    "disk-stall": "the database's disk takes no writes: its file system is frozen",
    "disk-go-on": "it takes them again",
    "disk-error": "everything on the database's disk fails with EIO, until it is replaced",
    "disk-replace": "an empty disk instead; the host must be off",
    "worker-starve": "worker-starve=NAME: what busy loops of the highest priority leave it, on one "
                     "processor; for a minute at most",
    "worker-feed": "worker-feed=NAME: the loops end",
    "agent-starve": "1 ms of processor time per second for the agent as a whole",
    "agent-feed": "no limit any more",
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
    wait_until(lambda: lab.master(node), 120, f"the agent of {node['name']} to start")
    return at


def _cut(lab, node, inward, outward):
    at = now_ns()
    net.cut(lab.plan["switch"], node["name"], inward, outward)
    return at


def _heal(lab, node):
    at = now_ns()
    net.heal_all(lab.plan["switch"], node["name"])
    return at


WITH_ARGUMENT = {"worker-kill", "worker-freeze", "worker-thaw", "backend-kill",
                 "backend-freeze", "backend-thaw", "cut-to", "loss",
                 "worker-starve", "worker-feed"}
STARVE = {"worker-starve", "worker-feed", "agent-starve", "agent-feed"}
POSTMASTER = {"pg-kill": signal.SIGKILL, "pg-stop": signal.SIGINT,
              "postmaster-freeze": signal.SIGSTOP, "postmaster-thaw": signal.SIGCONT}
WORKER = {"worker-kill": signal.SIGKILL, "worker-freeze": signal.SIGSTOP,
          "worker-thaw": signal.SIGCONT}
BACKEND = {"backend-kill": signal.SIGKILL, "backend-freeze": signal.SIGSTOP,
           "backend-thaw": signal.SIGCONT}
MASTER = {"master-kill": signal.SIGKILL, "agent-stop": signal.SIGTERM}
HOST = {"host-freeze": signal.SIGSTOP, "host-thaw": signal.SIGCONT}
DISK = {"disk-full", "log-disk-full", "disk-free", "disk-stall", "disk-go-on", "disk-error",
        "disk-replace"}


def _single(process, number, where):
    return _hit([process] if process else [], number, where)


def _link(lab, node, name, argument):
    """Faults of the cable that are neither a cut nor its end."""
    at, switch = now_ns(), lab.plan["switch"]
    if name == "loss":
        net.lose(switch, node["name"], int(argument))
    else:
        net.part(switch, node["name"], lab.node(argument)["name"],
                 net.hardware_address(node["ns"]))
    return at


def _fork(lab, node, stop):
    """The limit of its user's processes, lowered by that user: only root may raise what is above."""
    postmaster, at = lab.postmaster(node), now_ns()
    if postmaster is None:
        if stop:
            raise LabError(f"no database runs on {node['name']}")
        return at
    with open(f"/proc/{postmaster.pid}/limits", encoding="ascii") as handle:
        most = next(line.split()[-2] for line in handle if line.startswith("Max processes"))
    run("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "prlimit",
        "--pid", str(postmaster.pid), f"--nproc={1 if stop else most}:{most}", check=stop)
    return at


def _disk(lab, node, name):
    at = now_ns()
    others = {"disk-free": lab.empty_disks, "disk-stall": lab.stall_disk,
              "disk-go-on": lab.thaw_disk, "disk-error": lab.break_disk,
              "disk-replace": lab.replace_disk}
    if name in others:
        others[name](node)
    else:
        lab.fill_disk(node, "state" if name == "log-disk-full" else "pg")
    return at


def _starve(lab, name, node, argument):
    at = now_ns()
    if name == "agent-starve":
        starve.group(node, lab.agent_processes(node))
        return at
    if name == "agent-feed":
        starve.ungroup(node)
        return at
    worker = lab.worker(node, argument)
    if name == "worker-feed":
        starve.uncrowd(node, worker)
    elif worker is None:
        raise LabError(f"{name}={argument} on {node['name']}: no such process")
    else:
        starve.crowd(node, worker)
    lab.save()
    return at


def do(lab, kind, node):
    """Do one fault to one node (a row of the plan)."""
    name, _, argument = kind.partition("=")
    where = f"{kind} on {node['name']}"
    if name not in KINDS or (name in WITH_ARGUMENT) != bool(argument):
        raise LabError(f"unknown fault {kind}: there are {', '.join(KINDS)}")
    if name in POSTMASTER:
        return _single(lab.postmaster(node), POSTMASTER[name], where)
    if name in BACKEND:
        return _single(lab.backend(node, argument), BACKEND[name], where)
    if name in MASTER:
        return _single(lab.master(node), MASTER[name], where)
    if name in HOST:
        host = lab.host(node)
        return _hit(([host] if host else []) + lab.processes(node), HOST[name], where)
    if name in ("fork-stop", "fork-go-on"):
        return _fork(lab, node, name == "fork-stop")
    if name in DISK:
        return _disk(lab, node, name)
    if name in ("cut-to", "loss"):
        return _link(lab, node, name, argument)
    if name in ("node-crash", "power-off"):
        return _crash(lab, node, name == "power-off")
    if name in ("cut", "cut-in", "cut-out"):
        return _cut(lab, node, name != "cut-out", name != "cut-in")
    if name == "heal":
        return _heal(lab, node)
    if name in ("pg-freeze", "pg-thaw"):
        number = signal.SIGSTOP if name == "pg-freeze" else signal.SIGCONT
        return _hit(lab.database_processes(node), number, where)
    if name in WORKER:
        return _single(lab.worker(node, argument), WORKER[name], where)
    if name in STARVE:
        return _starve(lab, name, node, argument)
    if name == "start":
        return _start(lab, node)
    number = {"agent-kill": signal.SIGKILL, "agent-freeze": signal.SIGSTOP,
              "agent-thaw": signal.SIGCONT}[name]
    return _hit(lab.agent_processes(node), number, where)
