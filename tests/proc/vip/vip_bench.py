"""The place where mha-vip is tested: two namespaces on one wire, a fake database, the rig."""
import contextlib
import ctypes
import functools
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

PORT = 5432
UID = 64017  # stands for mha-vip: any user that owns nothing
V4 = {"vip": "10.77.0.100", "prefix": 24, "host": "10.77.0.1", "peer": "10.77.0.2"}
V6 = {"vip": "fd77::100", "prefix": 64, "host": "fd77::1", "peer": "fd77::2"}
# The neighbour is two members and, by further addresses, a host of no member.
CLIENT = {4: "10.77.0.3", 6: "fd77::3"}
# How long something that must happen may take on a machine that is busy otherwise, in seconds.
PATIENCE = 60.0
# A lease that outlives what a test does under it, and one whose end a test waits for, in ms; a
# grant may be as long as the election timeout. Both are renewed ten times a second.
LONG, SHORT = 25000, 2500
NONE, CLOSED, OPEN, CLIENTS = 0, 1, 2, 3
DONE, FAILED, REFUSED = 0, 1, 2
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

CONF = """\
cluster:
  name: fence
  id: 7d2bd6f8-2d51-4f6c-9c0e-0d1a6b1f8a11
node:
  name: n1
paths:
  state_dir: {dir}/state
  run_dir: {dir}/run
keys:
  secret_file: {dir}/node.key
log:
  level: info
timing:
  election_timeout: 30s
vip:
  address: "{vip}"
  interface: "{interface}"
  announce_count: 3
  announce_gap: 20ms
  announce_refresh: 1s
fence:
  kernel: {fence}
postgresql:
  data_dir: {dir}/data
  replication_password_file: {dir}/password
members:
  - name: n1
    id: 1
    kind: data
    address: 10.77.0.1
    postgres_port: {port}
    public_key: "rq:rM>}}U?@Lns47E1%kR.o@n%FcmmsL/@{{H8]yf7"
  - name: n2
    id: 2
    kind: data
    address: 10.77.0.2
    public_key: "rq:rM>}}U?@Lns47E1%kR.o@n%FcmmsL/@{{H8]yf8"
  - name: n3
    id: 3
    kind: data
    address: "fd77::2"
    public_key: "rq:rM>}}U?@Lns47E1%kR.o@n%FcmmsL/@{{H8]yf9"
"""


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


def in_ns(namespace, call, *arguments):
    """Run `call` in a network namespace; sockets that it opens stay there."""
    outcome = {}

    def body():
        fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            if LIBC.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            outcome["value"] = call(*arguments)
        except BaseException as error:  # handed to the caller
            outcome["error"] = error
        finally:
            os.close(fd)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def until(claim, what):
    """Wait until `claim` holds."""
    end = time.monotonic() + PATIENCE
    while not claim():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.005)


def now_ns():
    """The clock that leases are in."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Disturbed(Exception):
    """The machine was too slow for a test to be one: it says nothing about mha-vip."""


def again(test):
    """Repeat a test that was disturbed, on a bench of its own, a few times."""
    tries = 6

    @functools.wraps(test)
    def repeated(self):
        for number in range(1, tries + 1):
            try:
                test(self)
                return
            except Disturbed as why:
                print(f"\n  try {number} of {tries} was disturbed: {why}", flush=True)
            self.doCleanups()
            self.setUp()
        raise AssertionError(f"disturbed {tries} times in a row")

    return repeated


class Database:
    """Answers "ping" with "pong" and "wait" with nothing, on TCP and on a Unix socket."""

    def __init__(self, namespace, path):
        self.listeners = [in_ns(namespace, self.listen, socket.AF_INET6, ("::", PORT)),
                          in_ns(namespace, self.listen, socket.AF_UNIX, path)]
        self.accepted = []
        for listener in self.listeners:
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    @staticmethod
    def listen(family, address):
        listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(64)
        return listener

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        try:
            while (request := connection.recv(100)) != b"":
                if request == b"ping":
                    connection.sendall(b"pong")
        except OSError:
            pass

    def close(self):
        for each in self.listeners + self.accepted:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


class Rig:
    """mha-vip with its master and its consensus (rig.c)."""

    def __init__(self, programs, namespace, conf, capable=True):
        self.log = open(conf + ".log", "a+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, programs.rig, programs.vip, conf, str(UID),
             "1" if capable else "0"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.lines = queue.Queue()
        self.report = None
        self.pid = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put({"kind": "gone"})

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def expect(self, kind, **fields):
        """The next message of that kind with those fields."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} {fields} within {PATIENCE} s; last report "
                                     f"{self.report}\n{self.logged()}") from None
            if line["kind"] == "report":
                self.report = line
            if line["kind"] == "gone":
                raise AssertionError("the rig has ended: " + self.logged())
            if line["kind"] == kind and all(line[key] == fields[key] for key in fields):
                return line

    def spawn(self):
        """Start it; returns its first report, once orders reach it too."""
        self.tell("spawn")
        self.pid = self.expect("spawned")["pid"]
        self.report = None
        self.expect("connected")
        first = self.report or self.expect("report")
        # It says the same again when its own connection comes up.
        self.settle()
        return first

    def settle(self):
        """All that was sent to it is done, and all that it said is heard: an order that is refused
        in every state is answered last."""
        self.order("clients 0 0", REFUSED)

    def last_lease(self):
        """No more grants; the end of the lease that is left."""
        self.tell("off")
        self.settle()
        return self.status()["until_ns"]

    def order(self, line, outcome=DONE):
        self.tell(line)
        return self.expect("result", outcome=outcome)

    def status(self):
        self.tell("status")
        return self.expect("status")

    def logged(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as log:
            return log.read()

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Bench:
    """Host `a` with the fence and the fake database, neighbour `b` on the same wire."""

    def __init__(self, programs, database=True):
        self.programs = programs
        sweep()
        self.a = f"vip-{os.getpid()}-a"
        self.b = f"vip-{os.getpid()}-b"
        self.dir = tempfile.mkdtemp(prefix="vip-test-")
        os.chmod(self.dir, 0o755)
        os.mkdir(self.dir + "/run")
        self.rigs = []
        self.clients = []
        self.database = None
        try:
            self.wire()
            if database:
                self.database = Database(self.a, self.dir + "/db.sock")
        except BaseException:
            self.close()
            raise

    def wire(self):
        for name in (self.a, self.b):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.a, "link", "add", "wire", "type", "veth", "peer", "name", "wire",
            "netns", self.b)
        for name, end in ((self.a, "host"), (self.b, "peer")):
            run("ip", "-n", name, "address", "add", f"{V4[end]}/24", "dev", "wire")
            run("ip", "-n", name, "address", "add", f"{V6[end]}/64", "dev", "wire", "nodad")
            run("ip", "-n", name, "link", "set", "wire", "up")
        run("ip", "-n", self.b, "address", "add", CLIENT[4] + "/24", "dev", "wire")
        run("ip", "-n", self.b, "address", "add", CLIENT[6] + "/64", "dev", "wire", "nodad",
            "preferred_lft", "0")
        # IPv6 is not ready before the kernel has handled the carrier.
        for host in (V4["host"], V6["host"]):
            until(lambda to=host: subprocess.run(
                ["ip", "netns", "exec", self.b, "ping", "-q", "-c1", "-W1", to], check=False,
                capture_output=True).returncode == 0, f"{host} answers")

    def rig(self, ip=V4, fence="required", interface="wire", capable=True):
        path = f"{self.dir}/{len(self.rigs)}.yaml"
        vip = f"{ip['vip']}/{ip['prefix']}" if ip else ""
        with open(path, "w", encoding="utf-8") as conf:
            conf.write(CONF.format(dir=self.dir, vip=vip, interface=interface if ip else "",
                                   fence=fence, port=PORT))
        rig = Rig(self.programs, self.a, path, capable)
        self.rigs.append(rig)
        return rig

    def connect(self, address, namespace=None, source=None):
        client = in_ns(namespace or self.b, socket.create_connection, (address, PORT), PATIENCE,
                       (source, 0) if source else None)
        self.clients.append(client)
        return client

    def can_connect(self, address, namespace=None, source=None):
        """True, or False when the answer is a reset; anything else is an error."""
        try:
            self.connect(address, namespace, source=source).close()
            return True
        except ConnectionRefusedError:
            return False

    def has_vip(self, ip=V4):
        shown = run("ip", "-n", self.a, "-j", "address", "show")
        return any(info.get("local") == ip["vip"] for link in json.loads(shown)
                   for info in link.get("addr_info", []))

    def nft(self, text):
        return run("ip", "netns", "exec", self.a, "nft", "-f", "-", input=text)

    def ruleset(self, *what):
        return run("ip", "netns", "exec", self.a, "nft", "-s", "list", *what)

    def close(self):
        """Whatever fails in here, the rest is done."""
        with contextlib.ExitStack() as ends:
            ends.callback(shutil.rmtree, self.dir, ignore_errors=True)
            for name in (self.a, self.b):
                ends.callback(delete_namespace, name)
            if self.database:
                ends.callback(self.database.close)
            for each in self.clients + self.rigs:
                ends.callback(each.close)


def delete_namespace(name):
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def sweep():
    """Remove what a test left that was killed."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        owner = re.fullmatch(r"vip-(\d+)-[ab]", name)
        if owner and not os.path.exists(f"/proc/{owner[1]}"):
            delete_namespace(name)


def ping(connection, seconds=PATIENCE):
    connection.settimeout(seconds)
    connection.sendall(b"ping")
    return connection.recv(10) == b"pong"


def sniff(namespace, ethertype):
    """A packet socket that sees what comes in on the wire."""
    probe = in_ns(namespace, socket.socket, socket.AF_PACKET, socket.SOCK_RAW,
                  socket.htons(ethertype))
    probe.bind(("wire", ethertype))
    return probe


def frames(probe, wanted, enough, seconds=PATIENCE):
    """Frames for which `wanted` holds, until there are enough of them."""
    found = []
    end = time.monotonic() + seconds
    while len(found) < enough:
        probe.settimeout(max(0.001, end - time.monotonic()))
        try:
            frame = probe.recv(2048)
        except TimeoutError:
            break
        if wanted(frame):
            found.append(frame)
    return found
