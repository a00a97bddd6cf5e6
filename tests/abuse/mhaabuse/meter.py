#!/usr/bin/python3
"""What this machine has for its processes, measured beside a running cluster.

Three instruments, the first two on each processor:
  work   an ordinary process, as a database is one: how long 5 ms of work take
  wake   of the priority that `consensus` and `vip` have: how long 5 ms of sleep take
  disk   how long a page takes that is written and flushed, in the lab's folder

Each line is `instrument begun took`, in ns of CLOCK_MONOTONIC: every sample that took long, and
several others a second, so that who reads knows how far the instrument has come.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

PR_SET_PDEATHSIG = 1
MS = 1_000_000
UNIT_NS = 5 * MS
LONG_NS = 50 * MS  # what is told in any case
TELL_NS = 200 * MS
# As the master gives it to its workers (CAP_SYS_NICE): the lowest real-time priority.
PRIORITY = 1


def work(_):
    begun = time.process_time_ns()
    while time.process_time_ns() - begun < UNIT_NS:
        pass


def wake(_):
    time.sleep(UNIT_NS / 1e9)


def flush(file):
    file.seek(0)
    file.write(os.urandom(4096))
    file.flush()
    os.fsync(file.fileno())


def measure(name, act, pause, state):
    """One sample after the other, without a gap: what its pause takes too long counts as well."""
    told, begun = 0, time.monotonic_ns()
    while True:
        time.sleep(pause)
        act(state)
        ended = time.monotonic_ns()
        took = ended - begun - round(pause * 1e9)
        if took >= LONG_NS or begun - told >= TELL_NS:
            told = begun
            os.write(1, b"%s %d %d\n" % (name.encode(), begun, took))
        begun = ended


def real_time():
    """As `consensus` does: where the machine gives no such priority, it is an ordinary process."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except PermissionError:
        pass


def child(parent, processor, prepare, *arguments):
    if os.fork():
        return
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:
            if processor is not None:
                os.sched_setaffinity(0, {processor})
            prepare()
            measure(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def run(folder):
    """All instruments, until one of them ends."""
    parent = os.getpid()
    with tempfile.TemporaryFile(dir=folder) as file:
        for processor in sorted(os.sched_getaffinity(0)):
            child(parent, processor, lambda: None, f"work{processor}", work, 0.1, None)
            child(parent, processor, real_time, f"wake{processor}", wake, 0, None)
        child(parent, None, lambda: None, "disk", flush, 0.2, file)
        os.wait()
    return 1


class Meter:
    """The instruments, run beside a test, and what they have seen."""

    def __init__(self, folder):
        self.samples = {}  # {name: [(begun, took)]}
        self.reached = {}  # {name: when the newest sample began}
        self.process = subprocess.Popen([sys.executable, "-B", os.path.abspath(__file__), folder],
                                        text=True, stdout=subprocess.PIPE)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            name, begun, took = line.split()
            self.samples.setdefault(name, []).append((int(begun), int(took)))
            self.reached[name] = int(begun)

    def has_passed(self, moment):
        """Whether everything that the instruments can say of the time before is known."""
        processors = len(os.sched_getaffinity(0))
        return len(self.reached) == 2 * processors + 1 and min(self.reached.values()) >= moment

    def longest(self, since=0, until=1 << 63):
        """{instrument: ms} of the longest sample that touches the time from `since` to `until`."""
        found = {"work": 0, "wake": 0, "disk": 0}
        for name, rows in list(self.samples.items()):
            kind = name.rstrip("0123456789")
            touching = [took // MS for begun, took in list(rows)
                        if begun <= until and begun + took >= since]
            found[kind] = max(touching + [found[kind]])
        return found

    def close(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
