#!/usr/bin/python3
"""Tests of the sandboxes and of the watchdog, with mhad as a process. Called as mhad_test.py is."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import mhad_test as mhad


def declared(agent):
    """What `mhad --print-rights` says of each worker, as a dictionary."""
    printed = subprocess.run([mhad.ARGS.mhad, "--print-rights"], capture_output=True, text=True,
                             timeout=mhad.PATIENCE, check=True).stdout
    rows = {}
    for line in printed.splitlines():
        name, *words = line.split()
        rows[name] = dict(word.split("=", 1) for word in words)
    mhad.check(set(rows) == set(mhad.WORKERS), f"rows {sorted(rows)}")
    return rows


def limit_of(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(name):
            return line[26:].split()[1]  # the hard one
    raise mhad.Failed(f"no limit {name}")


def kinds_of(pid):
    """The open descriptors, by kind."""
    kinds = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        link = os.readlink(f"/proc/{pid}/fd/{fd}")
        kinds.append("memfd" if link.startswith("/memfd:") else link.split(":")[0]
                     if not link.startswith("/") else "file")
    return kinds


def readable_without_ptrace(pid):
    """A process of root without CAP_SYS_PTRACE may look into the process `pid`."""
    return subprocess.run(["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--",
                           "cat", f"/proc/{pid}/environ"], check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def check_undumpable(master):
    """Like any process of root the master could be looked into by one, if it were dumpable."""
    with subprocess.Popen(["sleep", "3600"]) as other:
        try:
            mhad.check(readable_without_ptrace(other.pid), "a dumpable process is not readable")
            mhad.check(not readable_without_ptrace(master), "the master is dumpable")
        finally:
            other.kill()


def case_rights(agent):
    """/proc of every process is what the process table declares."""
    sanitized = b"__asan_init" in pathlib.Path(mhad.ARGS.mhad).read_bytes()
    agent.start()
    rows, pids = declared(agent), agent.pids()
    for name, pid in pids.items():
        row, status = rows[name], mhad.status_of(pid)
        user = "postgres" if row["user"] == "database" else row["user"]
        mhad.check(user == mhad.USERS[name], f"{name}: user {user}")
        uid, gid = mhad.user_ids(user)
        mhad.check(status["Uid"].split() == [str(uid)] * 4, f"{name}: {status['Uid']}")
        mhad.check(status["Gid"].split() == [str(gid)] * 4, f"{name}: {status['Gid']}")
        for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            mhad.check(int(status[which], 16) == int(row["caps"], 16), f"{name}: {which}")
        mhad.check(status["NoNewPrivs"] == "1", f"{name}: NoNewPrivs")
        # The guard that all inherit, and the list of its own.
        filters = 1 + (row["calls"] != "all")
        mhad.check((status["Seccomp"], status["Seccomp_filters"]) == ("2", str(filters)),
              f"{name}: Seccomp {status['Seccomp']}, {status['Seccomp_filters']} filters")
        if not sanitized:
            mhad.check(os.stat(f"/proc/{pid}/environ").st_uid == 0, f"{name}: is dumpable")
        for limit, key, unit in (("Max open files", "files", 1), ("Max processes", "threads", 1),
                                 ("Max file size", "file_mib", 1 << 20),
                                 ("Max data size", "memory_mib", 1 << 20)):
            wanted = int(row[key]) * unit
            if wanted and not (sanitized and key == "memory_mib"):
                mhad.check(limit_of(pid, limit) == str(wanted),
                      f"{name}: {limit} {limit_of(pid, limit)}, declared {wanted}")
        if row["calls"] != "all":
            mhad.check(limit_of(pid, "Max core file size") == "0", f"{name}: may dump core")
        kinds = kinds_of(pid)
        mhad.check(kinds.count("memfd") == 1 + (row["secret"] == "1"), f"{name}: memfds {kinds}")
        # /dev/null, standard output and error, its section.
        mhad.check(kinds.count("file") <= 4, f"{name}: files {kinds}")
        mhad.check(set(kinds) <= {"file", "memfd", "socket", "pipe", "anon_inode"}, f"{name}: {kinds}")
        print(f"{name:10} uid={uid} caps={status['CapEff']} seccomp={status['Seccomp']}"
              f"/{status['Seccomp_filters']} files={limit_of(pid, 'Max open files')} "
              f"fds={ {kind: kinds.count(kind) for kind in sorted(set(kinds))} }")
    status = mhad.status_of(agent.process.pid)
    mhad.check((status["Seccomp"], status["Seccomp_filters"]) == ("2", "1"), "master: no guard")
    mhad.check(int(status["CapEff"], 16) & ~mhad.MASTER_CAPS == 0, f"master: CapEff {status['CapEff']}")
    if not sanitized:
        check_undumpable(agent.process.pid)
    kinds = kinds_of(agent.process.pid)
    print(f"master     caps={status['CapEff']} seccomp={status['Seccomp']} "
          f"fds={ {kind: kinds.count(kind) for kind in sorted(set(kinds))} }")


def case_refused_call(agent):
    """A worker that does what is not on its list is ended, named, and replaced."""
    agent.mode("gateway", "forbidden")
    agent.start(ready=False)
    line = agent.wait_log("worker.sandbox worker=gateway")[0]
    mhad.check("call=execve" in line, line)
    mhad.check(agent.lines(f"worker.ended worker=gateway .*signal={signal.SIGSYS.value} "), "signal")
    (agent.libexec / "mha-gateway.mode").unlink()
    agent.wait_log("master.ready")
    mhad.wait_for("all are back", lambda: len(agent.pids()) == len(mhad.WORKERS))
    # Off means off: the same act goes through.
    agent.signal(signal.SIGTERM)
    mhad.check(agent.wait() == 0, "exit status")
    agent.log.write_text("")
    agent.write_conf(sandbox__seccomp='"off"', sandbox__landlock='"off"')
    agent.mode("gateway", "forbidden")
    agent.start(ready=False)
    agent.wait_log("worker.ended worker=gateway .*status=0")
    mhad.check(not agent.lines("worker.sandbox"), "a filter was there")
    status = mhad.status_of(agent.process.pid)
    mhad.check(status["Seccomp"] == "0", "the master has a filter")


def case_attempts(agent):
    """What somebody can do who has taken a worker over."""
    mhad.check(mhad.ARGS.sandbox, "--sandbox is wanted")
    agent.write_conf(postgresql__data_dir=agent.dir / "cluster/data",
                     sandbox__write_paths=f"[{agent.dir}/ARCHIVE]")
    (agent.dir / "cluster").mkdir()
    other = tempfile.mkdtemp(prefix="mha-sandbox-", dir="/var/lib")
    try:
        got = subprocess.run([mhad.ARGS.sandbox, str(agent.conf), other], capture_output=True,
                             text=True, timeout=4 * mhad.PATIENCE, check=False)
    finally:
        shutil.rmtree(other)
    print(got.stdout, got.stderr)
    mhad.check(got.returncode == 0, "something was possible")


def case_peers(agent):
    """A socket of the bus takes frames from its sender's group only, whatever the directory lets in."""
    agent.start()
    pair = agent.run_dir / "bus/consensus/gateway"
    path = mhad.wait_for("the socket", lambda: next(iter(pair.iterdir()), None))

    def answer_to(user):
        """What a ZeroMQ greeting brings back, as `user`: b"" when the connection is shut."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            uid, gid = mhad.user_ids(user)
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.settimeout(mhad.PATIENCE)
            try:
                client.connect(str(path))
                os.write(writer, client.recv(64))
            except OSError:
                pass
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(writer)
        got = os.read(reader, 64)
        os.close(reader)
        return got
    mhad.check(answer_to("mha-gateway")[:1] == b"\xff", "the sender is refused")
    # As if somebody had opened the directory by mistake.
    os.chmod(pair, 0o711)
    mhad.check(answer_to("mha-dbmon") == b"", "another worker is heard")
    mhad.check(answer_to("nobody") == b"", "a stranger is heard")


def simulated_watchdog():
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from watchdog_sim import Watchdog
    try:
        return Watchdog()
    except OSError as failure:
        mhad.skip(f"no simulated watchdog: {failure}")


def case_watchdog(agent):
    """Armed with the lease, fed while it lasts, starved when nothing says that it is safe."""
    device = simulated_watchdog()
    try:
        agent.write_conf(watchdog__mode="required", watchdog__device=device.path,
                         watchdog__timeout="10s")
        agent.start()
        mhad.check(device.events[-1] == "disarmed" and device.deadline is None, f"{device.events}")
        agent.signal(signal.SIGTERM)
        mhad.check(agent.wait() == 0 and device.resets == 0, "a node without the lease was reset")
        agent.log.write_text("")
        device.events.clear()
        agent.mode("consensus", "lease")
        agent.start()
        agent.wait_log("watchdog.armed")
        agent.wait_log("watchdog.starving")
        mhad.check(device.resets == 0 and device.events.count("feed") > 5, f"{device.events}")
        mhad.wait_for("the reset", lambda: device.resets == 1)
        agent.signal(signal.SIGTERM)
        mhad.check(agent.wait() == 0, "exit status")
        mhad.check(device.events[-1] == "disarmed", f"{device.events}")
        # A killed agent feeds nobody, and closes without the magic.
        agent.log.write_text("")
        agent.start()
        agent.wait_log("watchdog.armed")
        agent.pids()
        agent.process.kill()
        agent.process.wait()
        mhad.wait_for("abandoned", lambda: device.events[-1] in ("abandoned", "reset"))
        mhad.wait_for("the second reset", lambda: device.resets == 2)
        # A required one that fails ends the agent.
        agent.log.write_text("")
        agent.start()
        agent.wait_log("watchdog.armed")
        device.broken = True
        agent.wait_log("watchdog.failed .*required")
        mhad.check(agent.wait() == 1, "it went on without")
    finally:
        if agent.process is not None and agent.process.poll() is None:
            agent.pids()
            agent.process.kill()
            agent.process.wait()
        device.close()


def case_watchdog_missing(agent):
    """Required without a device: no start. Automatic: a warning. No file is taken for a device."""
    agent.write_conf(watchdog__mode="required", watchdog__device="/dev/mha-no-watchdog")
    mhad.refused(agent, "watchdog.mode is 'required': watchdog.device /dev/mha-no-watchdog: No such")
    plain = agent.dir / "plain"
    plain.write_text("precious")
    agent.write_conf(watchdog__device=plain)
    mhad.refused(agent, "does not answer as a watchdog")
    mhad.check(plain.read_text() == "precious", "it was written to")
    agent.write_conf(watchdog__mode="automatic")
    agent.start()
    mhad.check(agent.lines("watchdog.unavailable .*going on without"), "no warning")
    agent.signal(signal.SIGTERM)
    mhad.check(agent.wait() == 0, "exit status")


if __name__ == "__main__":
    mhad.main(globals())
