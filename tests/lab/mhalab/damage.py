"""
Scenarios of damaged data: a byte of a table's file is another one than was written. The table is
one that nobody writes: pg_proc of template1. docs/operate.md has what follows.
"""

import json
import os

from .sick import a_standby, healthy, member, named, stays
from .system import LabError, wait_until

SETTINGS = (("check.interval", "2s"), ("check.rate", "64MB"))
FILE, PLACE = "base/1/1255", 5 * 8192 + 4000


def flip(node):
    """The same again takes it back."""
    with open(os.path.join(node["pgdata"], FILE), "r+b") as handle:
        handle.seek(PLACE)
        byte = handle.read(1)[0]
        handle.seek(PLACE)
        handle.write(bytes([byte ^ 0x10]))
        handle.flush()
        os.fsync(handle.fileno())


def damaged_standby(run):
    """a byte is flipped on a standby: found by file and block, and the other one is promoted"""
    serving, victim = run.lab.primary(), a_standby(run.lab)
    flip(victim)
    run.begun("data-damaged", victim)
    named(run, victim, "data_damaged")
    with open(victim["log"], encoding="utf-8", errors="replace") as handle:
        if not any("database.damaged" in line and f"block 5 of {FILE} " in line
                   for line in handle):
            raise LabError("the log does not name the block")
    stays(run, serving)
    wait_until(lambda: (member(run.lab, serving) is not None
                        and not in_record(run.lab, serving, victim)),
               run.deadline, f"{victim['name']} to be on no record", 0.1)
    run.fault("pg-kill", serving)
    run.moved(serving)
    if run.lab.primary()["name"] == victim["name"]:
        raise LabError("the damaged node was promoted")
    run.writes_go_on()
    flip(victim)
    healthy(run, victim)
    return run.whole()


def in_record(lab, asked, node):
    """Whether commits count on the node, as `asked` has it."""
    status = json.loads(lab.mhactl(asked, "status", "--json"))
    return any(row["name"] == node["name"] and row["in_record"] for row in status["members"])


def damaged_primary(run):
    """a byte is flipped on the primary: named, and nobody moves"""
    serving = run.lab.primary()
    flip(serving)
    run.begun("data-damaged", serving)
    named(run, serving, "data_damaged")
    stays(run, serving)
    flip(serving)
    healthy(run, serving)
    return run.whole()


SCENARIOS = {"damaged-standby": damaged_standby, "damaged-primary": damaged_primary}
