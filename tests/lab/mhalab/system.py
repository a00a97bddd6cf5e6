"""Processes, namespaces and commands of this machine."""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something a person must hear about, in words that say what to do."""


class SafetyError(LabError):
    """What must never happen, however slow the machine: there is no second try after it."""


def _interrupted(*_):
    for number in (signal.SIGTERM, signal.SIGINT):
        # Python complains when another one comes in between.
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def end_on_signals():
    """SIGTERM and SIGINT end the run, once: what is put away afterwards is not disturbed. Also where
    a shell has started it in the background, which ignores SIGINT otherwise."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)


def now_ns():
    """The clock of every measurement: the probe's C code reads the same one."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def run(*command, check=True, stdin=None):
    """Run a command to its end; its output as text."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def netns_file(name):
    return f"/run/netns/{name}"


def enter_netns(name):
    """Move the calling thread (and what it starts) into a network namespace."""
    with open(netns_file(name), "rb") as handle:
        if _libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise LabError(f"entering namespace {name}: {os.strerror(number)}")


def in_netns(name, work):
    """Call work() in a thread of its own inside the network namespace; its result."""
    outcome = {}

    def body():
        try:
            enter_netns(name)
            outcome["value"] = work()
        except BaseException as trouble:  # handed to the caller, whatever it is
            outcome["trouble"] = trouble

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join()
    if "trouble" in outcome:
        raise outcome["trouble"]
    return outcome["value"]


def wait_until(condition, seconds, what, step=0.05):
    """Look until condition() is true; its value. The deadline is generous: it means broken."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(step)


# SIGKILL takes effect at once, unless the kernel holds the process in a disk wait.
KILL_DEADLINE = 10


class Process:
    """One process, safe against the reuse of its pid."""

    def __init__(self, pid):
        self.pid = pid
        with open(f"/proc/{pid}/stat", "rb") as handle:
            rest = handle.read().rsplit(b")", 1)[1].split()
        self.state = rest[0].decode()
        self.parent = int(rest[1])
        self.started = int(rest[19])
        try:
            self.program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            self.program = ""
        self.program = self.program.removesuffix(" (deleted)")

    def inner_pid(self):
        """The pid inside the host's own PID namespace; 0 when the process has ended."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as handle:
                for line in handle:
                    if line.startswith("NSpid:"):
                        return int(line.split()[-1])
        except OSError:
            return 0
        return self.pid

    def gone(self):
        """It has ended; another process may have its pid."""
        descriptor = self.open()
        if descriptor is None:
            return True
        os.close(descriptor)
        try:
            return Process(self.pid).state in "ZX"
        except OSError:
            return True

    def title(self):
        """What the process calls itself, as ps shows it."""
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as handle:
                return handle.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    def open(self):
        """A pidfd of exactly this process, or None when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        try:
            if Process(self.pid).started == self.started:
                return descriptor
        except OSError:
            pass
        os.close(descriptor)
        return None


def signal_all(processes, number):
    """
    Send a signal to each of them, through pidfds opened before the first is hit. Who is killed
    has ended on return: a start right after must not find it half dead.
    """
    descriptors = [descriptor for descriptor in (process.open() for process in processes)
                   if descriptor is not None]
    hit = []
    for descriptor in descriptors:
        try:
            signal.pidfd_send_signal(descriptor, number)
            hit.append(descriptor)
        except ProcessLookupError:
            pass
    if number == signal.SIGKILL:
        for descriptor in hit:
            select.select([descriptor], [], [], KILL_DEADLINE)
    for descriptor in descriptors:
        os.close(descriptor)
    return len(hit)


def pid_namespace(pid):
    return os.readlink(f"/proc/{pid}/ns/pid")


def processes_in(namespace):
    """Every living process of a PID namespace."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if pid_namespace(name) == namespace:
                process = Process(int(name))
                if process.state not in "ZX":
                    found.append(process)
        except OSError:
            continue
    return found
