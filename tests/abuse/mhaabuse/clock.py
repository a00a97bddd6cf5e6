"""The wall clock jumps by an hour, forward and back: nothing but times in logs may change.

Each node's programs are run with a preloaded library that adds to CLOCK_REALTIME what a file says
(clock.c); this machine's clock is left alone. Leases are in CLOCK_BOOTTIME, which does not jump.
"""

import os
import re
import shutil
import struct
import subprocess
import time

from mhalab.lab import say
from mhalab.system import wait_until

from .world import WORKERS, period_row

SOURCE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "clock.c")
HOUR = 3600
JUMPS = (HOUR, 0, -HOUR, 0)
PROGRAMS = ("mhad",) + tuple(f"mha-{worker}" for worker in WORKERS)


def set_offset(world, seconds):
    with open(world.clock_file, "r+b") as handle:
        handle.write(struct.pack("<q", seconds))


def prepare(world):
    """
    Each program becomes a script that starts it with the library preloaded. The master looks for
    its workers beside itself, and dbctl for its probe: scripts and programs have folders of their
    own.
    """
    folder = world.lab.plan["bin_dir"]
    world.clock_file = os.path.join(folder, "offset")
    with open(world.clock_file, "wb") as handle:
        handle.write(struct.pack("<q", 0))
    os.chmod(world.clock_file, 0o644)
    library = os.path.join(folder, "libabuse-clock.so")
    subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                    f'-DCLOCK_FILE="{world.clock_file}"', SOURCE, "-o", library], check=True)
    os.chmod(library, 0o755)
    masters, workers = os.path.join(folder, "masters"), os.path.join(folder, "workers")
    for path in (masters, workers):
        os.makedirs(path, mode=0o755)
        os.chmod(path, 0o755)
    for name in PROGRAMS:
        home = masters if name == "mhad" else workers
        os.rename(os.path.join(folder, name), os.path.join(home, name))
        script = os.path.join(folder if name == "mhad" else masters, name)
        with open(script, "w", encoding="ascii") as handle:
            handle.write(f'#!/bin/sh\nLD_PRELOAD={library} exec {home}/{name} "$@"\n')
        os.chmod(script, 0o755)
    shutil.copy2(os.path.join(folder, "mha-diskprobe"), workers)


def logged_hours(world, node):
    """Hours of the wall clock in a node's log."""
    lines = world.log(node).splitlines()
    return {match.group(1) for match in
            (re.match(r"<\d>(\d{4}-\d\d-\d\dT\d\d)", line) for line in lines) if match}


def run(world):
    lab, rows = world.lab, []
    primary = lab.primary()
    epoch = world.epoch()
    master = {node["name"]: lab.master(node).pid for node in lab.nodes}
    for seconds in JUMPS:
        before = world.renewals(primary)
        set_offset(world, seconds)
        end = time.monotonic() + world.options.seconds
        world.probe.wait_acknowledged(200, world.deadline, "writes after a jump")
        wait_until(lambda: time.monotonic() > end, world.deadline, "some time to pass", 0.2)
        # Something that is logged, so that the jump is seen where it may be.
        lab.mhactl(primary, "auto-switch", "on")
        lab.mhactl(primary, "auto-switch", "off")
        decided = world.status(primary)
        row = {"jump_s": seconds, **period_row(before, world.renewals(primary)),
               "expiries": world.metrics(primary).get("mha4rdb_vip_expiries_total"),
               "epoch": decided.get("epoch")}
        rows.append(row)
        say(str(row))
        if row["expiries"] != 0:
            world.fail(f"a lease expired after a jump of {seconds} s")
        if row["epoch"] != epoch:
            world.fail(f"epoch {epoch} became {row['epoch']} after a jump of {seconds} s")
        if not row["renewals"]:
            world.fail(f"nothing was renewed after a jump of {seconds} s")
    for node in lab.nodes:
        if lab.master(node).pid != master[node["name"]]:
            world.fail(f"the agent of {node['name']} has ended")
    hours = logged_hours(world, primary)
    if len(hours) < 3:
        world.fail(f"the jumps are not to be seen in the log: {sorted(hours)}")
    return {"jumps": rows, "hours_in_the_log": sorted(hours)}


run.prepare = prepare
