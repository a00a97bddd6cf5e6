"""The probe: a writer through the VIP and two pollers per node, run as one C program."""

import json
import os
import subprocess
import threading
import time

import psycopg2

from . import config, fencing, judge
from .system import LabError, in_netns, netns_file, now_ns, wait_until

WRITER = "writer"


def conninfo(lab, address, options=""):
    """How everything in the lab connects: short timeouts, no encryption to wait for."""
    text = (f"hostaddr={address} port={config.PG_PORT} user={config.USER} "
            f"dbname={config.DBNAME} password={lab.plan['password']} sslmode=disable "
            "gssencmode=disable tcp_user_timeout=5000 keepalives_idle=1 keepalives_interval=1 "
            "keepalives_count=3 connect_timeout=5")
    return text + (f" options='{options}'" if options else "")


class Probe:
    """
    One run of lab-probe. Its logs and verdict lie in `directory`. `fence`: the clients that watch
    a fence too (fencing.POLLS), all of them or those of the kinds that are named.
    """

    def __init__(self, lab, directory, pollers=True, pace_ms=2, fence=False, poll_ms=20):
        self.lab = lab
        self.directory = directory
        self.latest = {"now": 0, "clients": {}}
        self.process = None
        self.reader = None
        self.began_ns = 0
        self.polls = []
        self.readers = []
        self.fence = fence
        os.makedirs(directory, exist_ok=True)
        client_ns = netns_file(lab.plan["client_ns"])
        lines = [(WRITER, "probe_writes", client_ns, pace_ms, 10, 0, 6, "leave",
                  conninfo(lab, config.VIP))]
        if pollers:
            for node in lab.data_nodes:
                inside = netns_file(node["ns"])
                # From the node's own namespace: a cut does not hide what happens behind it.
                for kind, options, refresh in (("local", "-c synchronous_commit=local", 0),
                                               ("new", "", 1000)):
                    name = f"{node['name']}-{kind}"
                    self.polls.append((node["name"], name))
                    lines.append((name, "probe_polls", inside, poll_ms, 20, refresh, 2, "stay",
                                  conninfo(lab, node["addr"], options)))
                if fence:
                    lines += self.fence_polls(node, poll_ms)
        self.plan_path = os.path.join(directory, "plan")
        with open(self.plan_path, "w", encoding="ascii",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as handle:
            for line in lines:
                handle.write("\t".join(str(field) for field in line) + "\n")

    def fence_polls(self, node, poll_ms):
        """Further clients of one node, inside its host and outside of it."""
        lines = []
        for kind, where, to, options, refresh, reads in fencing.POLLS:
            if self.fence is not True and kind not in self.fence:
                continue
            name = f"{node['name']}-{kind}"
            (self.readers if reads else self.polls).append((node["name"], name))
            netns = netns_file(self.lab.plan["client_ns"] if where == "client" else node["ns"])
            address = config.loopback(node["addr"]) if to == "loopback" else node["addr"]
            lines.append((name, "-" if reads else "probe_polls", netns, poll_ms, 20, refresh, 2,
                          "stay", conninfo(self.lab, address, options)))
        return lines

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.began_ns = now_ns()
        self.process = subprocess.Popen(
            [self.lab.tool("lab-probe"), self.plan_path, self.directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.latest = json.loads(line)

    def stop(self):
        """End the probe; its logs are complete afterwards."""
        if self.process is None:
            return
        self.process.stdin.close()
        self.reader.join()
        status = self.process.wait()
        self.process = None
        if status != 0:
            raise LabError(f"lab-probe ended with status {status}")

    def acknowledged(self):
        """Acknowledged writes of the writer so far."""
        if self.process is not None and self.process.poll() is not None:
            raise LabError("lab-probe has ended early")
        return self.count(WRITER, "acknowledged")

    def count(self, client, what):
        """A number of one client so far: acknowledged, doubtful or refused."""
        return self.latest["clients"].get(client, {}).get(what, 0)

    def wait_acknowledged(self, more, seconds, what):
        """Wait until so many further writes were acknowledged."""
        goal = self.acknowledged() + more
        wait_until(lambda: self.acknowledged() >= goal, seconds, what, 0.02)

    # -- after stop() -----------------------------------------------------------------------

    def writer_log(self):
        return judge.read_log(judge.log_path(self.directory, WRITER))

    def logs(self, rows):
        """[(node, acknowledged)] of some clients."""
        return [(node, judge.read_log(judge.log_path(self.directory, name))[0])
                for node, name in rows]

    def reigns(self):
        return judge.reigns(self.logs(self.polls))

    def by_kind(self):
        """{(node, kind of client): acknowledged writes or answered reads}."""
        rows = self.polls + self.readers
        return {(node, name.removeprefix(f"{node}-")): writes
                for (node, name), (_, writes) in zip(rows, self.logs(rows))}

    def verdict(self, faults=()):
        """The report: `faults` are rows {"kind", "node", "at_ns"}; losses are counted now."""
        acknowledged, doubtful = self.writer_log()
        found = self.reigns()
        moments, texts, unsure = judge.twins(found)
        lost = judge.missing(acknowledged, written_ids(self.lab, acknowledged))
        report = {"acknowledged": len(acknowledged), "doubtful": len(doubtful),
                  "missing": len(lost), "missing_ids": lost[:20], "twin_moments": moments,
                  "twins": texts, "twins_unsure": unsure,
                  "reigns": [{"node": r.node, "timeline": r.timeline,
                              "accepted": len(r.writes)} for r in found],
                  "faults": []}
        if self.fence:
            report["stale_reads"] = fencing.stale_reads(found, self.logs(self.readers))
        rows = list(faults)
        for row, after in zip(rows, rows[1:] + [None]):
            result = judge.outage(acknowledged, row["at_ns"], after and after["at_ns"]) or {}
            result.update(row)
            result["handover_ms"] = judge.handover(found, row["node"], row["at_ns"])
            if self.fence:
                result["margins_ms"] = fencing.margins(found, self.by_kind(), row)
            report["faults"].append(result)
        return report


def connect(lab, address, namespace=None, timeout_s=5):
    """A connection made inside a namespace, the client's by default; it may be used anywhere."""
    options = f"-c statement_timeout={timeout_s * 1000}"
    link = in_netns(namespace or lab.plan["client_ns"],
                    lambda: psycopg2.connect(conninfo(lab, address, options)))
    link.autocommit = True
    return link


def query(lab, address, sql, namespace=None, timeout_s=5, fetch=True):
    """One statement as the application user; psycopg2.Error tells what went wrong."""
    link = connect(lab, address, namespace, timeout_s)
    try:
        with link.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if fetch else None
    finally:
        link.close()


def written_ids(lab, acknowledged, address=None, namespace=None):
    """The ids in the table, from the lowest acknowledged one on."""
    if not acknowledged:
        return set()
    lowest = min(w.id for w in acknowledged)
    rows = query(lab, address or config.VIP, f"SELECT id FROM probe_writes WHERE id >= {lowest}", namespace, 60)
    return {row[0] for row in rows}


STANDBY_SQL = """SELECT pg_is_in_recovery(),
    coalesce((SELECT status = 'streaming' FROM pg_stat_wal_receiver), false),
    coalesce((SELECT max(id) FROM probe_writes), 0)"""


def standby_holds(lab, node, newest):
    """The node is a streaming standby, and a reader of it sees the write `newest`."""
    try:
        recovery, streaming, found = query(lab, node["addr"], STANDBY_SQL, node["ns"], 5)[0]
    except (psycopg2.Error, LabError, OSError):
        return False
    return recovery and streaming and found >= newest


def newest_id(lab):
    """The newest write as the VIP's node knows it, None when it does not answer."""
    try:
        return query(lab, config.VIP, "SELECT coalesce(max(id), 0) FROM probe_writes")[0][0]
    except (psycopg2.Error, LabError, OSError):
        return None


def absentees(lab):
    """Names of data nodes that do not serve as they should: one primary, all others following."""
    newest = newest_id(lab)
    holders = lab.vip_holders()
    if newest is None or len(holders) != 1:
        return [node["name"] for node in lab.data_nodes]
    return [node["name"] for node in lab.data_nodes
            if node is not holders[0] and not standby_holds(lab, node, newest)]


def wait_serving(lab, directory, seconds=180, progress=None):
    """Wait until a write through the VIP is acknowledged."""
    began = time.monotonic()
    with Probe(lab, directory, pollers=False, pace_ms=20) as probe:
        while probe.acknowledged() == 0:
            if time.monotonic() - began > seconds:
                raise LabError(f"no write through the VIP was acknowledged for {seconds} s")
            if progress:
                progress()
            time.sleep(0.05)
    return time.monotonic() - began


def settled(lab):
    """
    The agents' own word: the record holds every data node that follows, nothing is under way. In
    max_performance nothing is promised, so nobody is on record.
    """
    try:
        status = json.loads(lab.mhactl(lab.vip_holders()[0], "status", "--json"))
    except (LabError, IndexError, ValueError):
        return False
    members = [m for m in status["members"]
               if m["kind"] == "data" and m["membership"] == "member"]
    leader = status["leader"]["name"]
    return bool(status["settled"]) and (status["mode"] == "max_performance" or all(
        m["in_record"] for m in members if m["name"] != leader))


def wait_whole(lab, seconds=180):
    """Wait until every data node serves or follows, and the record counts on all of them."""
    began = time.monotonic()
    try:
        wait_until(lambda: not absentees(lab), seconds, "all nodes to be back", 0.1)
        if not lab.plan["plain"]:
            wait_until(lambda: settled(lab), seconds, "all nodes to be on record", 0.1)
    except LabError as trouble:
        raise LabError(f"{trouble}; not in order: {', '.join(absentees(lab)) or 'the record'}"
                       ) from None
    return time.monotonic() - began
