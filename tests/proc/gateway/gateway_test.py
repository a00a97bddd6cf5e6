#!/usr/bin/python3
"""mha-gateway, mhactl and mha-top as processes, in front of a stand-in agent (gateway_rig)."""
import argparse
import concurrent.futures
import fcntl
import http.client
import json
import os
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

ARGS = None
# How long something that must happen may take on a machine that is busy otherwise, in seconds.
PATIENCE = 60

CONFIG = """
cluster: {{name: demo, id: 3d1f0a52-6a0e-4d5c-8f55-0d2f1f0c9b7e}}
node: {{name: n1}}
paths: {{run_dir: {base}/run, state_dir: {base}/state}}
timing: {{election_timeout: 1s}}
vip: {{address: 10.77.0.100/24, interface: lo}}
postgresql: {{data_dir: {base}/pg, replication_password_file: {base}/pw}}
http: {{listen: "127.0.0.1:{http}"}}
client: {{listen: "tcp://127.0.0.1:{requests}", publish: "tcp://127.0.0.1:{events}"}}
members:
  - {{name: n1, id: 1, address: 10.77.0.11, public_key: "{key}1", priority: 100}}
  - {{name: n2, id: 2, address: 10.77.0.12, public_key: "{key}2", priority: 90}}
  - {{name: n3, id: 3, address: 10.77.0.13, public_key: "{key}3", priority: 80}}
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def until(what, seconds=PATIENCE):
    """Wait for a condition that another process makes true; its deadline is generous."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.01)
    return False


class Agent:
    """The rig, and through it one gateway."""

    config = CONFIG

    def __init__(self):
        self.base = tempfile.mkdtemp(prefix="mha-gateway-")
        self.run = os.path.join(self.base, "run")
        self.http, self.requests, self.events = free_ports(3)
        path = os.path.join(self.base, "config.yaml")
        with open(path, "w") as config:
            config.write(self.config.format(base=self.base, http=self.http, requests=self.requests,
                                       events=self.events, key="k" * 39))
            # What a build with a sanitizer needs besides (tests/tsan/run).
            config.write(os.environ.get("MHA_TEST_SETTINGS", ""))
        self.log = open(os.path.join(self.base, "log"), "w+b")
        self.access = os.path.join(self.base, "access")
        os.mkdir(self.access)
        self.rig = subprocess.Popen([ARGS.rig, ARGS.gateway, self.run, path, self.access],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=self.log, text=True)
        first = self.rig.stdout.readline()
        assert first == "ready\n", self.close()

    def said(self):
        self.log.seek(0)
        return self.log.read().decode()

    def said_ok(self, line):
        self.rig.stdin.write(line + "\n")
        self.rig.stdin.flush()
        return self.rig.stdout.readline().startswith("ok")

    def do(self, line):
        self.rig.stdin.write(line + "\n")
        self.rig.stdin.flush()
        answer = self.rig.stdout.readline().strip()
        assert answer.startswith("ok"), f"{line}: {answer}"
        return answer[3:]

    def start(self):
        pid = int(self.do("start"))
        for port in (self.http, self.requests, self.events):
            assert until(lambda: self.listens(port)), self.said()
        return pid

    def listens(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return True
        except OSError:
            return False

    def ask(self, method, path, timeout=PATIENCE):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers
        finally:
            connection.close()

    def get(self, path):
        return self.ask("GET", path)[0]

    def ctl(self, *args, run=None):
        return subprocess.run([ARGS.mhactl, "--run-dir", run or self.run, *args],
                              capture_output=True, text=True, timeout=2 * PATIENCE)

    def close(self):
        self.rig.stdin.close()
        try:
            self.rig.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.rig.kill()
            self.rig.wait()
        self.rig.stdout.close()
        text = self.said()
        self.log.close()
        shutil.rmtree(self.base)
        return text


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def request(call, ident=7, version=1, body=b""):
    """A mha.client.Request by hand: the wire format is the contract, not our own library."""
    return (b"\x08" + varint(version) + b"\x10" + varint(ident) +
            varint(call << 3 | 2) + varint(len(body)) + body)


GET_LEADER, GET_STATUS, GET_HISTORY, GET_EVENTS = 10, 11, 12, 13


def fields(data):
    """Top-level fields of a protobuf message: {number: value}."""
    out, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            value = number()
        elif tag & 7 == 1:
            value, at = data[at:at + 8], at + 8
        else:
            size = number()
            value, at = data[at:at + size], at + size
        out.setdefault(tag >> 3, []).append(value)
    return out


class Zmtp:
    """Just enough of ZMTP 3.0 (NULL mechanism) to be a DEALER, a REQ, a SUB or a vandal."""

    def __init__(self, port, kind=b"DEALER"):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.socket.sendall(b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") +
                            b"\0" * 32)
        self.exactly(64)
        ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
        self.socket.sendall(b"\x04" + bytes([len(ready)]) + ready)
        self.frame()

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def frame(self):
        flags = self.exactly(1)[0]
        size = int.from_bytes(self.exactly(8 if flags & 2 else 1), "big")
        body = self.exactly(size)
        if flags & 4 and body.startswith(b"\x04PING"):
            self.socket.sendall(b"\x04\x05\x04PONG")
            return self.frame()
        return flags, body

    def send(self, *parts):
        out = b""
        for i, part in enumerate(parts):
            more = 1 if i + 1 < len(parts) else 0
            if len(part) > 255:
                out += bytes([2 | more]) + len(part).to_bytes(8, "big") + part
            else:
                out += bytes([more, len(part)]) + part
        self.socket.sendall(out)

    def receive(self):
        parts = []
        while True:
            flags, body = self.frame()
            parts.append(body)
            if not flags & 1:
                return parts

    def close(self):
        self.socket.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.agent = Agent()

    def tearDown(self):
        text = self.agent.close()
        for word in ("AddressSanitizer", "runtime error", "LeakSanitizer", "check failed",
                     "definitely lost", "Invalid read", "Invalid write", "uninitialised",
                     "CHECK"):
            self.assertNotIn(word, text)

    def live(self):
        self.agent.do("live 50")
        return self.agent.start()


class Http(Case):
    def test_primary_serves_and_standby_does_not_pretend(self):
        self.live()
        for path in ("/", "/primary", "/master", "/leader", "/read-write", "/read-only",
                     "/health", "/liveness", "/readiness", "/patroni", "/cluster", "/history",
                     "/metrics"):
            self.assertEqual(self.agent.get(path), 200, path)
        for path in ("/replica", "/standby-leader", "/standby_leader", "/nonsense"):
            self.assertEqual(self.agent.get(path), 503, path)
        self.agent.do("set node n2")
        self.agent.do("set as standby")
        self.agent.do("publish")
        for path in ("/replica", "/read-only", "/health", "/quorum", "/replica?lag=16MB"):
            self.assertEqual(self.agent.get(path), 200, path)
        for path in ("/", "/primary", "/master", "/leader", "/read-write", "/sync", "/async"):
            self.assertEqual(self.agent.get(path), 503, path)

    def test_primary_ends_with_the_lease_although_nobody_writes_any_more(self):
        self.agent.do("set lease_ms 4000")
        at = time.monotonic()
        self.agent.do("publish")
        self.agent.start()
        before = self.agent.get("/primary")
        if time.monotonic() - at < 4:
            self.assertEqual(before, 200)
        self.assertTrue(until(lambda: self.agent.get("/primary") == 503))
        self.assertGreaterEqual(time.monotonic() - at, 4)
        body = json.loads(self.agent.ask("GET", "/primary")[1])
        self.assertIn("lease", body["mha4rdb"]["not_primary_because"])

    def test_primary_ends_with_the_fence(self):
        self.live()
        self.assertEqual(self.agent.get("/primary"), 200)
        for name, value in (("fence", 1), ("fence_ms", 0), ("fence_epoch", 3), ("self.db", 2),
                            ("epoch", 5), ("primary", 2)):
            self.agent.do(f"set {name} {value}")
            self.agent.do("publish")
            self.assertEqual(self.agent.get("/primary"), 503, name)
            for back in ("fence 2", "fence_ms 20000", "fence_epoch 4", "self.db 5", "epoch 4",
                         "primary 1"):
                self.agent.do("set " + back)
            self.agent.do("publish")
            self.assertEqual(self.agent.get("/primary"), 200, name)

    def test_methods(self):
        self.live()
        for method in ("HEAD", "OPTIONS"):
            status, body, _ = self.agent.ask(method, "/primary")
            self.assertEqual((status, body), (200, ""))
            self.assertEqual(self.agent.ask(method, "/replica")[0], 503)
        status, body, headers = self.agent.ask("POST", "/primary")
        self.assertEqual(status, 405)
        self.assertEqual(headers["Allow"], "GET, HEAD, OPTIONS")
        self.assertIn("error", json.loads(body))

    def test_old_http_and_no_host(self):
        self.live()
        for line, status in ((b"OPTIONS / HTTP/1.0", b"200"), (b"GET /replica HTTP/1.0", b"503"),
                             (b"GET /primary HTTP/1.1\r\nConnection: close", b"200"),
                             (b"GET http://any/primary?x&=y&lag HTTP/1.0", b"200")):
            client = socket.create_connection(("127.0.0.1", self.agent.http), PATIENCE)
            client.sendall(line + b"\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
            client.close()
            self.assertEqual(answer.split(b" ", 2)[1], status, line)

    def test_bodies(self):
        self.live()
        node = json.loads(self.agent.ask("GET", "/patroni")[1])
        self.assertEqual((node["state"], node["role"], node["timeline"]),
                         ("running", "primary", 4))
        self.assertEqual(node["patroni"]["scope"], "demo")
        cluster = json.loads(self.agent.ask("GET", "/cluster")[1])
        self.assertEqual([m["role"] for m in cluster["members"]],
                         ["leader", "quorum_standby", "quorum_standby"])
        self.assertEqual(cluster["members"][2]["lag"], 256)
        history = json.loads(self.agent.ask("GET", "/history")[1])
        self.assertEqual(history[-1][0], 3)
        self.assertEqual(history[-1][4], "n1")
        status = json.loads(self.agent.ask("GET", "/v1/cluster")[1])
        self.assertEqual(status["leader"]["name"], "n1")
        self.assertEqual(self.agent.get("/v1/nothing"), 404)
        self.assertEqual(self.agent.get("/v1/events?since=x"), 400)

    def test_metrics_are_well_formed(self):
        self.live()
        status, text, headers = self.agent.ask("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        families, sample = {}, re.compile(
            r'^([a-z_0-9]+)\{scope="demo",name="n1"(,[a-z]+="[^"]*")*\} (-?[0-9.e+-]+)$')
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.split()[2:4]
                self.assertNotIn(name, families, "a family appears once")
                families[name] = kind
            elif not line.startswith("# HELP "):
                match = sample.match(line)
                self.assertTrue(match, line)
                # A histogram's samples carry what they are in their names.
                name = re.sub(r"_(bucket|sum|count)$", "", match.group(1))
                if families.get(name) == "histogram":
                    continue
                self.assertIn(match.group(1), families)
                if match.group(1).endswith("_total"):
                    self.assertEqual(families[match.group(1)], "counter")
        for name in ("patroni_primary", "mha4rdb_epoch", "mha4rdb_lease_seconds",
                     "mha4rdb_worker_restarts_total", "mha4rdb_member_lag_bytes",
                     "mha4rdb_last_failover_seconds", "mha4rdb_vip_renewals_total",
                     "mha4rdb_messages_dropped_total", "mha4rdb_raft_applied_index"):
            self.assertIn(name, families)
        self.assertRegex(text, r'mha4rdb_member_lag_bytes\{.*member="n3"\} 256\n')
        margins = [int(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith("mha4rdb_fence_margin_seconds_bucket{")]
        self.assertEqual(margins, sorted(margins), "buckets are cumulated")
        self.assertRegex(text, r'mha4rdb_fence_margin_seconds_bucket\{.*,le="\+Inf"\} '
                         + str(margins[-1]) + r"\n")
        self.assertRegex(text, r"mha4rdb_fence_margin_seconds_count\{[^}]*\} "
                         + str(margins[-1]) + r"\n")
        self.assertGreater(margins[-1], 0)

    def test_metrics_are_documented(self):
        self.live()
        helps, rows = {}, []
        for line in self.agent.ask("GET", "/metrics")[1].splitlines():
            if line.startswith("# HELP "):
                name, text = line[7:].split(" ", 1)
                helps[name] = text
            elif line.startswith("# TYPE "):
                name, kind = line[7:].split()
                rows.append(f"| `{name}` | {kind} | {helps[name]} |")
        path = os.path.join(os.path.dirname(__file__), "../../../docs/metrics.md")
        with open(path) as document:
            written = [line for line in document.read().splitlines() if line.startswith("| `")]
        self.assertEqual(written, rows, "docs/metrics.md is to be written anew")

    def test_promtool_finds_nothing(self):
        self.live()
        self.agent.ctl("status")
        text = self.agent.ask("GET", "/metrics")[1]
        # Names that Patroni gave are kept as they are.
        own = [line for line in text.splitlines(True)
               if not re.match(r"(# (HELP|TYPE) )?patroni_", line)]
        self.assertGreater(len(own), 100)
        check = subprocess.run(["promtool", "check", "metrics"], input="".join(own), text=True,
                               capture_output=True, timeout=PATIENCE)
        self.assertEqual((check.returncode, check.stdout + check.stderr), (0, ""))

    def test_rules_and_dashboard_use_what_is_there(self):
        self.live()
        families = set(re.findall(r"^# TYPE (\S+)", self.agent.ask("GET", "/metrics")[1], re.M))
        root = os.path.join(os.path.dirname(__file__), "../../..")
        rules = os.path.join(root, "deploy/prometheus/mha4rdb.rules.yml")
        check = subprocess.run(["promtool", "check", "rules", rules], text=True,
                               capture_output=True, timeout=PATIENCE)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        with open(rules) as file:
            alerts = file.read()
        with open(os.path.join(root, "deploy/grafana/mha4rdb.json")) as file:
            panels = json.load(file)["panels"]
        queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
        self.assertGreater(len(queries), 20)
        used = set(re.findall(r"\b(?:mha4rdb|patroni)_[a-z_]+", "\n".join(
            queries + re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n +(?:for|labels):", alerts))))
        self.assertGreater(len(used), 20)
        for name in sorted(used):
            self.assertIn(re.sub(r"_(bucket|sum|count)$", "", name), families)
        with open(os.path.join(root, "docs/operate.md")) as file:
            section = re.search(r"^## Alerts$(.*?)^## ", file.read(), re.M | re.S).group(1)
        runbook = re.findall(r"^### (\S+)", section, re.M)
        self.assertEqual(sorted(re.findall(r"- alert: (\S+)", alerts)), sorted(runbook))

    def test_keep_alive_serves_many_requests_on_one_connection(self):
        self.live()
        connection = http.client.HTTPConnection("127.0.0.1", self.agent.http, timeout=PATIENCE)
        for _ in range(200):
            connection.request("GET", "/primary")
            response = connection.getresponse()
            response.read()
            self.assertEqual(response.status, 200)
        connection.close()


class HttpAbuse(Case):
    def test_200_connections_at_once(self):
        self.live()
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(lambda _: self.agent.get("/primary"), range(200)))
        self.assertEqual(answers, [200] * 200)

    def test_300_silent_connections_leave_room_in_time(self):
        self.live()
        # Noise can only add to it: once in a few times is enough.
        for _ in range(4):
            silent = [socket.create_connection(("127.0.0.1", self.agent.http), PATIENCE)
                      for _ in range(300)]
            at = time.monotonic()
            self.assertTrue(until(self.answers))
            took = time.monotonic() - at
            for each in silent:
                each.close()
            if took < 15:
                break
        self.assertLess(took, 15)
        self.assertEqual(self.agent.get("/primary"), 200)

    def answers(self):
        try:
            return self.agent.ask("GET", "/primary", timeout=5)[0] == 200
        except OSError:
            return False

    def test_a_dripping_client_is_ended(self):
        self.live()
        at = time.monotonic()
        client = socket.create_connection(("127.0.0.1", self.agent.http), PATIENCE)
        ended = False
        while not ended and time.monotonic() - at < 2 * PATIENCE:
            try:
                client.sendall(b"G")
                client.settimeout(0.2)
                ended = client.recv(1000) == b""
            except socket.timeout:
                pass
            except OSError:
                ended = True
        self.assertTrue(ended)
        self.assertGreater(time.monotonic() - at, 8)
        client.close()

    def test_oversized_and_broken_requests(self):
        self.live()
        for data in (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n",
                     b"\0" * 5000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                     b"POST /primary HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n" +
                     b"z" * 100000,
                     b"GET /primary?" + b"&".join(b"a%d=%d" % (i, i) for i in range(100)) +
                     b" HTTP/1.1\r\nHost: x\r\n\r\n"):
            client = socket.create_connection(("127.0.0.1", self.agent.http), PATIENCE)
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except OSError:
                pass
            client.close()
            self.assertEqual(self.agent.get("/primary"), 200)

    def test_a_client_that_does_not_read(self):
        self.live()
        client = socket.create_connection(("127.0.0.1", self.agent.http), PATIENCE)
        client.setblocking(False)
        try:
            for _ in range(2000):
                client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        except BlockingIOError:
            pass
        self.assertEqual(self.agent.get("/primary"), 200)
        client.close()


class Requests(Case):
    def call(self, data, kind=b"DEALER"):
        client = Zmtp(self.agent.requests, kind)
        client.send(*([b"", data] if kind == b"REQ" else [data]))
        parts = client.receive()
        client.close()
        if kind == b"REQ":
            self.assertEqual(parts[0], b"")
        return fields(parts[-1])

    def test_leader_by_lease_only(self):
        self.live()
        leader = fields(self.call(request(GET_LEADER))[10][0])
        self.assertEqual((leader[1], leader[2]), ([1], [b"n1"]))
        self.agent.do("set lease_ms 0")
        self.agent.do("publish")
        leader = fields(self.call(request(GET_LEADER))[10][0])
        self.assertNotIn(1, leader)
        self.assertEqual(leader[2], [b"n1"])
        self.assertIn(b"lease", leader[9][0])

    def test_leader_as_a_standby_knows_it(self):
        self.agent.do("set node n2")
        self.agent.do("set as standby")
        self.live()
        leader = fields(self.call(request(GET_LEADER))[10][0])
        self.assertEqual((leader[1], leader[2]), ([1], [b"n1"]))
        self.agent.do("live 0")
        self.assertTrue(until(
            lambda: 1 not in fields(self.call(request(GET_LEADER))[10][0])))

    def test_req_sockets_too(self):
        self.live()
        reply = self.call(request(GET_STATUS, ident=99), b"REQ")
        self.assertEqual(reply[2], [99])
        self.assertEqual(fields(reply[11][0])[1], [b"demo"])

    def test_what_is_wrong_is_named(self):
        self.live()
        for data, words in ((b"\xff\xff\xff", b"Request"), (b"", b""),
                            (request(GET_STATUS, version=9), b"version 1"),
                            (request(77), b"request.call"),
                            (b"\xff" * 4096, b"Request")):
            reply = self.call(data)
            self.assertIn(3, reply, data[:10])
            self.assertIn(words, reply[4][0])
        client = Zmtp(self.agent.requests)
        client.send(b"a", b"b", b"c", b"d")
        self.assertIn(b"message", fields(client.receive()[-1])[4][0])
        client.close()

    def test_garbage_and_vandals_change_nothing(self):
        self.live()
        for data in (os.urandom(4000), b"GET / HTTP/1.1\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f",
                     b"\0" * 64):
            client = socket.create_connection(("127.0.0.1", self.agent.requests), PATIENCE)
            client.sendall(data)
            client.close()
        client = Zmtp(self.agent.requests)
        try:
            client.send(b"x" * 100000)
            client.receive()
            self.fail("an oversized frame must end the connection")
        except (EOFError, OSError):
            client.close()
        client.close()
        client = Zmtp(self.agent.requests)
        for i in range(3000):
            client.send(request(GET_HISTORY, ident=i))
        reply = self.call(request(GET_STATUS))
        self.assertIn(11, reply)
        client.close()
        self.assertEqual(self.agent.get("/primary"), 200)

    def test_events_are_kept_numbered_and_published(self):
        self.live()
        subscriber = Zmtp(self.agent.events, b"SUB")
        subscriber.send(b"\x01failover.")
        subscriber.send(b"\x01tip")
        # Until something is heard the subscription may be on its way.
        self.assertEqual(subscriber.receive()[0], b"tip")
        subscriber.send(b"\x00tip")
        self.assertTrue(until(
            lambda: self.agent.said_ok('event 5 0 member.changed {"node":"n2"}')))
        self.assertTrue(until(lambda: 13 in self.call(
            request(GET_EVENTS)) and 1 in fields(self.call(request(GET_EVENTS))[13][0])))
        self.agent.do('event 6 0 failover.assigned {"to":"n1"}')
        self.agent.do('event 6 1 failover.opened {"to":"n1"}')
        self.agent.do('event 6 1 failover.opened {"to":"n1","again":true}')
        topic, event = subscriber.receive()
        self.assertEqual(topic, b"failover.assigned")
        self.assertEqual(fields(event)[4], [b'{"to":"n1"}'])
        self.assertEqual(subscriber.receive()[0], b"failover.opened")
        self.assertEqual(fields(subscriber.receive()[1])[2], [2])
        subscriber.close()
        since = b"\x08\x06"
        events = fields(self.call(request(GET_EVENTS, body=since))[13][0])
        self.assertEqual([fields(e)[2][0] for e in events[1]], [1, 2])
        self.assertNotIn(2, events, "nothing between is missing")
        events = fields(self.call(request(GET_EVENTS, body=b"\x08\x01"))[13][0])
        self.assertEqual(events[2], [1], "what came before the first is not known")
        answer = self.agent.ctl("events", "--since", "6.0", "--json")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        events = json.loads(answer.stdout)
        self.assertEqual(len(events["events"]), 2)
        self.assertEqual(events["events"][0]["fields"], {"to": "n1"})
        http_events = json.loads(self.agent.ask("GET", "/v1/events?since=6")[1])
        self.assertEqual(http_events, events)

    def test_a_subscriber_finds_out_what_it_missed(self):
        self.live()
        self.assertTrue(until(lambda: self.agent.said_ok('event 5 0 member.changed {}'), 60))
        tips = Zmtp(self.agent.events, b"SUB")
        tips.send(b"\x01")
        seen = (0, 0)
        # Until something is heard the subscription may be on its way.
        tips.receive()
        self.agent.do('event 6 0 failover.assigned {}')
        self.agent.do('event 6 3 failover.opened {}')
        tip = False
        numbers = {}
        deadline = time.monotonic() + 60
        while not (tip and (6, 3) in numbers) and time.monotonic() < deadline:
            topic, event = tips.receive()
            event = fields(event)
            number, before = ((event.get(i, [0])[0], event.get(j, [0])[0])
                              for i, j in ((1, 2), (6, 7)))
            self.assertGreaterEqual(number, seen)
            seen = number
            if topic == b"tip":
                self.assertEqual(before, number)
                tip = number == (6, 3)
            else:
                numbers[number] = before
        self.assertEqual(numbers.get((6, 3)), (6, 0),
                         f"the one before, though the numbers do not touch: {numbers}")
        tips.close()
        # A snapshot says where the stream goes on; the rig's state contains no event at all.
        status = fields(self.call(request(GET_STATUS))[11][0])
        self.assertEqual((status.get(50, [0])[0], status.get(51, [0])[0]), (0, 0))
        self.agent.do("set event_index 6")
        self.agent.do("set event_sub 2")
        self.agent.do("publish")
        status = fields(self.call(request(GET_STATUS))[11][0])
        self.assertEqual((status[50], status[51]), ([6], [2]))


class Flood(Case):
    """A message without an end: ZeroMQ keeps its frames, so the process's own limit ends it."""

    def tearDown(self):
        self.agent.close()

    def test_memory_is_bounded_and_the_next_one_serves(self):
        pid = self.live()
        vandal = Zmtp(self.agent.requests)
        frames = (bytes([3]) + (4000).to_bytes(8, "big") + b"x" * 4000) * 64
        base = self.resident(pid)
        most = 0
        try:
            for _ in range(6000):
                vandal.socket.sendall(frames)
                most = max(most, self.resident(pid))
            self.fail("1.5 GB were taken")
        except OSError:
            pass
        self.assertLess(most - base, 400 << 20)
        vandal.close()
        self.agent.do("reap")
        self.agent.start()
        self.assertEqual(self.agent.get("/primary"), 200)

    @staticmethod
    def resident(pid):
        try:
            with open(f"/proc/{pid}/statm") as statm:
                return int(statm.read().split()[1]) * 4096
        except (OSError, IndexError):
            return 0


class Mhactl(Case):
    def test_answers(self):
        self.live()
        status = json.loads(self.agent.ctl("--json", "status").stdout)
        self.assertEqual(status["source"], "agent")
        self.assertEqual(status["leader"]["known"], True)
        self.assertEqual(status["leader"]["vip"], "10.77.0.100")
        self.assertEqual(status["mode"], "max_protection")
        text = self.agent.ctl("status").stdout
        self.assertIn("n1 at 10.77.0.11:5432", text)
        self.assertNotIn("\033", text)
        self.assertIn("| n3 ", self.agent.ctl("list").stdout)
        history = json.loads(self.agent.ctl("history", "--json").stdout)
        self.assertEqual([d["cause"] for d in history["decisions"]],
                         ["bootstrap", "database_down", "node_lost"])
        self.assertIn("detect 1004.0 ms", self.agent.ctl("history").stdout)
        version = json.loads(self.agent.ctl("version", "--json").stdout)
        self.assertEqual(version["agent"], version["mhactl"])
        over_tcp = self.agent.ctl("--endpoint", f"tcp://127.0.0.1:{self.agent.requests}",
                                  "list", "--json", run="/nowhere")
        self.assertEqual([m["name"] for m in json.loads(over_tcp.stdout)], ["n1", "n2", "n3"])

    def test_without_the_gateway_the_segment_answers(self):
        self.live()
        self.assertEqual(self.agent.do("stop"), "0")
        answer = self.agent.ctl("status", "--json")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("status segment", answer.stderr)
        status = json.loads(answer.stdout)
        self.assertEqual((status["source"], status["leader"]["known"]), ("segment", True))
        self.agent.do("live 0")
        self.assertTrue(until(lambda: not json.loads(
            self.agent.ctl("status", "--json").stdout)["leader"]["known"]))
        self.assertEqual(len(json.loads(
            self.agent.ctl("history", "--json").stdout)["decisions"]), 3)
        events = self.agent.ctl("events")
        self.assertEqual(events.returncode, 3)
        self.assertIn("running agent", events.stderr)

    def test_refusals(self):
        self.live()
        for args, words in ((["swithcover"], "switchover failover cancel mode"),
                            (["mode"], "NAME, --quorum or --pin"), (["auto-failover"], "on|off"),
                            (["auto-failover", "maybe"], "neither on nor off"),
                            (["maintenance", "on"], "on|off NODE"), (["failover"], "--to NODE"),
                            (["switchover", "--accept-loss"], "takes no --accept-loss"),
                            (["pause", "--for", "5"], "a number and its unit"),
                            (["switchover", "--at", "yesterday"], "a time is wanted"),
                            (["switchover", "--timeout", "0"], "more than 0"),
                            ([], "usage"), (["status", "list"], "usage"),
                            (["--since", "x", "events"], "INDEX"),
                            (["--since", "3", "status"], "takes no --since"),
                            (["--bogus", "status"], "bogus")):
            answer = self.agent.ctl(*args)
            self.assertEqual(answer.returncode, 2, args)
            self.assertIn(words, answer.stderr)
        nowhere = self.agent.ctl("status", run="/nowhere")
        self.assertEqual(nowhere.returncode, 3)
        self.assertIn("mhad", nowhere.stderr)
        wrong = self.agent.ctl("--endpoint", "udp://x", "status")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("tcp://", wrong.stderr)
        dead = self.agent.ctl("--endpoint", "tcp://127.0.0.1:1", "status")
        self.assertEqual(dead.returncode, 3)


class Life(Case):
    def test_stop_reload_and_kill(self):
        pid = self.live()
        self.agent.do("reload")
        self.assertEqual(self.agent.get("/primary"), 200)
        self.assertEqual(self.agent.do("stop"), "0")
        self.assertFalse(self.agent.listens(self.agent.http))
        # Its ports and its local socket are free for the next one at once.
        self.assertNotEqual(self.agent.start(), pid)
        self.assertEqual(self.agent.ctl("status").returncode, 0)

    def test_counters_reach_the_segment(self):
        self.live()
        for _ in range(3):
            self.agent.get("/primary")
        self.agent.ctl("status")
        self.assertTrue(until(lambda: re.search(
            r"mha4rdb_client_requests_total\{.*\} [1-9]", self.agent.ask("GET", "/metrics")[1])))
        self.assertTrue(until(lambda: 'section="gateway"} 1' in
                              self.agent.ask("GET", "/metrics")[1]))


class Terminal:
    """A program on a pseudo terminal."""

    def __init__(self, *argv, size=(24, 80), **environment):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execve(argv[0], list(argv), {"TERM": "xterm", "LC_ALL": "C.UTF-8", **environment})
        self.pid, self.seen = pid, b""
        self.resize(*size)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def keys(self, *keys):
        for key in keys:
            os.write(self.fd, key.encode())

    def shows(self, *words):
        """Everything that is written until all words came; then it is forgotten."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if all(word.encode() in self.seen for word in words):
                self.seen = b""
                return True
            if not select.select([self.fd], [], [], deadline - time.monotonic())[0]:
                break
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                break
        return False

    def end(self):
        """Its exit status."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Top(Case):
    def top(self, *args, **more):
        return subprocess.run([ARGS.top, *args], capture_output=True, text=True, timeout=PATIENCE,
                              **more)

    def local(self, *args, **more):
        return self.top("--run-dir", self.agent.run, *args, **more)

    def test_once(self):
        self.agent.do("publish")
        answer = self.local("--once", env={"LC_ALL": "C.UTF-8"})
        self.assertEqual(answer.returncode, 0, answer.stderr)
        for words in ("mha4rdb demo", "node n1", "epoch 4", "WORKERS", "FAILOVERS", "node_lost"):
            self.assertIn(words, answer.stdout)
        self.assertIn("█", answer.stdout)
        plain = self.local("--once", env={"LC_ALL": "C"})
        self.assertTrue(plain.stdout.isascii())
        picture = self.local("--once", "--svg").stdout
        self.assertTrue(picture.startswith("<svg") and picture.endswith("</svg>\n"))
        small = self.local("--once", "--size", "80x24", env={"LC_ALL": "C.UTF-8"}).stdout
        self.assertLessEqual(max(len(line) for line in small.splitlines()), 80)
        self.assertLessEqual(len(small.splitlines()), 24)
        # Without a terminal it prints once as well.
        for environment in ({"LC_ALL": "C"}, {"LC_ALL": "C", "TERM": "dumb"}):
            answer = self.local(env=environment, stdin=subprocess.DEVNULL)
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertIn("WORKERS", answer.stdout)
            self.assertNotIn("\033", answer.stdout)

    def test_json(self):
        self.live()
        whole = json.loads(self.local("--once", "--json").stdout)
        self.assertEqual(whole["status"]["source"], "segment")
        self.assertEqual(whole["status"]["vip_holder"], "n1")
        self.assertEqual([w["name"] for w in whole["status"]["workers"]],
                         ["consensus", "vip", "dbctl", "dbmon", "gateway"])
        self.assertEqual(len(whole["history"]["decisions"]), 3)
        remote = json.loads(self.top(f"127.0.0.1:{self.agent.requests}", "--once", "--json").stdout)
        self.assertEqual(remote["status"]["source"], "agent")
        self.assertEqual(remote["history"], whole["history"])

    def test_remote(self):
        self.live()
        self.assertTrue(until(lambda: self.agent.said_ok('event 5 0 member.changed {}')))
        answer = self.top(f"127.0.0.1:{self.agent.requests}", "--once", "--ascii")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        for words in ("mha4rdb demo", "n1 serves, VIP on n1", "WORKERS", "5.0 member.changed"):
            self.assertIn(words, answer.stdout)
        nobody = self.top("127.0.0.1:1", "--once")
        self.assertEqual(nobody.returncode, 3)
        self.assertIn("127.0.0.1:1: no answer", nobody.stderr)

    def test_what_was_recorded_is_replayed(self):
        self.live()
        folder = tempfile.TemporaryDirectory()  # it outlives the agent
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "run.top")
        recorder = subprocess.Popen([ARGS.top, f"127.0.0.1:{self.agent.requests}", "--interval",
                                     "50", "--record", path], stdin=subprocess.DEVNULL)
        self.assertTrue(until(lambda: os.path.exists(path) and os.path.getsize(path) > 5000))
        self.agent.do("set peer2.receiving 0")
        self.agent.do("publish")
        before = os.path.getsize(path)
        self.assertTrue(until(lambda: os.path.getsize(path) > before + 5000))
        recorder.terminate()
        self.assertEqual(recorder.wait(20), 0)
        self.agent.close()
        try:
            answer = self.top("--replay", path, "--once", "--ascii")
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertIn("n2: streaming -> detached", answer.stdout)
            self.assertIn("replay", self.top("--record", path, "--replay", path).stderr)
        finally:
            self.agent = Agent()

    def test_recordings_that_are_none(self):
        path = os.path.join(self.agent.base, "foreign")
        for content, words in ((b"", "no recording"), (b"mha-top record 1\n", "holds no frame"),
                               (b"mha-top record 7\nxx", "another format"),
                               (b"mha-top record 1\n\x09\0\0\0abcdefg", "is cut off"),
                               (b"#!/bin/sh\nexit 0\n# and more", "no recording")):
            with open(path, "wb") as file:
                file.write(content)
            answer = self.top("--replay", path, "--once")
            self.assertEqual(answer.returncode, 1, content)
            self.assertIn(words, answer.stderr)
        self.agent.do("publish")
        answer = self.local("--record", path, "--once")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("File exists", answer.stderr)

    def test_refusals(self):
        for args in (["--interval", "1"], ["--svg"], ["--json"], ["one", "two"],
                     ["--once", "--svg", "--json"], ["--once", "--size", "3x3"],
                     ["--run-dir", "/x", "host"], ["--bogus"]):
            self.assertEqual(self.top(*args).returncode, 2, args)
        nowhere = self.top("--once", "--run-dir", "/nowhere")
        self.assertEqual(nowhere.returncode, 3)
        self.assertIn("mhad", nowhere.stderr)

    def test_on_a_terminal(self):
        self.agent.do("live 50")
        screen = Terminal(ARGS.top, "--run-dir", self.agent.run, "--interval", "100")
        self.assertTrue(screen.shows("MEMBER", "n3", "WORKERS"))
        screen.keys("h")
        self.assertTrue(screen.shows("sort members"))
        screen.keys("x")
        self.assertTrue(screen.shows("WORKERS"))
        screen.keys("s")
        self.assertTrue(screen.shows("▾"))
        screen.keys("d")
        self.assertTrue(screen.shows("DECISION 1 of 3", "No acknowledged commit was lost"))
        screen.keys("\033OD")
        self.assertTrue(screen.shows("2", "database_down"))
        screen.keys("x")
        self.assertTrue(screen.shows("WORKERS"))
        screen.resize(50, 160)
        self.assertTrue(screen.shows("LSN RACE", "EVENTS"))
        screen.keys("q")
        self.assertEqual(screen.end(), 0)

    def test_without_colours(self):
        self.agent.do("live 50")
        for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            screen = Terminal(ARGS.top, "--run-dir", self.agent.run, "--interval", "100",
                              **environment)
            self.assertTrue(until(lambda: screen.seen or select.select([screen.fd], [], [], 0)[0]))
            deadline = time.monotonic() + PATIENCE
            while b"WORKERS" not in screen.seen and time.monotonic() < deadline:
                screen.seen += os.read(screen.fd, 65536)
            self.assertEqual(bool(re.search(rb"\033\[3[0-9]m", screen.seen)), coloured)
            screen.keys("q")
            self.assertEqual(screen.end(), 0)

    def test_a_switchover_is_typed(self):
        self.live()
        self.assertTrue(until(lambda: self.agent.said_ok('event 5 0 member.changed {}')))
        self.assertTrue(until(lambda: '"index": 5' in self.agent.ctl("events", "--json").stdout))
        self.agent.do("answer 0 0 2 30")
        screen = Terminal(ARGS.top, "--run-dir", self.agent.run, "--interval", "100")
        self.assertTrue(screen.shows("WORKERS"))
        screen.keys("S")
        self.assertTrue(screen.shows("this member is the primary"))
        screen.keys("x", "j", "S")
        self.assertTrue(screen.shows("Type the name of the new primary (n2)"))
        screen.keys("n3\r")
        self.assertTrue(screen.shows("nothing was changed"))
        self.assertEqual(self.agent.do("calls").split()[0], "0")
        screen.keys("x", "S", "n2\r")
        self.assertTrue(screen.shows("is on record as operation 30"))
        self.assertEqual(self.agent.do("calls").split()[:3], ["1", "1", "2"])
        screen.keys("x", "q")
        self.assertEqual(screen.end(), 0)
        remote = Terminal(ARGS.top, f"127.0.0.1:{self.agent.requests}", "--interval", "100")
        self.assertTrue(remote.shows("WORKERS"))
        remote.keys("j", "S")
        self.assertTrue(remote.shows("asked for on a member"))
        remote.keys("x", "q")
        self.assertEqual(remote.end(), 0)


def main():
    """The programs under test from the command line; the rest is for unittest."""
    global ARGS
    parser = argparse.ArgumentParser()
    for name in ("gateway", "rig", "mhactl", "top", "keygen", "routes", "trace"):
        parser.add_argument("--" + name, required=True)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0]] + rest)


if __name__ == "__main__":
    main()
