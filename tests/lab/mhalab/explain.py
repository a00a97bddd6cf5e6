"""
What the cluster says about a fault, beside the fault that was done: the first decision on record
after it must name the cause, and what was wrong with the database where something was.
"""

import json

from .system import LabError

NODE = ("node_lost", None)
DOWN = ("database_down", {"postmaster_gone"})
HUNG = ("database_hung", {"database_frozen", "postmaster_stopped", "no_answer"})

# By scenario; None: whatever is wrong with the database, the cause alone says enough.
EXPECTED = {
    "pg-kill": DOWN, "witness-pg-kill": DOWN, "single-pg-kill": DOWN, "pg-freeze": HUNG,
    "node-crash": NODE, "witness-crash": NODE, "power-off": NODE, "cut": NODE, "cut-in": NODE,
    "cut-out": NODE, "agent-loss": NODE, "agent-freeze": NODE, "two-in-a-row": NODE,
    "haproxy": NODE, "haproxy-patroni": NODE, "prometheus": NODE, "agent-stop": NODE, "agent-stop-resume-later": NODE, "agent-gone": NODE,
    "five-two-lost": NODE, "cold-start": ("cold_start", None),
    "member-cycle": NODE, "barred-ahead": NODE, "damaged-standby": DOWN,
    "switchover": ("switchover", None), "switchovers": ("switchover", None),
    "witness-switchover": ("switchover", None), "five-switchover": ("switchover", None),
    "auto-failover-off": ("operator", None),
    "stop-postmaster": ("database_hung", {"postmaster_stopped"}),
    "new-connections-hang": ("database_hung", {"no_new_connections"}),
    "catalog-locked-loss": DOWN, "disk-stall": ("database_hung", {"disk_stalled"}),
    # The server ends, or hangs, of it before the disk itself has been asked.
    "disk-eio": ("database_down", {"disk_error", "postmaster_gone"}),
    "disk-full-db": ("database_down", {"disk_full"}), "disk-full-agent": NODE,
    "disk-full-both": NODE,
}


def newest_epoch(lab):
    """The epoch on record now."""
    return max((d["epoch"] for d in _decisions(lab)), default=0)


def _decisions(lab):
    node = next(iter(lab.vip_holders()), lab.nodes[0])
    return json.loads(lab.mhactl(node, "history", "--json"))["decisions"]


def first_after(lab, before):
    """The first decision of a later epoch than `before`; None when there is none."""
    return min((d for d in _decisions(lab) if d["epoch"] > before and not d["hold"]),
               key=lambda d: d["epoch"], default=None)


def recorded_ms(lab, before):
    """How long the first change of epoch after `before` took, as its record says it: from the fault
    seen, or the clients fenced off, to the new primary open."""
    try:
        first = first_after(lab, before)
    except (LabError, ValueError, KeyError):
        return None
    if first is None or first["open_us"] == 0:
        return None
    return sum(first[f"{part}_us"] for part in ("detect", "fence", "survey", "open")) / 1000


def trouble(lab, scenario, before):
    """What the record says wrongly about `scenario`, which began at epoch `before`; "": nothing."""
    if scenario not in EXPECTED:
        return ""
    cause, kinds = EXPECTED[scenario]
    try:
        first = first_after(lab, before)
    except (LabError, ValueError, KeyError) as error:
        return f"no history: {error}"
    if first is None:
        return "no decision on record"
    if first["cause"] != cause:
        return f"explained as {first['cause']}, not as {cause}"
    if kinds is not None and first["fault"] not in kinds:
        return f"the database's fault is called {first['fault'] or 'nothing'}"
    return ""
