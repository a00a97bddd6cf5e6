"""
Scenarios with programs of others, as Debian ships them, in front of a real cluster: HAProxy asks the
agents where to send clients, Prometheus scrapes them, through a failover and a switchover.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import psycopg2

from . import config, operations
from .library import TABLE, make_table
from .system import LabError, enter_netns, in_netns, now_ns, wait_until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
WRITES, READS, STATS = 5000, 5001, 7000  # ports of deploy/haproxy/haproxy.cfg, and of Patroni's
PROMETHEUS = 9090
READ_ONLY = "25006"  # read_only_sql_transaction
ROWS = 200

# What Patroni's users have: checks by OPTIONS /, at the port 8008, every 3 s.
PATRONI_CFG = """
global
    maxconn 100
defaults
    log global
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
listen stats
    mode http
    bind *:7000
    stats enable
    stats uri /
listen primary
    bind *:5000
    option httpchk
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
{servers}
listen replicas
    bind *:5001
    option httpchk OPTIONS /replica
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
{servers}
"""


def host(node):
    """Its address as it stands before a port."""
    return f"[{node['addr']}]" if ":" in node["addr"] else node["addr"]


def patroni_cfg(nodes):
    return PATRONI_CFG.format(servers="\n".join(
        f"    server {n['name']} {host(n)}:{config.PG_PORT} maxconn 100 check port 8008"
        for n in nodes))


def deployed(path, nodes):
    """A file of deploy/ with the names and addresses of this laboratory, and nothing else changed."""
    with open(os.path.join(ROOT, "deploy", path), encoding="utf-8") as handle:
        text = handle.read()
    for number, node in enumerate(nodes):
        text = text.replace(f"node-{'abc'[number]} ", f"{node['name']} ")
        text = text.replace(f"10.0.0.1{number + 1}:", f"{host(node)}:")
    return text


class Peer:
    """A program on the clients' host, with a directory of its own."""

    def __init__(self, run, name):
        self.run = run
        self.name = name
        self.dir = tempfile.mkdtemp(prefix=f"mha-{name}-")
        self.log = os.path.join(self.dir, "log")
        self.process = None

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
        return path

    def start(self, *command):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir,
                preexec_fn=lambda: enter_netns(self.run.lab.plan["client_ns"]))

    def get(self, url):
        """What it answers on the clients' host; None: nothing."""
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as handle:
                raise LabError(f"{self.name} has ended: {handle.read()[-500:]}")

        def ask():
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return answer.read().decode()
            except (OSError, urllib.error.URLError):
                return None
        return in_netns(self.run.lab.plan["client_ns"], ask)

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir)


class Haproxy(Peer):
    """Debian's HAProxy with this configuration."""

    def __init__(self, run, text):
        super().__init__(run, "haproxy")
        self.start("haproxy", "-db", "-f", self.file("haproxy.cfg", text))

    def up(self, service):
        """The servers that it sends clients to."""
        text = self.get(f"http://127.0.0.1:{STATS}/;csv")
        if text is None:
            return None
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return sorted(row["svname"] for row in rows if row["pxname"] == service
                      and row["svname"] not in ("FRONTEND", "BACKEND")
                      and row["status"].startswith("UP"))

    def settled(self):
        """Until it knows the primary and the standbys as they are."""
        primary = self.run.lab.primary()["name"]
        others = sorted(n["name"] for n in self.run.lab.data_nodes if n["name"] != primary)
        wait_until(lambda: self.up("primary") == [primary], self.run.deadline,
                   f"HAProxy to send writes to {primary} only")
        wait_until(lambda: self.up("replicas") == others, self.run.deadline,
                   f"HAProxy to send reads to {others}")


def connect(run, port):
    return psycopg2.connect(host="127.0.0.1", port=port, user=config.USER, dbname=config.DBNAME,
                            password=run.lab.plan["password"], connect_timeout=5,
                            sslmode="disable", gssencmode="disable")


class Writer:
    """A client that writes one row after the other through HAProxy and knows of no cluster."""

    def __init__(self, run):
        self.run = run
        self.acknowledged = []  # (id, address of the server)
        self.answered = []  # when each of them was, by now_ns()
        self.errors = 0
        self.on_standby = 0  # writes that came to a standby, which has refused them
        self.trouble = None
        self.stop = threading.Event()
        self.client = 7_000_000 + int(time.time()) % 1_000_000
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        try:
            enter_netns(self.run.lab.plan["client_ns"])
            connection, number = None, 0
            while not self.stop.is_set():
                number += 1
                try:
                    if connection is None:
                        connection = connect(self.run, WRITES)
                        connection.autocommit = True
                    with connection.cursor() as cursor:
                        cursor.execute(f"INSERT INTO {TABLE} VALUES (%s, %s) "
                                       "RETURNING host(inet_server_addr())", (self.client, number))
                        self.acknowledged.append((number, cursor.fetchone()[0]))
                        self.answered.append(now_ns())
                except psycopg2.Error as error:
                    self.errors += 1
                    self.on_standby += error.pgcode == READ_ONLY
                    if connection is not None:
                        connection.close()
                    connection = None
                    self.stop.wait(0.05)
                self.stop.wait(0.002)
        except BaseException as trouble:  # told by whoever waits for it
            self.trouble = trouble

    def goes_on(self, rows=ROWS):
        """Until so many more were written, all of the last ones on the primary."""
        end = len(self.acknowledged) + rows

        def check():
            if self.trouble is not None:
                raise LabError(f"the writer ended: {self.trouble}")
            return len(self.acknowledged) >= end
        wait_until(check, self.run.deadline, f"{rows} writes through HAProxy")

    def reached(self, node):
        """Until writes come to this node, and from then on to no other."""
        wait_until(lambda: self.acknowledged and self.acknowledged[-1][1] == node["addr"],
                   self.run.deadline, f"a write through HAProxy on {node['name']}")
        at = len(self.acknowledged)
        self.goes_on()
        elsewhere = {address for _, address in self.acknowledged[at:]} - {node["addr"]}
        if elsewhere:
            raise LabError(f"writes went to {elsewhere} when {node['name']} was primary")

    def no_errors(self):
        """Nothing fails when nothing happens."""
        before = self.errors
        self.goes_on()
        if self.errors != before:
            raise LabError(f"{self.errors - before} errors though nothing happened")

    def end(self):
        """Every row that was acknowledged is there, wherever it was written."""
        self.stop.set()
        self.thread.join(self.run.deadline)
        done = subprocess.run(
            ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "psql",
             "-AtqX", "-h", self.run.lab.primary()["socket_dir"], "-p", str(config.PG_PORT), "-d",
             config.DBNAME, "-c", f"SELECT id FROM {TABLE} WHERE client = {self.client}"],
            capture_output=True, text=True, timeout=self.run.deadline, check=True)
        there = {int(line) for line in done.stdout.split()}
        missing = [number for number, _ in self.acknowledged if number not in there]
        if missing:
            raise LabError(f"{len(missing)} rows that were acknowledged through HAProxy are missing")


def read_on_standbys(run, count=10):
    """Reads by the other port come to standbys."""
    def work():
        answers = []
        for _ in range(count):
            connection = connect(run, READS)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                answers.append(cursor.fetchone()[0])
            connection.close()
        return answers
    if not all(in_netns(run.lab.plan["client_ns"], work)):
        raise LabError("a read for standbys came to a primary")


def through_haproxy(run, text):
    make_table(run)
    proxy, writer = Haproxy(run, text), None
    try:
        proxy.settled()
        writer = Writer(run)
        writer.no_errors()
        read_on_standbys(run)
        victim = run.lab.primary()
        run.fault("node-crash", victim)
        run.moved(victim)
        writer.reached(run.lab.primary())
        crash = writer.errors
        run.repair("start", victim)
        run.whole()
        proxy.settled()
        operations.in_sync(run)
        seconds = operations.switch(run, operations.other_data(run, run.lab.primary()))
        writer.reached(run.lab.primary())
        proxy.settled()
        switched = writer.errors - crash
        writer.no_errors()
        read_on_standbys(run)
        writer.end()
        run.notes.append(f"{len(writer.acknowledged)} writes through HAProxy, {crash} failed "
                         f"attempts in the failover, {switched} in the switchover, "
                         f"{writer.on_standby} of them refused by a standby")
        return seconds
    finally:
        if writer is not None:
            writer.stop.set()
        proxy.close()


def haproxy(run):
    """HAProxy with deploy/haproxy/haproxy.cfg: writes reach the primary, reads the standbys"""
    return through_haproxy(run, deployed("haproxy/haproxy.cfg", run.lab.data_nodes))


def haproxy_patroni(run):
    """HAProxy as Patroni's users have it: OPTIONS / on port 8008, every 3 s"""
    return through_haproxy(run, patroni_cfg(run.lab.data_nodes))


class Prometheus(Peer):
    """Debian's Prometheus with the files of deploy/, scraping every second."""

    def __init__(self, run):
        super().__init__(run, "prometheus")
        text = deployed("prometheus/prometheus.yml", run.lab.data_nodes)
        shutil.copy(os.path.join(ROOT, "deploy/prometheus/mha4rdb.rules.yml"), self.dir)
        self.start("prometheus", "--config.file",
                   self.file("prometheus.yml", re.sub(r"_interval: \S+", "_interval: 1s", text)),
                   "--storage.tsdb.path", os.path.join(self.dir, "data"),
                   "--web.listen-address", f"127.0.0.1:{PROMETHEUS}")

    def api(self, path):
        text = self.get(f"http://127.0.0.1:{PROMETHEUS}/api/v1/{path}")
        return json.loads(text)["data"] if text is not None else None

    def query(self, expression):
        """The result's values by the label `name`, or None."""
        data = self.api("query?" + urllib.parse.urlencode({"query": expression}))
        if data is None:
            return None
        return {row["metric"].get("name", ""): float(row["value"][1]) for row in data["result"]}

    def wait(self, expression, wanted):
        """Until it says so."""
        last = {}

        def check():
            last["seen"] = self.query(expression)
            return last["seen"] == wanted
        try:
            wait_until(check, self.run.deadline, f"{expression} to be {wanted}", 0.3)
        except LabError as trouble:
            raise LabError(f"{trouble}; it is {last.get('seen')}") from None

    def all_up(self):
        self.wait("sum(up)", {"": float(len(self.run.lab.data_nodes))})

    def knows_primary(self):
        self.wait("patroni_primary == 1", {self.run.lab.primary()["name"]: 1.0})


def check_metrics(run):
    """promtool finds nothing in what is ours on any node; names that Patroni gave are kept."""
    for node in run.lab.data_nodes:
        text = in_netns(run.lab.plan["client_ns"], lambda at=node: urllib.request.urlopen(
            f"http://{host(at)}:{config.HTTP_PORT}/metrics", timeout=30).read().decode())
        own = [line for line in text.splitlines(True)
               if not re.match(r"(# (HELP|TYPE) )?patroni_", line)]
        done = subprocess.run(["promtool", "check", "metrics"], input="".join(own), text=True,
                              capture_output=True, timeout=run.deadline, check=False)
        if done.returncode != 0 or done.stdout or done.stderr or len(own) < 100:
            raise LabError(f"promtool of {node['name']}: {done.stdout}{done.stderr}")


def prometheus(run):
    """Prometheus scrapes the agents through a failover and a switchover; promtool finds nothing"""
    peer = Prometheus(run)
    try:
        peer.all_up()
        peer.knows_primary()
        rules = peer.api("rules")["groups"][0]["rules"]
        victim = run.lab.primary()
        run.fault("node-crash", victim)
        run.moved(victim)
        peer.knows_primary()
        peer.wait("up == 0", {"": 0.0})
        run.repair("start", victim)
        run.whole()
        peer.all_up()
        operations.in_sync(run)
        seconds = operations.switch(run, operations.other_data(run, run.lab.primary()))
        peer.knows_primary()
        check_metrics(run)
        wait_until(lambda: all(rule["health"] == "ok" for rule in
                               peer.api("rules")["groups"][0]["rules"]),
                   run.deadline, "every alert rule to be evaluated without an error", 0.5)
        run.notes.append(f"{len(rules)} alert rules are evaluated")
        return seconds
    finally:
        peer.close()


SCENARIOS = {"haproxy": haproxy, "haproxy-patroni": haproxy_patroni, "prometheus": prometheus}
