"""What an agent costs while nothing happens."""

import os
import signal
import time

from .system import signal_all, wait_until


def pss_kb(pid):
    """Proportional share of memory: shared pages are divided among their users."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as handle:
        for line in handle:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", "rb") as handle:
        fields = handle.read().rsplit(b")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(lab, seconds):
    """A row per agent process and one per node: PSS at the end, CPU over the time."""
    before = {}
    for node in lab.nodes:
        for process in lab.agent_processes(node):
            before[process.pid] = (node["name"], process.program, cpu_seconds(process.pid))
    time.sleep(seconds)
    rows = []
    for pid, (node, program, cpu) in before.items():
        rows.append({"node": node, "process": program, "pss_kb": pss_kb(pid),
                     "cpu_s": cpu_seconds(pid) - cpu})
    for node in lab.nodes:
        mine = [row for row in rows if row["node"] == node["name"]]
        rows.append({"node": node["name"], "process": "all together",
                     "pss_kb": sum(row["pss_kb"] for row in mine),
                     "cpu_s": sum(row["cpu_s"] for row in mine)})
    return rows


def pss_alone(lab, node):
    """PSS of one node's agent when no other agent on this machine shares its pages."""
    others = [p for other in lab.nodes if other is not node for p in lab.agent_processes(other)]
    signal_all(others, signal.SIGKILL)
    wait_until(lambda: not any(lab.agent_processes(other) for other in lab.nodes
                               if other is not node), 30, "the other agents to end")
    return sum(pss_kb(process.pid) for process in lab.agent_processes(node))
