"""Too little processor time for an agent: by a control group, or beside busy loops. Bounded."""

import os
import signal
import subprocess
import sys

from .system import LabError, Process, signal_all

ROOT = "/sys/fs/cgroup"
SHARE_US, PERIOD_US = 1000, 1000000  # 1 ms of every second
LOOPS = 2
LONGEST_S = 60  # a forgotten loop ends by itself
_LOOP = f"import signal\nsignal.alarm({LONGEST_S})\nwhile True:\n pass\n"


def _write(path, text):
    with open(path, "w", encoding="ascii") as handle:
        handle.write(text)


def _root():
    """Where groups with the cpu controller are made, and whether it is version 2."""
    if os.path.exists(f"{ROOT}/cgroup.controllers"):
        _write(f"{ROOT}/cgroup.subtree_control", "+cpu")
        return ROOT, True
    if os.path.exists(f"{ROOT}/cpu/cgroup.procs"):
        return f"{ROOT}/cpu", False
    raise LabError("this kernel has no control group with the cpu controller")


def _group(node):
    return f"starved-{node['ns']}"


def _threads(process):
    try:
        return [int(name) for name in os.listdir(f"/proc/{process.pid}/task")]
    except OSError:
        return []


def _ordinary(process, nice, cpus=None):
    """A real-time thread takes its time from everybody; none of that here."""
    for thread in _threads(process):
        try:
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, thread, nice)
            if cpus:
                os.sched_setaffinity(thread, cpus)
        except ProcessLookupError:
            pass  # it has ended meanwhile


def group(node, processes):
    """Put the processes, and what they start, into a group that hardly runs."""
    root, modern = _root()
    path = os.path.join(root, _group(node))
    os.makedirs(path, exist_ok=True)
    if modern:
        _write(f"{path}/cpu.max", f"{SHARE_US} {PERIOD_US}")
    else:
        _write(f"{path}/cpu.cfs_period_us", str(PERIOD_US))
        _write(f"{path}/cpu.cfs_quota_us", str(SHARE_US))
    for process in processes:
        _ordinary(process, 0)
        _write(f"{path}/cgroup.procs", str(process.pid))


def ungroup(node):
    """Everything in the group runs as others do; False when there is none."""
    root, _ = _root()
    path = os.path.join(root, _group(node))
    if not os.path.isdir(path):
        return False
    while True:
        with open(f"{path}/cgroup.procs", encoding="ascii") as handle:
            pids = handle.read().split()
        if not pids:
            break
        for pid in pids:
            try:
                _write(f"{root}/cgroup.procs", pid)
            except ProcessLookupError:
                pass
    os.rmdir(path)
    return True


def crowd(node, process):
    """The process gets what busy loops of a much higher priority on its processor leave it."""
    cpu = max(os.sched_getaffinity(0))
    _ordinary(process, 19, {cpu})
    node["loops"] = []
    for _ in range(LOOPS):
        loop = subprocess.Popen([sys.executable, "-c", _LOOP], stdin=subprocess.DEVNULL)
        os.sched_setaffinity(loop.pid, {cpu})
        os.setpriority(os.PRIO_PROCESS, loop.pid, -20)
        node["loops"].append([loop.pid, Process(loop.pid).started])


def uncrowd(node, process):
    """End the loops; the process, if it still is there, may run anywhere."""
    for pid, started in node.pop("loops", []):
        try:
            loop = Process(pid)
        except OSError:
            continue
        if loop.started == started:
            signal_all([loop], signal.SIGKILL)
    if process:
        _ordinary(process, 0, os.sched_getaffinity(0))
