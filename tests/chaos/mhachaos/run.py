"""One run: a cluster, a load, episodes of faults, and what the checkers say."""

import heapq
import json
import os
import shutil
import subprocess
import sys
import time

import psycopg2

from mhalab import config, judge
from mhalab.lab import PG_BIN, Lab, say
from mhalab.probe import (Probe, absentees, conninfo, connect, query, settled, wait_serving)
from mhalab.system import LabError, in_netns, netns_file, now_ns, wait_until

from . import faults, history, plan, report

HERE = os.path.dirname(os.path.abspath(__file__))
DISK_MB = 3072
SUFFIX = "-logs"


class Tail:
    """The lines that were added to a file since the last look."""

    def __init__(self, path):
        self.path = path
        self.offset = 0

    def lines(self):
        try:
            with open(self.path, "rb") as handle:
                handle.seek(self.offset)
                data = handle.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self.offset += end
        return data[:end].decode("ascii").splitlines(keepends=True)


class Load:
    """The process with the clients of the lists."""

    def __init__(self, lab, directory, seed, clients):
        os.makedirs(directory, exist_ok=True)
        self.log = os.path.join(directory, "lists.log")
        rows = [{"netns": lab.plan["client_ns"], "node": "", "pace_ms": 40,
                 "conninfo": conninfo(lab, config.VIP)} for _ in range(clients)]
        rows += [{"netns": node["ns"], "node": node["name"], "pace_ms": 200,
                  "conninfo": conninfo(lab, node["addr"])} for node in lab.data_nodes]
        self.plan_path = os.path.join(directory, "lists.plan")
        with open(self.plan_path, "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as handle:
            json.dump({"seed": seed, "log": self.log, "clients": rows}, handle)
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "load.py"), self.plan_path],
            stdin=subprocess.PIPE)

    def check(self):
        if self.process is not None and self.process.poll() is not None:
            raise LabError("the clients of the lists have ended early")

    def stop(self):
        if self.process is None:
            return
        self.process.stdin.close()
        self.process.wait(60)
        self.process = None


class Chaos:
    """Everything of one run; `result` is what --json writes."""

    def __init__(self, options):
        self.options = options
        self.logs = options.keep_logs or options.dir + SUFFIX
        self.lab = self.world = self.probe = self.load = None
        self.history = history.History()
        self.twins = report.Twins()
        self.written = []  # acknowledged ids that were not looked for yet, as judge.Write
        self.ids = []      # all that were looked for
        self.last_ack = None
        self.began = 0.0
        self.records = []  # reads of several keys, for the end
        self.result = {"seed": options.seed, "layout": options.layout, "mode": options.mode,
                       "minutes": 0.0, "episodes": [], "acknowledged": 0, "missing": 0,
                       "missing_ids": [], "twin_moments": 0, "twins": [], "needing_human": [],
                       "anomalies": {}, "samples": {}, "outcomes": self.history.outcomes,
                       "reads": 0, "calls": {}, "trouble": "", "logs": "", "passed": False}

    # -- the cluster ------------------------------------------------------------------------

    def build(self):
        options = self.options
        data, witness = plan.LAYOUTS[options.layout]
        settings = [("protection.mode", options.mode), *options.set]
        shutil.rmtree(self.logs, ignore_errors=True)
        self.lab = Lab.create(options.dir, data, witness, settings, options.prefix,
                              options.bin_dir, disk_mb=DISK_MB)
        self.lab.build()
        for node in self.lab.nodes:
            self.lab.start(node)
        wait_serving(self.lab, self.logs + "/up", options.deadline)
        self.world = faults.World(self.lab, options.mode)
        self.wait_whole()

    def kinds(self):
        """
        What the seed chooses from. What cannot be done here is named, and stays in the choice: a
        seed means the same faults everywhere.
        """
        wanted = self.options.faults or faults.names()
        self.world.find_absent(wanted)
        if self.world.absent:
            say(f"not available here: {', '.join(sorted(self.world.absent))}")
        if self.world.absent >= set(wanted):
            raise LabError("no kind of fault is left")
        return wanted

    def start_load(self):
        self.probe = Probe(self.lab, self.logs + "/probe", pace_ms=self.options.pace)
        self.load = Load(self.lab, self.logs + "/lists", self.options.seed, self.options.clients)
        self.writer_tail = Tail(judge.log_path(self.probe.directory, "writer"))
        self.poll_tails = [(node, Tail(judge.log_path(self.probe.directory, name)))
                           for node, name in self.probe.polls]
        self.list_tail = Tail(self.load.log)
        self.probe.start()
        self.load.start()
        self.probe.wait_acknowledged(100, self.options.deadline, "the writer")

    def wait_whole(self):
        """Until every node serves or follows and is on record, and writes go on."""
        began = time.monotonic()
        deadline = began + self.options.deadline
        while absentees(self.lab) or not settled(self.lab):
            if time.monotonic() > deadline:
                self.result["needing_human"] = absentees(self.lab) or ["the record"]
                raise LabError(f"not whole {self.options.deadline:.0f} s after everything was "
                               f"healed: {', '.join(self.result['needing_human'])}")
            time.sleep(0.1)
        if self.probe is not None:
            self.probe.wait_acknowledged(20, self.options.deadline, "writes to go on")
        return time.monotonic() - began

    # -- one episode ------------------------------------------------------------------------

    def episode(self, number, acts):
        """Do the acts, undo them, wait until the cluster is whole, check."""
        row = {"number": number, "plan": plan.describe(acts), "acts": [], "outage_ms": None,
               "whole_s": None}
        self.result["episodes"].append(row)
        self.world.begin()
        began_ns, began = now_ns(), time.monotonic()
        due = [(act.at, i, act, None) for i, act in enumerate(acts)]
        heapq.heapify(due)
        while due:
            at, i, act, undo = heapq.heappop(due)
            time.sleep(max(0.0, began + at - time.monotonic()))
            if undo is not None:
                self.undo(row, act, undo)
                continue
            undo = self.do(row, act)
            if undo is not None:
                heapq.heappush(due, (time.monotonic() - began + act.hold, i, act, undo))
        self.world.heal()
        row["calls"] = list(self.world.notes)
        row["whole_s"] = self.wait_whole()
        self.checkpoint(row, began_ns)

    def do(self, row, act):
        entry = {"kind": act.kind, "where": act.where, "was_primary": False, "node": ""}
        row["acts"].append(entry)
        try:
            entry["node"], entry["was_primary"], undo = faults.do(self.world, act)
            return undo
        except faults.Skip as reason:
            entry["skipped"] = str(reason)
            return None

    def undo(self, row, act, undo):
        """What is not there any more, such as a process that was replaced, needs no undoing."""
        try:
            undo()
        except LabError as trouble:
            row.setdefault("undo", []).append(f"{act.kind}: {trouble}")

    # -- checks -----------------------------------------------------------------------------

    def take(self):
        """Read on in every log; the writer's new acknowledged writes."""
        fresh, _ = judge.parse_log(self.writer_tail.lines())
        for node, tail in self.poll_tails:
            self.twins.add(node, judge.parse_log(tail.lines())[0])
        for line in self.list_tail.lines():
            record = json.loads(line)
            self.history.add(record)
            if len(record.get("r", ())) > 1 and self.history.bundles:
                self.records.append(record)
        self.written += fresh
        self.result["acknowledged"] += len(fresh)
        self.result["reads"] = self.history.reads
        return fresh

    def checkpoint(self, row, began_ns):
        """What was acknowledged in this episode is there, on every node; nobody saw a twin."""
        time.sleep(0.3)  # the logs are flushed five times a second
        self.load.check()
        fresh = self.take()
        known = ([self.last_ack] if self.last_ack else []) + fresh
        found = judge.outage(known, began_ns) or {}
        row["outage_ms"] = found.get("outage_ms")
        row["further_gaps"] = found.get("further_gaps", [])
        if fresh:
            self.last_ack = max(fresh, key=lambda write: write.answered)
        keys, self.history.touched = sorted(self.history.touched), set()
        before = now_ns()
        present, finals, nodes = self.read_everywhere(keys)
        self.take()
        self.count_missing(present)
        findings = history.check(self.history, finals, nodes, before, keys)
        torn = history.Findings()
        history.check_torn_reads(self.records, self.history, torn)
        self.records.clear()
        self.merge(torn)  # these records are not kept; all others are looked at again in the end
        row["anomalies"] = findings.violations(self.may_lose())
        row["vanished"] = findings.counts["unacknowledged-vanished"]
        self.result["twin_moments"] = self.twins.moments()
        self.progress(row)
        if row["anomalies"] or torn.violations() or self.result["twin_moments"] or \
                (self.result["missing"] and not self.may_lose()):
            self.merge(findings)
            raise LabError("a checker found a violation")

    def may_lose(self):
        return self.options.mode == "max_performance"

    def merge(self, findings):
        for name, count in findings.counts.items():
            self.result["anomalies"][name] = self.result["anomalies"].get(name, 0) + count
        for name, texts in findings.samples.items():
            self.result["samples"].setdefault(name, []).extend(texts)

    def read_everywhere(self, keys):
        """
        The ledger's ids and the lists, from the VIP's node and then from every data node, after it
        has replayed as far: ({place: ids}, {key: list}, {node: {key: list}}).
        """
        lowest = min((write.id for write in self.written), default=0)
        ids_sql = f"SELECT id FROM probe_writes WHERE id >= {lowest}"
        lists_sql = ("SELECT key, vals FROM lists WHERE key = ANY(ARRAY["
                     f"{','.join(map(str, keys))}]::int[])")
        self.expected = {write.id for write in self.written}
        link = self.connect_patiently(config.VIP, None)
        with link.cursor() as cursor:
            cursor.execute(lists_sql)
            finals = dict(cursor.fetchall())
            cursor.execute(ids_sql)
            present = {"the VIP": {found[0] for found in cursor.fetchall()}}
            cursor.execute("SELECT pg_current_wal_insert_lsn()")
            goal = cursor.fetchone()[0]
        link.close()
        nodes = {}
        for node in self.lab.data_nodes:
            self.wait_replayed(node, goal)
            link = self.connect_patiently(node["addr"], node["ns"])
            with link.cursor() as cursor:
                cursor.execute(lists_sql)
                nodes[node["name"]] = dict(cursor.fetchall())
                cursor.execute(ids_sql)
                present[node["name"]] = {found[0] for found in cursor.fetchall()}
            link.close()
        return present, finals, nodes

    def connect_patiently(self, address, namespace):
        """A connection, as soon as there is one: the load may have taken all of them."""
        def attempt():
            try:
                return connect(self.lab, address, namespace, 60)
            except (psycopg2.Error, OSError):
                return None
        return wait_until(attempt, 60, f"a connection to {address}", 0.1)

    def wait_replayed(self, node, goal):
        sql = (f"SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '{goal}'::pg_lsn")

        def caught_up():
            try:
                return query(self.lab, node["addr"], sql, node["ns"])[0][0]
            except (psycopg2.Error, LabError, OSError):
                return False
        wait_until(caught_up, self.options.deadline, f"{node['name']} to catch up")

    def count_missing(self, present):
        """Acknowledged ids that are not on some node."""
        for place, ids in present.items():
            lost = sorted(self.expected - ids)
            if lost:
                self.result["missing"] += len(lost)
                self.result["missing_ids"] += [f"{number} on {place}" for number in lost[:10]]
        self.ids += sorted(self.expected)
        self.written = [write for write in self.written if write.id not in self.expected]

    def final_check(self):
        """Everything that was ever acknowledged, against every node, with nothing under way."""
        self.load.stop()
        self.probe.stop()
        self.world.heal()
        self.take()
        ids = [write.id for write in self.written] + self.ids
        self.written = [judge.Write(number, 0, 0, "") for number in ids]
        self.ids = []
        self.result["missing"], self.result["missing_ids"] = 0, []
        present, finals, nodes = self.read_everywhere(sorted(self.history.keys))
        self.count_missing(present)
        findings = history.check(self.history, finals, nodes)
        history.check_torn_reads(self.records, self.history, findings)
        self.merge(findings)
        self.result["twin_moments"] = self.twins.moments()

    # -- telling ----------------------------------------------------------------------------

    def progress(self, row):
        elapsed = time.monotonic() - self.began
        share = min(100, 100 * elapsed / (60 * self.options.minutes))
        done = "; ".join(f"{act['kind']} {act['node'] or act['where']}"
                         + (" (primary)" if act["was_primary"] else "")
                         + (" not done" if act.get("skipped") else "") for act in row["acts"])
        gaps = "".join(f" +{length}" for _, length in row.get("further_gaps", [])[:4])
        outage = row["outage_ms"]
        say(f"[{elapsed:6.0f} s {share:3.0f}%] #{row['number']} {done}: outage "
            f"{'-' if outage is None else f'{outage:.0f}'}{gaps} ms, whole after "
            f"{row['whole_s']:.1f} s, {self.result['acknowledged']} acknowledged, "
            f"{self.result['missing']} missing, {self.result['twin_moments']} twins"
            + (f", {row['vanished']} unacknowledged vanished" if row.get("vanished") else "")
            + (f", {row['anomalies']}" if row.get("anomalies") else ""))

    def keep_logs(self):
        """What a person needs to find the cause."""
        self.result["logs"] = self.logs
        lab = self.lab
        if lab is None:
            return
        lab.keep_logs(self.logs)
        for node in lab.nodes:
            for name, command in dumps(lab, node).items():
                path = os.path.join(self.logs, node["name"], name)
                with open(path, "w", encoding="utf-8") as handle:
                    handle.write(output(node, command))
        with open(os.path.join(self.logs, "episodes.json"), "w", encoding="utf-8") as handle:
            json.dump(self.result, handle, indent=1)

    # -- all of it --------------------------------------------------------------------------

    def episodes(self):
        options = self.options
        settings = plan.Settings(options.layout, options.mode, self.kinds())
        self.start_load()
        self.began = time.monotonic()
        number = options.first
        while time.monotonic() - self.began < 60 * options.minutes:
            acts = plan.episode(settings, options.seed, number)
            self.episode(number, acts)
            number += 1

    def run(self):
        """True when nothing was lost, nobody was a twin and no human was needed."""
        result = self.result
        try:
            self.build()
            self.episodes()
            self.final_check()
        except (LabError, psycopg2.Error, OSError) as trouble:
            result["trouble"] = f"{type(trouble).__name__}: {trouble}"
            if result["episodes"]:
                result["trouble"] += f" (episode {result['episodes'][-1]['number']}: " \
                                     f"{result['episodes'][-1]['plan']})"
        except KeyboardInterrupt:
            result["trouble"] = "interrupted"
        finally:
            if self.began:
                result["minutes"] = (time.monotonic() - self.began) / 60
            if self.world is not None:
                result["calls"] = self.world.outcomes
            result["twins"] = self.twins.texts()
        violations = {name: count for name, count in result["anomalies"].items() if count
                      and name not in history.BY_DESIGN
                      and not (self.may_lose() and name in ("lost", "torn"))}
        # As far as it was looked: after trouble the last episode's writes were not read back.
        result["safe"] = not (violations or result["twin_moments"]
                              or (result["missing"] and not self.may_lose()))
        result["passed"] = result["safe"] and not result["trouble"]
        return result["passed"]

    def close(self):
        """End the load and the lab, keep the logs of a run that failed."""
        try:
            if not self.result["passed"] or self.options.keep_logs:
                self.keep_logs()
        finally:
            for part in (self.load, self.probe):
                if part is not None:
                    try:
                        part.stop()
                    except (LabError, OSError, subprocess.SubprocessError) as trouble:
                        say(f"chaos: {trouble}")
            if self.lab is not None and not (self.options.keep and not self.result["passed"]):
                self.lab.down()
        if self.result["passed"] and not self.options.keep_logs:
            shutil.rmtree(self.logs, ignore_errors=True)


def dumps(lab, node):
    """Commands whose output tells what a node is up to."""
    mhactl = [lab.tool("mhactl", "bin_dir"), "--run-dir", node["run_dir"]]
    commands = {"status.txt": [*mhactl, "status"], "status.json": [*mhactl, "--json", "status"],
                "history.txt": [*mhactl, "history"], "why.txt": [*mhactl, "why"],
                "events.txt": [*mhactl, "events"], "addresses.txt": ["ip", "address"],
                "nft.txt": ["nft", "list", "ruleset"]}
    host = lab.host(node)
    if host is not None:
        commands["ps.txt"] = ["nsenter", "-t", str(host.pid), "-p", "-m", "ps", "-eLo",
                              "pid,tid,ppid,stat,wchan:20,etime,args"]
    if node["kind"] == "data":
        commands["control.txt"] = [f"{PG_BIN}/pg_controldata", node["pgdata"]]
        commands["files.txt"] = ["ls", "-la", os.path.dirname(node["pgdata"]), node["pgdata"]]
        commands["sessions.txt"] = [
            "setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
            f"{PG_BIN}/psql", "-h", node["socket_dir"], "-d", config.DBNAME, "-xX", "-c",
            "SELECT * FROM pg_stat_activity", "-c", "SELECT * FROM pg_stat_replication"]
    return commands


def output(node, command):
    """Of a command inside the node's network, whatever becomes of it."""
    def work():
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False,
                                  timeout=10, errors="replace")
            return done.stdout + done.stderr
        except (OSError, subprocess.SubprocessError) as trouble:
            return f"{trouble}\n"
    try:
        return in_netns(node["ns"], work) if os.path.exists(netns_file(node["ns"])) else ""
    except LabError as trouble:
        return f"{trouble}\n"
