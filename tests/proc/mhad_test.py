#!/usr/bin/python3
"""Tests of mhad as a process. One case per call: mhad_test.py CASE --mhad M --worker W --sample S

Every agent runs in a temporary directory of its own with test workers (worker.c); nothing is
shared, so cases run beside each other. Exit status 77: skipped, with the reason.
"""
import argparse
import ctypes
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

WORKERS = ("consensus", "vip", "dbctl", "dbmon", "gateway")
USERS = {"consensus": "mha-consensus", "vip": "mha-vip", "dbctl": "postgres",
         "dbmon": "mha-dbmon", "gateway": "mha-gateway"}
CAP_NET_ADMIN = 1 << 12
# What the master may keep: KILL, SETGID, SETUID, SETPCAP, NET_ADMIN, SYS_NICE.
MASTER_CAPS = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | CAP_NET_ADMIN | 1 << 23
KEYS = ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
        "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs")
ARGS = None
# How long something that must happen may take on a machine that is busy otherwise, in seconds.
PATIENCE = 90.0


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def wait_for(what, probe, seconds=PATIENCE):
    """The only waiting there is: for a condition, with a deadline."""
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def status_of(pid):
    """/proc/PID/status as a dictionary; None when the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def alive(pid):
    status = status_of(pid)
    return status is not None and not status["State"].startswith("Z")


class Agent:
    """One mhad in a directory of its own."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mha-proc-"))
        os.chmod(self.dir, 0o755)
        self.run_dir = self.dir / "run"
        self.libexec = self.dir / "libexec"
        self.libexec.mkdir()
        # The workers' users must reach the program, wherever the build directory is.
        shutil.copy(ARGS.worker, self.libexec / "worker")
        for name in WORKERS:
            (self.libexec / f"mha-{name}").symlink_to("worker")
        self.conf = self.dir / "mha4rdb.conf"
        self.log = self.dir / "log"
        self.secret = self.dir / "node.key"
        self.password = self.dir / "password"
        self.write(self.secret, "the-node-key\n", 0o600)
        self.write(self.password, "the-password\n", 0o600)
        self.values = {"log.level": "info", "agent.on_stop": "leave", "monitor.interval": "250ms",
                       "node.name": "node-a", "timing.election_timeout": "1s"}
        self.members = [("node-a", 1, "data"), ("node-b", 2, "data"), ("node-c", 3, "witness")]
        self.write_conf()
        self.process = None
        self.seen = set()

    @staticmethod
    def write(path, text, mode):
        path.write_text(text)
        os.chmod(path, mode)

    def mode(self, name, mode):
        (self.libexec / f"mha-{name}.mode").write_text(mode)

    def write_conf(self, **changes):
        self.values.update({key.replace("__", "."): value for key, value in changes.items()})
        fixed = {"cluster.name": "test", "cluster.id": "3d1f0a52-6a0e-4d5c-8f55-0d2f1f0c9b7e",
                 "paths.state_dir": self.dir / "state", "paths.run_dir": self.run_dir,
                 "paths.libexec_dir": self.libexec, "keys.secret_file": self.secret,
                 "postgresql.data_dir": self.dir / "data", "vip.address": "10.99.99.99/24",
                 "vip.interface": "lo", "postgresql.replication_password_file": self.password}
        sections = {}
        for key, value in {**fixed, **self.values}.items():
            section, name = key.split(".")
            sections.setdefault(section, []).append(f"  {name}: {value}\n")
        text = "".join(f"{section}:\n{''.join(lines)}" for section, lines in sections.items())
        text += "members:\n"
        for name, number, kind in self.members:
            text += (f"  - {{name: {name}, id: {number}, kind: {kind}, "
                     f"address: 10.99.99.{number}, public_key: \"{KEYS[number - 1]}\"}}\n")
        self.write(self.conf, text, 0o644)

    def start(self, environment=None, ready=True, pass_fds=(), extra_groups=None):
        with open(self.log, "ab") as log:
            # mhad's own session, so that a stray signal of the terminal changes no result.
            self.process = subprocess.Popen([ARGS.mhad, "--config", str(self.conf)], stderr=log,
                                            stdout=log, start_new_session=True,
                                            env={**os.environ, **(environment or {})},
                                            pass_fds=pass_fds, extra_groups=extra_groups)
        if ready:
            mark = f"node=node-. process=master master.ready pid={self.process.pid} "
            self.wait_log(mark)

    def text(self):
        return self.log.read_text(errors="replace")

    def lines(self, pattern):
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def wait_log(self, pattern, count=1, seconds=PATIENCE):
        def probe():
            if self.process.poll() is not None and len(self.lines(pattern)) < count:
                raise Failed(f"mhad ended with {self.process.returncode}")
            found = self.lines(pattern)
            return found if len(found) >= count else None
        return wait_for(f"log line {pattern}", probe, seconds)

    def pids(self):
        """Worker name -> pid, of the children of this mhad."""
        found = {}
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in map(int, children.read_text().split()):
            comm = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            if comm.startswith("mha-"):
                found[comm[4:]] = pid
                self.seen.add(pid)
        return found

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=PATIENCE):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"mhad has not ended within {seconds} s") from late

    def close(self):
        """Leaves nothing behind, whatever the test has done."""
        if self.process is not None:
            if self.process.poll() is None:
                self.pids()
                self.process.kill()
                self.process.wait()
            for line in self.lines("test.detached"):
                self.seen.add(int(re.search(r"pid=(\d+)", line[line.index("test."):]).group(1)))
            for pid in self.seen:
                if alive(pid) and self.is_ours(pid):
                    os.kill(pid, signal.SIGKILL)
        # Orphans of a killed mhad are this process's to reap (PR_SET_CHILD_SUBREAPER).
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)
            except ChildProcessError:
                break
        shutil.rmtree(self.dir, ignore_errors=True)

    @staticmethod
    def is_ours(pid):
        try:
            comm = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return False
        return comm.startswith("mha-") or comm == "sleep"


def user_ids(name):
    import pwd
    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


def case_privileges(agent):
    """Each worker: its user, its groups, no capability but vip's, nothing to be gained."""
    stray = 12345  # a supplementary group of root's that nobody may keep
    agent.start(environment={"MHA_TEST_LEAK": "1"},
                extra_groups=[stray])
    check(str(stray) in status_of(agent.process.pid)["Groups"].split(), "the master has it")
    pids = agent.pids()
    check(set(pids) == set(WORKERS), f"workers: {sorted(pids)}")
    for name, pid in pids.items():
        status = status_of(pid)
        uid, gid = user_ids(USERS[name])
        caps = CAP_NET_ADMIN if name == "vip" else 0
        check(status["Uid"].split() == [str(uid)] * 4, f"{name}: Uid {status['Uid']}")
        check(status["Gid"].split() == [str(gid)] * 4, f"{name}: Gid {status['Gid']}")
        allowed = os.getgrouplist("postgres", gid) if name == "dbctl" else []
        check(set(map(int, status["Groups"].split())) <= set(allowed),
              f"{name}: Groups {status['Groups']}")
        for which in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            check(int(status[which], 16) == caps, f"{name}: {which} {status[which]}")
        check(int(status["CapInh"], 16) == caps, f"{name}: CapInh {status['CapInh']}")
        check(status["NoNewPrivs"] == "1", f"{name}: NoNewPrivs {status['NoNewPrivs']}")
        check(os.getsid(pid) == pid, f"{name}: has no session of its own")
        check(os.readlink(f"/proc/{pid}/cwd") == "/", f"{name}: working directory")
        urgent = name in ("consensus", "vip") and \
            not agent.lines(f"worker.not_realtime worker={name} ")
        check(os.sched_getscheduler(pid) == (os.SCHED_RR if urgent else os.SCHED_OTHER),
              f"{name}: scheduling policy {os.sched_getscheduler(pid)}")
        print(f"{name:10} uid={uid} gid={gid} groups=[{status['Groups'].strip()}] "
              f"CapPrm={status['CapPrm']} CapEff={status['CapEff']} CapBnd={status['CapBnd']} "
              f"CapAmb={status['CapAmb']} NoNewPrivs={status['NoNewPrivs']} "
              f"policy={'rr' if urgent else 'other'}")
    check(len(agent.lines("test.start .*environment=clean")) == 5, "the environment leaked")
    master = status_of(agent.process.pid)
    for which in ("CapPrm", "CapEff", "CapBnd"):
        check(int(master[which], 16) & ~MASTER_CAPS == 0, f"master: {which} {master[which]}")
    check(master["NoNewPrivs"] == "1", "master: NoNewPrivs")
    print(f"master     CapPrm={master['CapPrm']} CapBnd={master['CapBnd']}")


def case_descriptors(agent):
    """Each worker holds what it is handed and nothing else; secrets reach only theirs."""
    null = os.open("/dev/null", os.O_RDONLY)
    leak = fcntl.fcntl(null, fcntl.F_DUPFD, 40)  # above the places of what is handed over
    os.close(null)
    agent.start(pass_fds=(leak,))
    check(os.path.exists(f"/proc/{agent.process.pid}/fd/{leak}"), "the master has it, too")
    pids = agent.pids()
    for name, pid in pids.items():
        links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}")
                 for fd in os.listdir(f"/proc/{pid}/fd")}
        check(links[0] == "/dev/null", f"{name}: stdin {links[0]}")
        check(links[3].startswith("socket:"), f"{name}: 3 is {links[3]}")
        check("memfd:mha4rdb.conf" in links[4], f"{name}: 4 is {links[4]}")
        check(links[5] == f"{agent.run_dir}/status/{name}", f"{name}: 5 is {links[5]}")
        check((name == "vip") == links.get(6, "").startswith("socket:"), f"{name}: 6 {links}")
        expected = {"consensus": "memfd:node-key", "dbctl": "memfd:replication-password",
                    "gateway": "memfd:gateway-access"}
        check(("memfd:" in links.get(7, "")) == (name in expected) and
              expected.get(name, "") in links.get(7, ""), f"{name}: 7 is {links.get(7)}")
        for other in links.values():
            check("mhad.lock" not in other, f"{name}: holds the master's lock")
            check("signalfd" not in other and "pidfd" not in other, f"{name}: holds {other}")
        master_sockets = {os.readlink(f"/proc/{agent.process.pid}/fd/{fd}")
                          for fd in os.listdir(f"/proc/{agent.process.pid}/fd")}
        shared = {link for link in links.values() if link.startswith("socket:")} & master_sockets
        shared.discard(links.get(6))
        check(not shared, f"{name}: shares {shared} with the master")
        check(sum(link == "/dev/null" for link in links.values()) == 1, f"{name}: leaked {links}")
    starts = {re.search(r"name=(\w+)", line).group(1): line for line in agent.lines("test.start")}
    check("secret=the-node-key " in starts["consensus"], starts["consensus"])
    check("secret=the-password " in starts["dbctl"], starts["dbctl"])
    for name in ("vip", "dbmon"):
        check("secret=not_found " in starts[name] or "secret=not found" in starts[name],
              starts[name])
        check(f"packet={int(name == 'vip')} " in starts[name], starts[name])
    os.close(leak)
    # The master has no socket of a network family but vip's packet socket.
    inodes = {os.readlink(f"/proc/{agent.process.pid}/fd/{fd}")[8:-1]
              for fd in os.listdir(f"/proc/{agent.process.pid}/fd")}
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        rows = pathlib.Path(f"/proc/{agent.process.pid}/net/{table}").read_text().splitlines()
        for line in rows[1:]:
            check(line.split()[9] not in inodes, f"the master has a {table} socket")


def stamp(line):
    hour, minute, second = re.search(r"T(\d+):(\d+):([\d.]+)Z", line).groups()
    return int(hour) * 3600 + int(minute) * 60 + float(second)


def case_restart(agent):
    """A killed worker is replaced at once, with its section, and the others notice nothing."""
    agent.start()
    delays = []
    for name in WORKERS:
        before = agent.pids()
        os.kill(before[name], signal.SIGKILL)
        agent.wait_log(f"worker.ended worker={name} ")
        agent.wait_log(f"worker.started worker={name} .*restarts=1")
        ended = agent.lines(f"worker.ended worker={name} .*signal=9")[0]
        started = agent.lines(f"worker.started worker={name} .*restarts=1")[0]
        delays.append(stamp(started) - stamp(ended))
        wait_for(f"{name} is back", lambda: name in agent.pids())
        after = agent.pids()
        check(after[name] != before[name], f"{name}: the same pid")
        for other in set(WORKERS) - {name}:
            check(after.get(other) == before[other], f"{other} was touched by {name}'s end")
        agent.wait_log(f"worker.ready worker={name} ", count=2)
    print("from end to restart, ms:", [round(delay * 1000) for delay in delays])
    # The shortest delay of a retry is 50 ms: at once means that none was planned.
    check(not agent.lines("worker.backoff"), "the first restart is not immediate")
    generations = [re.search(r"generation=(\d+)", line).group(1)
                   for line in agent.lines("test.start name=consensus")]
    check(generations == ["1", "2"], f"consensus' section was lost: {generations}")


def case_backoff(agent):
    """A worker that fails at once is retried less and less often; the others live on."""
    agent.mode("dbmon", "fail-start")
    agent.start(ready=False)
    agent.wait_log("worker.backoff worker=dbmon delay_ms=800")
    delays = [int(re.search(r"delay_ms=(\d+)", line).group(1))
              for line in agent.lines("worker.backoff worker=dbmon")]
    check(delays[:5] == [50, 100, 200, 400, 800], f"delays {delays}")
    starts = [stamp(line) for line in agent.lines("worker.started worker=dbmon")]
    # What is planned is planned after the end: from there a busy machine only adds.
    ends = [stamp(line) for line in agent.lines("worker.ended worker=dbmon")]
    for planned, ended, begun in zip(delays, ends[1:], starts[2:]):
        check(begun - ended >= planned / 1000 - 0.005, f"restarted before {planned} ms")
    check(not agent.lines("worker.ended worker=(consensus|vip|dbctl|gateway)"), "others ended")
    (agent.libexec / "mha-dbmon.mode").unlink()
    agent.wait_log("worker.ready worker=dbmon")
    agent.wait_log("master.ready")


def case_stop_leave(agent):
    """SIGTERM, on_stop leave: everybody ends orderly; what dbctl has started goes on."""
    agent.mode("dbctl", "detach")
    agent.mode("vip", "slow-stop")
    agent.start()
    pids = agent.pids()
    outliving = int(re.search(r"pid=(\d+)", agent.wait_log("test.detached")[0].split("test.")[1])
                    .group(1))
    agent.signal(signal.SIGTERM)
    check(agent.wait() == 0, "exit status")
    for name in WORKERS:
        check(len(agent.lines(f"test.stop name={name} handover=0")) == 1, f"{name}: not asked")
        check(len(agent.lines(f"test.finish name={name}")) == 1, f"{name}: not finished")
        check(len(agent.lines(f"worker.ended worker={name} .*status=0")) == 1, f"{name}: status")
        check(not alive(pids[name]), f"{name} still runs")
    check(not agent.lines("worker.kill"), "somebody was killed")
    check(alive(outliving), "the database's process ended with the agent")


def case_stop_handover(agent):
    """SIGTERM, on_stop handover: one after the other, consensus first, dbctl once it is gone."""
    agent.write_conf(agent__on_stop="handover")
    agent.mode("consensus", "slow-stop")
    agent.start()
    agent.signal(signal.SIGTERM)
    check(agent.wait() == 0, "exit status")
    order = re.findall(r"(test\.stop name=\w+ handover=\d|worker\.ended worker=\w+)", agent.text())
    expected = []
    for name in WORKERS:
        expected += [f"test.stop name={name} handover=1", f"worker.ended worker={name}"]
    check(order == expected, f"order {order}")


def case_stop_ignored(agent):
    """A worker that does not stop is killed; a second SIGTERM does not wait at all."""
    agent.mode("gateway", "ignore-stop")
    agent.start()
    pids = agent.pids()
    agent.signal(signal.SIGTERM)
    agent.wait_log("worker.ended worker=(consensus|vip|dbctl|dbmon) ", count=4)
    check(agent.process.poll() is None, "mhad did not wait for the gateway")
    agent.signal(signal.SIGTERM)
    check(agent.wait() == 0, "exit status")
    check(agent.lines("worker.ended worker=gateway .*signal=9"), "the gateway was not killed")
    check(not alive(pids["gateway"]), "the gateway still runs")


def case_reload(agent):
    """SIGHUP: good values reach every worker, others are refused by name and change nothing."""
    agent.start()
    pids = agent.pids()
    agent.write_conf(monitor__interval="300ms")
    agent.signal(signal.SIGHUP)
    agent.wait_log("reload.done")
    for name in WORKERS:
        agent.wait_log(f"test.reload name={name} interval=300$")
    agent.write_conf(timing__election_timeout="2s", monitor__interval="400ms")
    agent.signal(signal.SIGHUP)
    line = agent.wait_log("reload.refused")[0]
    check("timing.election_timeout has changed" in line, line)
    agent.write_conf(timing__election_timeout="1s", monitor__interval="soon")
    agent.signal(signal.SIGHUP)
    line = agent.wait_log("reload.refused", count=2)[1]
    check(re.search(r"mha4rdb.conf:\d+: monitor.interval: \"soon\" is no duration", line), line)
    os.chmod(agent.conf, 0o666)
    agent.signal(signal.SIGHUP)
    line = agent.wait_log("reload.refused", count=3)[2]
    check("writable by nobody else" in line, line)
    check(len(agent.lines("test.reload")) == len(WORKERS), "a refused reload reached a worker")
    # What was taken is what a restarted worker gets; log.level takes effect without a restart.
    agent.write_conf(monitor__interval="500ms", log__level="debug")
    agent.signal(signal.SIGHUP)
    agent.wait_log("test.reload name=\\w+ interval=500$", count=len(WORKERS))
    check(agent.pids() == pids, "a reload restarted somebody")


def case_master_killed(agent):
    """SIGKILL to mhad: no worker is left, the database's process is; a new mhad goes on from there."""
    agent.mode("dbctl", "detach")
    agent.start()
    pids = agent.pids()
    outliving = int(re.search(r"pid=(\d+)", agent.wait_log("test.detached")[0].split("test.")[1])
                    .group(1))
    os.kill(pids["gateway"], signal.SIGSTOP)  # not even a stopped one stays
    agent.process.kill()
    agent.process.wait()
    begin = time.monotonic()
    (agent.libexec / "mha-dbctl.mode").unlink()
    agent.start()
    print(f"ready again after {1000 * (time.monotonic() - begin):.0f} ms")
    for name, pid in pids.items():
        check(not alive(pid), f"{name} outlived its master")
    check(alive(outliving), "the database's process ended with the master")
    generations = [re.search(r"generation=(\d+)", line).group(1)
                   for line in agent.lines("test.start name=consensus")]
    check(generations == ["1", "2"], f"consensus' section was lost: {generations}")


def case_earlier_life(agent):
    """As long as any process of an earlier life holds a section, no second writer is started."""
    agent.start()
    agent.signal(signal.SIGTERM)
    check(agent.wait() == 0, "exit status")
    agent.log.write_text("")
    with open(agent.run_dir / "status" / "dbmon", "rb") as section:
        fcntl.flock(section, fcntl.LOCK_EX)  # as the earlier process does while it lives
        agent.start(ready=False)
        agent.wait_log("worker.earlier_life worker=dbmon")
        agent.wait_log("worker.ready", count=len(WORKERS) - 1)
        check("dbmon" not in agent.pids(), "a second writer was started")
    agent.wait_log("worker.ready worker=dbmon")
    agent.wait_log("master.ready")
    check(not agent.lines("worker.backoff"), "waiting was counted as failing")


def case_hung(agent):
    """A worker whose loop stands still is replaced."""
    agent.start()
    pid = agent.pids()["dbmon"]
    os.kill(pid, signal.SIGSTOP)
    agent.wait_log("worker.hung worker=dbmon")
    agent.wait_log("worker.ready worker=dbmon", count=2)
    check(not alive(pid), "the hung one still runs")
    check(not agent.lines("worker.hung worker=(consensus|vip|dbctl|gateway)"), "others were killed")


def refused(agent, pattern):
    agent.start(ready=False)
    check(agent.wait() == 1, "exit status")
    check(agent.lines(pattern), f"no line {pattern} in:\n{agent.text()}")
    agent.log.write_text("")


def case_refusals(agent):
    """What must not run does not run, and says why."""
    os.chmod(agent.secret, 0o640)
    refused(agent, "keys.secret_file: .*node.key: has mode 0640")
    os.chmod(agent.secret, 0o600)
    os.chown(agent.secret, user_ids("postgres")[0], 0)
    refused(agent, "keys.secret_file: .*must belong to root")
    os.chown(agent.secret, 0, 0)
    agent.secret.write_text("")
    refused(agent, "keys.secret_file: .*is empty")
    agent.secret.write_text("the-node-key\n")
    os.chmod(agent.password, 0o644)
    refused(agent, "replication_password_file: .*has mode 0644")
    os.chmod(agent.password, 0o600)
    os.chown(agent.password, user_ids("postgres")[0], 0)  # the database's user may own it
    os.chmod(agent.conf, 0o664)
    refused(agent, "config.refused .*writable by nobody else")
    os.chmod(agent.conf, 0o644)
    (agent.libexec / "mha-vip").unlink()
    refused(agent, "worker program .*mha-vip: No such file")
    (agent.libexec / "mha-vip").symlink_to("worker")
    agent.write_conf(postgresql__os_user="mistyped_user")
    refused(agent, "there is no user mistyped_user")
    agent.write_conf(postgresql__os_user="postgres")
    agent.start()
    second = subprocess.run([ARGS.mhad, "--config", str(agent.conf)], capture_output=True,
                            text=True, timeout=PATIENCE, check=False)
    check(second.returncode == 1 and "another mhad runs on paths.run_dir" in second.stderr,
          second.stderr)
    check(len(agent.pids()) == len(WORKERS), "the second mhad disturbed the first")
    as_user = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                              shutil.copy(ARGS.mhad, agent.dir / "mhad"), "--config",
                              str(agent.conf)], capture_output=True, text=True, timeout=PATIENCE,
                             check=False)
    check(as_user.returncode == 1 and "must be started by root" in as_user.stderr, as_user.stderr)


def try_connect(user, path):
    """Connect to a socket as `user`, without any other group. 0 or an errno."""
    uid, gid = user_ids(user)
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        os._exit(client.connect_ex(str(path)))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def case_layout(agent):
    """Who owns what in run_dir; only the sender of a pair can connect to its socket."""
    agent.start()
    for path, user, group, mode in (
            ("", "root", "root", 0o755), ("status", "root", "root", 0o755),
            ("bus/consensus/dbmon", "mha-consensus", "mha-dbmon", 0o710),
            ("bus/vip/consensus", "mha-vip", "mha-consensus", 0o710),
            ("bus/dbctl/consensus", "postgres", "mha-consensus", 0o710),
            ("client", "mha-gateway", "mha-gateway", 0o755)):
        stat = os.stat(agent.run_dir / path)
        uid = 0 if user == "root" else user_ids(user)[0]
        gid = 0 if group == "root" else user_ids(group)[1]
        check((stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (uid, gid, mode),
              f"{path}: {stat.st_uid}:{stat.st_gid} {stat.st_mode & 0o7777:o}")
    check(os.readlink(agent.run_dir / "client.sock") == "client/client.sock", "client.sock")
    pairs = {str(path.relative_to(agent.run_dir / "bus"))
             for path in (agent.run_dir / "bus").glob("*/*")}
    expected = {"dbctl/consensus", "dbmon/consensus", "vip/consensus", "gateway/consensus",
                "consensus/dbctl", "consensus/dbmon", "consensus/vip", "consensus/gateway",
                "dbmon/dbctl"}
    check(pairs == expected, f"pairs {sorted(pairs)}")
    for name in ("master", *WORKERS):
        stat = os.stat(agent.run_dir / "status" / name)
        check(stat.st_uid == 0 and stat.st_mode & 0o7777 == 0o644, f"status/{name}")
    raft = os.stat(agent.dir / "state" / "raft")
    check(raft.st_uid == user_ids("mha-consensus")[0] and raft.st_mode & 0o7777 == 0o700, "raft")
    for pair in sorted(expected):
        to, sender = pair.split("/")
        path = wait_for(f"socket of {pair}",
                        lambda: next(iter((agent.run_dir / "bus" / pair).iterdir()), None))
        for name in WORKERS:
            allowed = name in (to, sender)
            got = try_connect(USERS[name], path)
            check((got == 0) == allowed, f"{name} connects to {pair}: {os.strerror(got)}")
        check(try_connect("nobody", path) != 0, f"nobody may connect to {pair}")


def case_notify(agent):
    """The service manager is told READY=1 once, and STOPPING=1."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = agent.dir / "notify"
        manager.bind(str(path))
        manager.settimeout(PATIENCE)
        agent.start(environment={"NOTIFY_SOCKET": str(path)}, ready=False)
        check(manager.recv(4096) == b"READY=1", "READY=1")
        check(len(agent.lines("worker.ready")) == len(WORKERS), "ready before the workers")
        agent.signal(signal.SIGTERM)
        check(manager.recv(4096) == b"STOPPING=1", "STOPPING=1")
        check(agent.wait() == 0, "exit status")


def case_witness(agent):
    """A witness runs no worker that belongs to a database, and needs none of its users."""
    agent.write_conf(node__name="node-c")
    agent.password.unlink()
    agent.start()
    check(set(agent.pids()) == {"consensus", "gateway"}, f"{sorted(agent.pids())}")
    master = status_of(agent.process.pid)
    check(int(master["CapPrm"], 16) & CAP_NET_ADMIN == 0, "the master keeps NET_ADMIN")


def case_inspect(agent):
    """--check-config, --print-config, --print-sysusers, --version, --help; no root needed."""
    def run(*words):
        return subprocess.run([ARGS.mhad, *map(str, words)], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
    sample = agent.dir / "sample"
    shutil.copy(ARGS.sample, sample)
    os.chmod(sample, 0o644)
    check(run("--config", sample, "--check-config").returncode == 0, "the sample is refused")
    printed = run("--config", sample, "--print-config")
    check(printed.returncode == 0, printed.stderr)
    agent.write(agent.dir / "printed", printed.stdout, 0o644)
    again = run("--config", agent.dir / "printed", "--print-config")
    check(again.stdout == printed.stdout, "what is printed does not print itself")
    agent.write(agent.dir / "bad", sample.read_text().replace("tick: 10ms", "tick: 10ms\n  tock: 1"),
                0o644)
    bad = run("--config", agent.dir / "bad", "--check-config")
    check(bad.returncode == 1 and re.search(r"bad:\d+: timing.tock: unknown key", bad.stderr),
          bad.stderr)
    missing = run("--config", agent.dir / "nowhere", "--check-config")
    check(missing.returncode == 1 and "No such file" in missing.stderr, missing.stderr)
    users = run("--print-sysusers")
    for user in set(USERS.values()) - {"postgres"}:
        check(re.search(f"^u {user} - ", users.stdout, re.M), users.stdout)
    shipped = pathlib.Path(ARGS.sample).with_name("mha4rdb.sysusers").read_text()
    check(users.stdout == shipped, "deploy/mha4rdb.sysusers is not what mhad prints")
    check(run("--version").stdout.startswith("mhad (mha4rdb) "), "--version")
    check("usage: mhad" in run("--help").stdout, "--help")
    check(run("--nonsense").returncode == 2 and run("superfluous").returncode == 2, "misuse")


def case_by_hand(agent):
    """A worker started by a person says what it is missing, and exits."""
    got = subprocess.run([str(agent.libexec / "mha-vip")], capture_output=True, text=True,
                         timeout=PATIENCE, check=False)
    check(got.returncode == 2, f"exit status {got.returncode}")
    check("descriptor 3 (the control socket) is missing" in got.stderr and
          "started by mhad" in got.stderr, got.stderr)


class Orphan:
    """A worker without a master: this process holds the other end of its control socket."""

    def __init__(self, agent):
        conf = subprocess.run([ARGS.mhad, "--config", str(agent.conf), "--print-config"],
                              capture_output=True, check=True, timeout=PATIENCE).stdout
        pairs = ("gateway/consensus", "consensus/gateway")
        for pair in pairs:
            (agent.run_dir / "bus" / pair).mkdir(parents=True)
        self.control, worker_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        section = os.open(agent.dir / "section", os.O_RDWR | os.O_CREAT, 0o644)
        sealed = self.memory_file(conf, seal=True)
        # Out of the way of 3..5 first.
        sources = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in (worker_end.fileno(), sealed,
                                                                 section)]

        def place():
            for number, fd in enumerate(sources, start=3):
                os.dup2(fd, number)
        with open(agent.log, "ab") as log:
            self.process = subprocess.Popen([str(agent.libexec / "mha-gateway")], stderr=log,
                                            stdout=log, close_fds=False, preexec_fn=place)
        for fd in (*sources, sealed, section):
            os.close(fd)
        worker_end.close()
        self.control.settimeout(PATIENCE)
        agent.process = self.process
        self.agent = agent
        self.conf = conf

    @staticmethod
    def memory_file(content, seal):
        fd = os.memfd_create("conf", os.MFD_ALLOW_SEALING)
        os.write(fd, content)
        if seal:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK |
                        fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        return fd

    def tell(self, kind, flag=0, fd=None):
        packet = struct.pack("=II", kind, flag)
        if fd is None:
            self.control.send(packet)
        else:
            socket.send_fds(self.control, [packet], [fd])
            os.close(fd)

    def hear(self):
        return struct.unpack("=II", self.control.recv(64))[0]


CONTROL_CONF, CONTROL_SECRET, CONTROL_STOP, CONTROL_READY, CONTROL_ALIVE = 1, 2, 3, 4, 5


def case_skeleton(agent):
    """What the skeleton answers its master, sane or not; the end of file means exit."""
    orphan = Orphan(agent)
    check(orphan.hear() == CONTROL_READY, "READY comes first")
    check(orphan.hear() == CONTROL_ALIVE, "a heartbeat follows")
    orphan.control.send(b"too long for a packet of ours")
    agent.wait_log("worker.control .*wrong size")
    orphan.tell(99)
    agent.wait_log("worker.control unknown message kind=99")
    orphan.tell(CONTROL_CONF)
    agent.wait_log("worker.reload the master sent no sealed configuration", count=1)
    orphan.tell(CONTROL_CONF, fd=orphan.memory_file(orphan.conf, seal=False))
    agent.wait_log("worker.reload the master sent no sealed configuration", count=2)
    orphan.tell(CONTROL_CONF, fd=orphan.memory_file(b"cluster: [", seal=True))
    agent.wait_log("worker.reload configuration:.*the old configuration stays")
    check(not agent.lines("test.reload"), "a bad configuration was taken")
    orphan.tell(CONTROL_CONF, fd=orphan.memory_file(
        orphan.conf.replace(b"interval: 250ms", b"interval: 350ms"), seal=True))
    agent.wait_log("test.reload name=gateway interval=350$")
    check(orphan.process.poll() is None and orphan.hear() == CONTROL_ALIVE, "it lives on")
    orphan.control.close()
    check(agent.wait() == 0, "exit status")
    check(agent.lines("worker.orphaned") and agent.lines("test.finish name=gateway"), "no finish")


def case_skeleton_stop(agent):
    """A stop is passed on with its flag, and ends the process."""
    orphan = Orphan(agent)
    check(orphan.hear() == CONTROL_READY, "READY comes first")
    orphan.tell(CONTROL_STOP, flag=1)
    check(agent.wait() == 0, "exit status")
    check(agent.lines("test.stop name=gateway handover=1"), "stop")
    check(agent.lines("test.finish name=gateway"), "finish")


def case_spin(agent):
    """A real-time worker that never waits loses its right of way, and its life, within seconds."""
    agent.mode("vip", "spin")
    agent.start(ready=False)
    agent.wait_log("test.spin name=vip")
    if agent.lines("worker.not_realtime worker=vip"):
        skip("this machine grants no real-time priority")
    (agent.libexec / "mha-vip.mode").unlink()
    agent.wait_log(f"worker.ended worker=vip .*signal={signal.SIGXCPU.value} ")
    agent.wait_log("worker.ready worker=vip", count=2)
    check(not agent.lines("worker.hung"), "only the missing heartbeat ended it")


def case_frozen(agent):
    """An agent that was stopped as a whole for longer than any heartbeat may be missed goes on."""
    agent.start()
    pids = agent.pids()
    everybody = [agent.process.pid, *pids.values()]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(17)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    agent.write_conf(monitor__interval="300ms")
    agent.signal(signal.SIGHUP)
    agent.wait_log("test.reload name=\\w+ interval=300$", count=len(WORKERS))
    time.sleep(1.5)  # one more pulse of the master
    check(agent.pids() == pids and not agent.lines("worker.hung"), "somebody was replaced")


WITHOUT_ROOT = ("inspect", "by_hand", "skeleton", "skeleton_stop")


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


def main(functions, make=None, options=("sandbox",)):
    """Run the one of these functions called case_NAME that the command line names. `make` makes its
    agent; `options` name further programs."""
    global ARGS
    cases = {name[5:]: function for name, function in functions.items()
             if name.startswith("case_")}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=sorted(cases))
    for option in ("--mhad", "--worker", "--sample"):
        parser.add_argument(option, required=True)
    for option in options:
        parser.add_argument(f"--{option}", help="a program")
    ARGS = parser.parse_args()
    if ARGS.case not in WITHOUT_ROOT:
        if os.geteuid() != 0:
            skip("mhad must be started by root, and this is not root")
        for user in USERS.values():
            try:
                user_ids(user)
            except KeyError:
                skip(f"there is no user {user}; tools/install-users creates the agent's")
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: detached processes stay ours to end
    agent = make(ARGS.case) if make else Agent()
    try:
        cases[ARGS.case](agent)
        errors = [line for line in agent.log.read_text(errors="replace").splitlines()
                  if "AddressSanitizer" in line or "runtime error" in line or "CHECK" in line] \
            if agent.log.exists() else []
        check(not errors, "\n".join(errors))
    except Failed as failure:
        print(f"FAILED: {failure}")
        if agent.log.exists():
            print(agent.text())
        sys.exit(1)
    finally:
        agent.close()
    print("ok")


if __name__ == "__main__":
    main(globals())
