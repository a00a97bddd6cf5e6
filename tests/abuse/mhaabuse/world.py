"""A cluster with a ledger beside it, and looks at its agents from outside."""

import json
import os
import re
import shutil
import urllib.request

from mhalab import config
from mhalab.lab import Lab, say
from mhalab.probe import Probe, wait_serving, wait_whole
from mhalab.system import LabError, in_netns, wait_until

from .meter import Meter

WORKERS = ("consensus", "vip", "dbctl", "dbmon", "gateway")


class World:
    """One lab of three data nodes. `failures` are words; without any, the part has passed."""

    def __init__(self, options, part):
        self.options = options
        self.deadline = options.deadline
        self.lab = self.probe = self.meter = None
        self.failures = []
        self.marks = []  # moments of the ledger's faults, for outages
        self.partial = dict  # what a part has to say when it ends early
        self.logs = os.path.join(options.dir + "-logs", part)

    def up(self, part):
        shutil.rmtree(self.logs, ignore_errors=True)
        settings = getattr(part, "settings", ())
        self.lab = Lab.create(self.options.dir, 3, 0, settings, self.options.prefix,
                              self.options.bin_dir)
        prepare = getattr(part, "prepare", None)
        if prepare:
            prepare(self)
        self.lab.build()
        for node in self.lab.nodes:
            self.lab.start(node)
        self.meter = Meter(self.options.dir)
        wait_serving(self.lab, self.logs + "/up", self.deadline)
        wait_whole(self.lab, self.deadline)
        self.probe = Probe(self.lab, self.logs + "/probe", pace_ms=4)
        self.probe.start()
        self.probe.wait_acknowledged(50, self.deadline, "the writer")

    def fail(self, words):
        say(f"FAILED: {words}")
        self.failures.append(words)

    def verdict(self):
        """Whole again, then the ledger: nothing missing, no twins."""
        wait_whole(self.lab, self.deadline)
        self.probe.wait_acknowledged(50, self.deadline, "writes at the end")
        return self.ledger()

    def ledger(self):
        """The writer's log against the table of the primary that serves now."""
        self.probe.stop()
        report = self.probe.verdict(self.marks)
        if report["missing"]:
            self.fail(f"{report['missing']} acknowledged writes are missing: "
                      f"{report['missing_ids']}")
        if report["twin_moments"]:
            self.fail(f"two nodes accepted writes: {report['twins']}")
        result = {"longest_stall_ms": self.meter.longest(),
                  "acknowledged": report["acknowledged"], "missing": report["missing"],
                  "twin_moments": report["twin_moments"], "failures": self.failures}
        if report["faults"]:
            result["faults"] = report["faults"]
        return result

    def close(self, keep=False):
        try:
            if self.probe is not None:
                self.probe.stop()
        except LabError:
            pass
        if self.meter is not None:
            self.meter.close()
        if self.lab is None:
            return
        self.lab.keep_logs(self.logs)
        if keep:
            say(f"the lab stays up in {self.options.dir}")
            return
        self.lab.down()

    # -- looks --------------------------------------------------------------------------------

    def log(self, node):
        """What its processes have written so far."""
        with open(node["log"], encoding="utf-8", errors="replace") as handle:
            return handle.read()

    def log_from(self, node, offset):
        """What its processes have written since their log was so many bytes long."""
        with open(node["log"], "rb") as handle:
            handle.seek(offset)
            return handle.read().decode(errors="replace")

    def log_sizes(self):
        return {node["name"]: os.path.getsize(node["log"]) for node in self.lab.nodes}

    def metrics(self, node):
        """{name{labels without scope and name}: value} of one agent; {} when it does not answer."""
        url = f"http://127.0.0.1:{config.HTTP_PORT}/metrics"
        try:
            text = in_netns(node["ns"], lambda: urllib.request.urlopen(url, timeout=10)
                            .read().decode())
        except OSError:
            return {}
        found = {}
        for line in text.splitlines():
            match = re.match(r"([a-z0-9_]+)\{(.*)\} (\S+)$", line)
            if match:
                labels = ",".join(part for part in match.group(2).split(",")
                                  if not part.startswith(("scope=", "name=")))
                found[match.group(1) + (f"{{{labels}}}" if labels else "")] = float(match.group(3))
        return found

    def status(self, node):
        """mhactl's status; {} when nobody answers."""
        try:
            return json.loads(self.lab.mhactl(node, "status", "--json"))
        except (LabError, ValueError):
            return {}

    def epoch(self):
        """The newest epoch that any agent knows."""
        return max(self.status(node).get("epoch", 0) for node in self.lab.nodes)

    def ready(self, node):
        """Every worker of the agent runs and is ready, by the master's own word."""
        found = self.metrics(node)
        return all(found.get(f'mha4rdb_worker_up{{worker="{worker}"}}') == 1
                   for worker in WORKERS)

    def wait_ready(self, node, what):
        wait_until(lambda: self.ready(node), self.deadline, what, 0.05)

    def pss(self, node):
        """{program: kB of memory that is its own share} of the node's agent."""
        sizes = {}
        for process in self.lab.agent_processes(node):
            try:
                with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as handle:
                    for line in handle:
                        if line.startswith("Pss:"):
                            sizes[process.program] = int(line.split()[1])
            except OSError:
                continue
        return sizes

    def renewals(self, node):
        """(count, seconds, {bound: count}, longest) of the renewals of the node's lease."""
        found = self.metrics(node)
        name = "mha4rdb_vip_renewal_period_seconds"
        buckets = {key.split('le="')[1].rstrip('"}'): value for key, value in found.items()
                   if key.startswith(name + "_bucket")}
        return (found.get(name + "_count", 0), found.get(name + "_sum", 0.0), buckets,
                found.get("mha4rdb_vip_renewal_period_longest_seconds", 0.0))


def period_row(before, after):
    """What the renewals between two looks were like."""
    count = after[0] - before[0]
    buckets = {bound: int(value - before[2].get(bound, 0)) for bound, value in after[2].items()}
    return {"renewals": int(count),
            "mean_ms": round((after[1] - before[1]) / count * 1000, 1) if count else None,
            "cumulated": buckets, "longest_ms_since_start": round(after[3] * 1000, 1)}
