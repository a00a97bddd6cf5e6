"""What is done to the cluster, and how it is undone.

Only what the cluster promises to survive: hosts, processes, links and disks fail and come back, and
operators ask for things; nothing that was on a disk is destroyed. Once everything is undone, the
cluster must come back by itself.
"""

import json
import signal
import subprocess
import threading
import time
from collections import namedtuple

from mhalab import config, net
from mhalab import faults as lab_faults
from mhalab.lab import PG_BIN
from mhalab.system import LabError, in_netns, run, signal_all

WORKERS = ("consensus", "vip", "dbctl", "dbmon", "gateway")
WITNESS_WORKERS = ("consensus", "gateway")
PROCESSES = ("client", "walsender", "walwriter", "checkpointer", "background writer", "startup",
             "walreceiver", "mha_monitor")
DATA = ("primary", "primary", "standby")
ANY = ("primary", "primary", "standby", "witness")
OPERATOR = ("switchover", "mode", "pause", "maintenance")
CALL_DEADLINE = 60
WAL_SWITCHES = 40
DONE, REFUSED = "done", "refused"
EXITS = {0: DONE, 1: "error", 2: "wrong usage", 3: REFUSED, 4: "rolled back",
         5: "uncertain"}

Fault = namedtuple("Fault", "weight roles hard do")


class Skip(Exception):
    """The fault cannot be done now: what it aims at is not there."""


class World:
    """The cluster under fire, and what has been done to it in this episode."""

    def __init__(self, lab, mode):
        self.lab = lab
        self.mode = mode
        self.hard = set()     # nodes that something was done to that stops them
        self.calls = []       # what goes on beside: threads
        self.outcomes = {}    # verb -> {outcome: count}
        self.owed = []        # calls that nobody has accepted yet
        self.notes = []       # what the calls of this episode answered
        self.absent = set()
        self.can_delay = net.can_delay(lab.plan["switch"])

    def begin(self):
        self.hard.clear()
        self.calls.clear()
        self.notes.clear()

    def find_absent(self, wanted):
        """Which of these kinds cannot be done with this kernel and these programs."""
        verbs = run(self.lab.tool("mhactl", "bin_dir"), "help", check=False)
        self.absent = {kind for kind in wanted
                       if (kind in OPERATOR and f" {kind}" not in verbs)
                       or (kind == "delay" and not self.can_delay)}

    # -- whom it hits -----------------------------------------------------------------------

    def node(self, act):
        """The node that an act aims at; a hard fault takes one that has none yet."""
        nodes = self.lab.nodes if act.where == "witness" else self.lab.data_nodes
        if act.where == "witness":
            nodes = [node for node in nodes if node["kind"] == "witness"]
            ring = nodes[act.pick % len(nodes):] + nodes
        else:
            try:
                primary = self.lab.primary()
            except LabError:
                primary = nodes[act.pick % len(nodes)]
            others = [node for node in nodes if node is not primary]
            first = act.pick % len(others)
            others = others[first:] + others[:first]
            ring = [primary] + others if act.where == "primary" else others + [primary]
        if not TABLE[act.kind].hard:
            return ring[0]
        for node in ring:
            if node["name"] not in self.hard:
                self.hard.add(node["name"])
                return node
        raise Skip("every node has a fault already")

    def other(self, node, act):
        """Another member than this one."""
        others = [other for other in self.lab.nodes if other is not node]
        return others[(act.pick >> 4) % len(others)]

    # -- operators --------------------------------------------------------------------------

    def call(self, verb, node, *words):
        """One call of mhactl on one node, counted by its outcome: the name of it."""
        outcome = in_netns(node["ns"], lambda: self._mhactl(node, verb, *words))
        counts = self.outcomes.setdefault(verb, {})
        counts[outcome] = counts.get(outcome, 0) + 1
        return outcome

    def _mhactl(self, node, *words):
        try:
            done = subprocess.run(
                [self.lab.tool("mhactl", "bin_dir"), "--run-dir", node["run_dir"], *words],
                capture_output=True, text=True, check=False, timeout=CALL_DEADLINE,
                stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return "no answer"
        self.notes.append(f"{node['name']}: {' '.join(words)}: "
                          f"{(done.stdout + done.stderr).strip()}"[:400])
        return EXITS.get(done.returncode, f"exit {done.returncode}")

    def call_later(self, verb, node, *words):
        """The same beside what else happens."""
        thread = threading.Thread(target=self.call, args=(verb, node, *words), daemon=True)
        thread.start()
        self.calls.append(thread)

    def accepted(self, verb, *words):
        """Ask one node after the other: true when one accepts."""
        return any(self.call(verb, node, *words) == DONE for node in self.lab.nodes
                   if self.lab.master(node))

    def take_back(self, verb, *words):
        """Ask now; if nobody accepts (there may be no leader), again when all is healed."""
        if not self.accepted(verb, *words):
            self.owed.append((verb, *words))

    def needless(self, verb):
        """A pause whose call ended uncertain may never have come on record: the primary knows."""
        try:
            return verb == "resume" and not json.loads(self.lab.mhactl(
                self.lab.primary(), "status", "--json"))["settings"]["paused"]
        except (LabError, ValueError):
            return False

    def insist(self, verb, *words, seconds=120):
        deadline = time.monotonic() + seconds
        while not (self.accepted(verb, *words) or self.needless(verb)):
            if time.monotonic() > deadline:
                raise LabError(f"mhactl {verb} {' '.join(words)} was accepted by nobody for "
                               f"{seconds} s after everything was healed")
            time.sleep(0.2)

    # -- healing ----------------------------------------------------------------------------

    def heal(self):
        """Whatever may still be broken is whole again: hosts, links, disks, processes."""
        for node in self.lab.nodes:
            net.heal_all(self.lab.plan["switch"], node["name"])
            if self.can_delay:
                net.delay(self.lab.plan["switch"], node["name"], 0)
            self.lab.empty_disks(node)
            host = self.lab.host(node)
            if host is not None:
                stopped = [process for process in [host, *self.lab.processes(node)]
                           if process.state == "T"]
                signal_all(stopped, signal.SIGCONT)
            if host is None or self.lab.master(node) is None:
                lab_faults.do(self.lab, "start", node)
        for thread in self.calls:
            thread.join(CALL_DEADLINE + 10)
        while self.owed:
            self.insist(*self.owed.pop(0))


# Each `do` takes (world, node, act), does the fault and returns what undoes it, or None. They run
# on the driver's own thread and do not wait for the cluster.

def _plain(kind, undo=None):
    """A fault of the laboratory, and the one that ends it."""
    def do(world, node, act):
        lab_faults.do(world.lab, kind, node)
        if undo is None:
            return None
        return lambda: lab_faults.do(world.lab, undo, node)
    return do


def _cut(kind):
    def do(world, node, act):
        lab_faults.do(world.lab, kind, node)
        return lambda: net.heal(world.lab.plan["switch"], node["name"])
    return do


def _worker(world, node, act):
    workers = WORKERS if node["kind"] == "data" else WITNESS_WORKERS
    return workers[act.pick % len(workers)]


def _worker_kill(world, node, act):
    lab_faults.do(world.lab, f"worker-kill={_worker(world, node, act)}", node)


def _worker_freeze(world, node, act):
    name = _worker(world, node, act)
    lab_faults.do(world.lab, f"worker-freeze={name}", node)
    return lambda: lab_faults.do(world.lab, f"worker-thaw={name}", node)


def _server_process(world, node, act):
    """One of the server's processes that runs there; act.pick says which."""
    first = act.pick % len(PROCESSES)
    for name in PROCESSES[first:] + PROCESSES[:first]:
        process = world.lab.backend(node, name)
        if process is not None:
            return process
    raise Skip("no database runs there")


def _backend_kill(world, node, act):
    signal_all([_server_process(world, node, act)], signal.SIGKILL)


def _backend_freeze(world, node, act):
    process = _server_process(world, node, act)
    signal_all([process], signal.SIGSTOP)
    return lambda: signal_all([process], signal.SIGCONT)


def _twice(kind):
    """Again, while it recovers from the first time."""
    def do(world, node, act):
        lab_faults.do(world.lab, kind, node)
        if kind == "node-crash":
            lab_faults.do(world.lab, "start", node)

        def again():
            lab_faults.do(world.lab, kind, node)
            if kind == "node-crash":
                lab_faults.do(world.lab, "start", node)
        return again
    return do


def _part(both):
    """A link between two members is cut, one way or both; everybody else hears them."""
    def do(world, node, act):
        other, switch = world.other(node, act), world.lab.plan["switch"]
        pairs = [(node, other), (other, node)] if both else [(node, other)]
        if not both and act.pick & 1:
            pairs = [(other, node)]
        for source, target in pairs:
            net.part(switch, source["name"], target["name"], net.hardware_address(source["ns"]))

        def join():
            for source, target in pairs:
                net.drop_table(switch, f"part_{source['name']}_{target['name']}")
        return join
    return do


def _split(world, node, act):
    """The members fall into two groups that do not hear each other; clients hear all of them."""
    side = [node] + [other for i, other in enumerate(world.lab.nodes)
                     if other is not node and act.pick >> i & 1]
    rest = [other for other in world.lab.nodes if other not in side]
    switch = world.lab.plan["switch"]
    pairs = [pair for a in side for b in rest for pair in ((a, b), (b, a))]
    for source, target in pairs:
        net.part(switch, source["name"], target["name"], net.hardware_address(source["ns"]))

    def join():
        for source, target in pairs:
            net.drop_table(switch, f"part_{source['name']}_{target['name']}")
    return join


def _loss(world, node, act):
    switch = world.lab.plan["switch"]
    net.lose(switch, node["name"], (5, 15, 30, 60)[act.pick % 4])
    return lambda: net.drop_table(switch, f"loss_{node['name']}")


def _delay(world, node, act):
    switch = world.lab.plan["switch"]
    net.delay(switch, node["name"], (5, 20, 80, 300)[act.pick % 4])
    return lambda: net.delay(switch, node["name"], 0)


def _use_up_wal(lab, node):
    """
    A database goes on for a while in the WAL segments that it has in stock: end one after the
    other, until it needs room for a new one.
    """
    command = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
               f"{PG_BIN}/psql", "-h", node["socket_dir"], "-d", config.DBNAME, "-AtXqc",
               "SELECT pg_switch_wal()"]
    for _ in range(WAL_SWITCHES):
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=5)
        except (OSError, subprocess.SubprocessError):
            return  # a standby, or it is down: that was the end of it
        time.sleep(0.1)


def _disks(*names):
    def do(world, node, act):
        for name in names:
            if name == "state" or node["kind"] == "data":
                world.lab.fill_disk(node, name)
        if "pg" in names:
            thread = threading.Thread(target=_use_up_wal, args=(world.lab, node), daemon=True)
            thread.start()
            world.calls.append(thread)
        return lambda: world.lab.empty_disks(node)
    return do


def _crash_several(count):
    """That many hosts at the same instant; they start again one after the other."""
    def do(world, node, act):
        others = [other for other in world.lab.nodes if other is not node]
        first = act.pick % len(others)
        chosen = [node] + (others[first:] + others[:first])[:(count or len(world.lab.nodes)) - 1]
        chosen = [one for one in chosen if world.lab.host(one) is not None]
        world.hard.update(one["name"] for one in chosen)
        world.lab.power_off(chosen)

        def start():
            for one in chosen[::-1] if act.pick & 1 else chosen:
                lab_faults.do(world.lab, "start", one)
                time.sleep((act.pick >> 3) % 4 * 0.3)
        return start
    return do


def _switchover(world, node, act):
    """Asked of any member, to any other or to the best, with or without waiting for the end."""
    words = [] if act.pick & 1 else ["--to", node["name"]]
    words += ["--wait"] if act.pick & 2 else []
    world.call_later("switchover", world.other(node, act), *words)


def _mode(world, node, act):
    """Into the other mode that loses nothing, and back."""
    if world.mode == "max_performance":
        raise Skip("the other modes are no fault for this one")
    other = "max_availability" if world.mode == "max_protection" else "max_protection"
    world.call_later("mode", world.other(node, act), other, "--force")
    world.owed.append(("mode", world.mode, "--force"))  # when all calls have their answers


def _pause(world, node, act):
    if world.call("pause", node) == REFUSED:
        return None
    return lambda: world.take_back("resume")


def _maintenance(world, node, act):
    if world.call("maintenance", world.other(node, act), "on", node["name"]) == REFUSED:
        return None
    return lambda: world.take_back("maintenance", "off", node["name"])


# A hard fault stops a node or a part of it that the next fault would need.
TABLE = {
    "pg-kill": Fault(8, DATA, False, _plain("pg-kill")),
    "pg-kill-twice": Fault(4, DATA, False, _twice("pg-kill")),
    "pg-stop": Fault(3, DATA, False, _plain("pg-stop")),
    "backend-kill": Fault(6, DATA, False, _backend_kill),
    "backend-freeze": Fault(4, DATA, True, _backend_freeze),
    "pg-freeze": Fault(5, DATA, True, _plain("pg-freeze", "pg-thaw")),
    "postmaster-freeze": Fault(4, DATA, True, _plain("postmaster-freeze", "postmaster-thaw")),
    "node-crash": Fault(8, ANY, True, _plain("node-crash", "start")),
    "node-crash-twice": Fault(4, ANY, True, _twice("node-crash")),
    "power-off": Fault(6, ANY, True, _plain("power-off", "start")),
    "host-freeze": Fault(6, ANY, True, _plain("host-freeze", "host-thaw")),
    "worker-kill": Fault(8, ANY, False, _worker_kill),
    "worker-freeze": Fault(6, ANY, True, _worker_freeze),
    "master-kill": Fault(3, ANY, True, _plain("master-kill", "start")),
    "agent-kill": Fault(5, ANY, True, _plain("agent-kill", "start")),
    "agent-stop": Fault(3, ANY, True, _plain("agent-stop", "start")),
    "agent-freeze": Fault(5, ANY, True, _plain("agent-freeze", "agent-thaw")),
    "cut": Fault(6, ANY, False, _cut("cut")),
    "cut-in": Fault(4, ANY, False, _cut("cut-in")),
    "cut-out": Fault(4, ANY, False, _cut("cut-out")),
    "part": Fault(5, ANY, False, _part(True)),
    "part-one-way": Fault(5, ANY, False, _part(False)),
    "split": Fault(4, ANY, False, _split),
    "loss": Fault(4, ANY, False, _loss),
    "delay": Fault(4, ANY, False, _delay),
    "disk-full": Fault(4, DATA, True, _disks("pg")),
    "log-disk-full": Fault(3, ANY, True, _disks("state")),
    "disks-full": Fault(2, DATA, True, _disks("pg", "state")),
    "crash-two": Fault(4, DATA, False, _crash_several(2)),
    "crash-all": Fault(3, DATA, False, _crash_several(0)),
    "switchover": Fault(10, DATA, False, _switchover),
    "mode": Fault(4, DATA, False, _mode),
    "pause": Fault(3, DATA, False, _pause),
    "maintenance": Fault(3, DATA, False, _maintenance),
}


def names(_layout=None):
    """Every kind there is."""
    return list(TABLE)


def do(world, act):
    """Do one act: (the node's name, whether it was the primary, what undoes it)."""
    if act.kind in world.absent:
        raise Skip("not available here")
    node = world.node(act)
    try:
        was_primary = world.lab.primary() is node
    except LabError:
        was_primary = False
    try:
        undo = TABLE[act.kind].do(world, node, act)
    except LabError as trouble:
        raise Skip(str(trouble)) from None
    return node["name"], was_primary, undo
