"""
Scenarios that repeat one kind of loss many times, for numbers rather than for a verdict on one
course of events: kills of the primary, and every set of cut links. By hand, and at night.
"""

import random
import time

from .operations import wait_status
from .system import LabError, SafetyError

KILLS = 10  # of one turn, each turn with a ledger of its own: --kills, --repeat
# The process, the host, and the host with its cable. What the disk has not been given yet is lost
# in none of them: the machine lives on.
KINDS = ("pg-kill", "pg-kill", "node-crash", "power-off")
PAUSE_S = 1.0  # at most so long after all is well again the next one comes
HOLD_S = 4.0  # links stay cut: --hold


def _majority(run):
    settings = {}

    def check(status):
        settings.update(status["settings"])
        return not status["degraded"]
    wait_status(run, run.lab.primary(), "the record to be in sync", check)
    if settings["mode"] != "max_protection" or settings["quorum_sync"] != "majority":
        raise LabError(f"this is counted in max_protection by majority, not in {settings['mode']} "
                       f"with quorum {settings['quorum_sync']}")


def primary_kills(run):
    """the primary is killed at random moments, again and again: process, host, host and cable"""
    _majority(run)
    seconds = 0.0
    for _ in range(run.options.kills):
        time.sleep(random.uniform(0, PAUSE_S))
        victim = run.lab.primary()
        kind = random.choice(KINDS)
        run.fault(kind, victim)
        run.writes_go_on(50)
        if kind != "pg-kill":
            run.moved(victim)
            run.repair("start", victim)
        seconds = run.whole()
    return seconds


def links(nodes):
    """The directed links of three nodes, in the order of the bits of a set."""
    return [(a, b) for a in nodes for b in nodes if a is not b]


def able(nodes, mask):
    """Names of the nodes that can talk to at least one other one, both ways."""
    cut = {(a["name"], b["name"]) for i, (a, b) in enumerate(links(nodes)) if mask >> i & 1}
    return {a["name"] for a, b in links(nodes)
            if (a["name"], b["name"]) not in cut and (b["name"], a["name"]) not in cut}


def cuts_64(run):
    """every set of the six directed links between three nodes (--cuts: these) is cut and healed"""
    nodes, seconds = run.lab.nodes, 0.0
    for mask in run.options.cuts or range(64):
        primary = run.lab.primary()
        run.begun(f"cuts={mask}", primary)
        try:
            for i, (source, target) in enumerate(links(nodes)):
                if mask >> i & 1:
                    run.repair(f"cut-to={target['name']}", source)
            time.sleep(run.options.hold)
            if able(nodes, mask):
                # Two that hear each other serve, whatever the third one hears or says.
                run.writes_go_on(50)
                if run.lab.primary()["name"] not in able(nodes, mask):
                    raise SafetyError(f"set {mask}: a node serves that can talk to nobody")
        finally:
            for node in nodes:
                run.repair("heal", node)
        run.writes_go_on(50)
        seconds = run.whole()
    return seconds


SCENARIOS = {"primary-kills": primary_kills, "cuts-64": cuts_64}
