"""
Scenarios of spans: an exporter beside each agent, as nobody, and one small collector that takes OTLP
in JSON over HTTP. One act on three nodes must be one trace.
"""

import http.server
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading

from . import config, operations
from .system import LabError, enter_netns, in_netns, wait_until

PORT = 4318
NOBODY = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
AWAY = 2  # answers "not now" to so many requests before it takes one


def collector_address():
    return f"[{config.CLIENT}]" if ":" in config.CLIENT else config.CLIENT


class Collector:
    """Keeps what it is sent: (exporter's node, spans), in the order in which it came."""

    def __init__(self, run):
        self.requests = []
        self.refusals = AWAY
        self.trouble = []
        self.seen = threading.Condition()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = collector.take(self.path, self.headers, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = 10 if ":" in config.CLIENT else 2  # AF_INET6, AF_INET

        self.server = in_netns(run.lab.plan["client_ns"],
                               lambda: Server((config.CLIENT, PORT), Handler))
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def take(self, path, headers, body):
        with self.seen:
            if path != "/v1/traces" or headers["Content-Type"] != "application/json":
                self.trouble.append(f"{path} {headers['Content-Type']}")
                return 404
            if headers["X-Scope-OrgID"] != "lab":
                self.trouble.append(f"headers of the file are missing: {headers}")
                return 401
            if self.refusals > 0:
                self.refusals -= 1
                return 503
            for of_resource in json.loads(body)["resourceSpans"]:
                resource = attributes(of_resource["resource"])
                for scope in of_resource["scopeSpans"]:
                    self.requests.append((resource, scope["spans"]))
        return 200

    def trace(self, name, **wanted):
        """{node: [span]} of the trace whose root has this name and these attributes; None: none."""
        with self.seen:
            requests = list(self.requests)
        for _, spans in requests:
            for span in spans:
                found = attributes(span)
                if "parentSpanId" not in span and span["name"] == name and all(
                        found.get(key) == value for key, value in wanted.items()):
                    return of_trace(requests, span["traceId"])
        return None

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def attributes(of):
    """As a dict; 64-bit numbers are strings in OTLP's JSON."""
    values = {}
    for row in of["attributes"]:
        (kind, value), = row["value"].items()
        values[row["key"]] = int(value) if kind == "intValue" else value
    return values


def of_trace(requests, trace):
    nodes = {}
    for resource, spans in requests:
        mine = [span for span in spans if span["traceId"] == trace]
        if mine:
            nodes.setdefault(resource["mha.node"], []).extend(mine)
    return nodes


class Exporter:
    """mha-trace beside one agent, in its host's network."""

    def __init__(self, run, node, folder):
        self.node = node
        self.log = os.path.join(folder, f"{node['name']}.log")
        self.program = run.lab.tool("mha-trace", "bin_dir")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*NOBODY, self.program, "--run-dir", node["run_dir"], "--endpoint",
                 f"http://{collector_address()}:{PORT}/v1/traces", "--header-file",
                 os.path.join(folder, "headers")],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=lambda: enter_netns(node["ns"]))
        wait_until(lambda: self.said("trace.ready"), run.deadline,
                   f"mha-trace on {node['name']} to follow its agent")

    def said(self, event):
        if self.process.poll() is not None:
            raise LabError(f"mha-trace on {self.node['name']} has ended: {self.text()[-500:]}")
        return event in self.text()

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as handle:
            return handle.read()

    def end(self, run):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(run.deadline)
        if code != 0 or "dropped=0 lost=0 waiting=0" not in self.text():
            raise LabError(f"mha-trace on {self.node['name']} ended with {code}: "
                           f"{self.text()[-500:]}")

    def once(self, run):
        """What it makes of the record and of what its agent remembers."""
        done = subprocess.run(
            [*NOBODY, self.program, "--json", "--once", "--run-dir", self.node["run_dir"]],
            capture_output=True, text=True, timeout=run.deadline, check=False,
            preexec_fn=lambda: enter_netns(self.node["ns"]))
        if done.returncode != 0:
            raise LabError(f"mha-trace --once: {done.stderr}")
        return [span for line in done.stdout.splitlines()
                for of_resource in json.loads(line)["resourceSpans"]
                for scope in of_resource["scopeSpans"] for span in scope["spans"]]


def check(condition, text):
    if not condition:
        raise LabError(text)


def bounds(span):
    return int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])


def check_tree(spans):
    """One root; every parent is there; children lie within their parents. {id: span}."""
    known = {span["spanId"]: span for span in spans}
    check(len(known) == len(spans), f"an id twice among {[s['name'] for s in spans]}")
    check(sum("parentSpanId" not in span for span in spans) == 1, "not exactly one root")
    for span in spans:
        begin, end = bounds(span)
        check(begin <= end, f"{span['name']} ends before it begins")
        if "parentSpanId" not in span:
            continue
        parent = known.get(span["parentSpanId"])
        check(parent is not None, f"the parent of {span['name']} is missing")
        outer = bounds(parent)
        check(outer[0] <= begin and end <= outer[1],
              f"{span['name']} {begin}..{end} is not within {parent['name']} {outer}")
    return known


def check_phases(known, decision):
    """The phases lie end to end and are, to the microsecond, what the record says. Their sum, ms."""
    outage, = [s for s in known.values() if s["name"] == "outage"
               and attributes(s)["mha.epoch"] == decision["epoch"]]
    phases = sorted((s for s in known.values() if s.get("parentSpanId") == outage["spanId"]),
                    key=bounds)
    measured = {s["name"]: (bounds(s)[1] - bounds(s)[0]) / 1000 for s in phases}
    record = {"detect": decision["detect_us"], "fence": decision["fence_us"],
              "survey": decision["survey_us"], "promote": decision["promote_us"],
              "open": decision["open_us"] - decision["promote_us"]}
    check(measured == {name: us for name, us in record.items() if us},
          f"phases {measured}, on record {record}")
    at = bounds(outage)[0]
    for span in phases:
        check(bounds(span)[0] == at, f"a hole before {span['name']}")
        at = bounds(span)[1]
    check(at == bounds(outage)[1], "the phases are not the outage")
    check(sum(record.values()) * 1000 == bounds(outage)[1] - bounds(outage)[0],
          "the outage is not the sum of the record's phases")
    return sum(record.values()) / 1000


def check_trace(run, nodes, decision):
    """One trace of all nodes; a word about it."""
    names = sorted(node["name"] for node in run.lab.data_nodes)
    check(sorted(nodes) == names, f"spans of {sorted(nodes)}, not of {names}")
    spans = [span for mine in nodes.values() for span in mine]
    check(len({span["traceId"] for span in spans}) == 1, "more than one trace")
    known = check_tree(spans)
    parts = {}
    for node, mine in nodes.items():
        member, = [span for span in mine if span["name"] == "member"]
        check(attributes(member)["mha.node"] == node, f"{node}'s span is another node's")
        check(member["events"], f"{node} has seen nothing")
        parts[node] = attributes(member)["mha.part"]
    check(parts[decision["to"]] == "new primary" and parts[decision["from"]] == "old primary",
          f"parts {parts} in {decision['from']} -> {decision['to']}")
    root, = [span for span in spans if "parentSpanId" not in span]
    check(root in nodes[decision["to"]], "the root is not the new primary's")
    check(root["status"]["code"] == 1, f"status {root['status']}")
    # The agents' own phases are told by those that went through them.
    seen = {node: {s["name"] for s in mine if "mha.rule" in attributes(s)}
            for node, mine in nodes.items()}
    check("promote" in seen[decision["to"]], f"phases of the agents: {seen}")
    return known, f"{len(spans)} spans, phases {check_phases(known, decision):.1f} ms of " \
                  f"{(bounds(root)[1] - bounds(root)[0]) / 1e6:.0f} ms"


def last_decision(run):
    return operations.history(run, run.lab.primary())["decisions"][-1]


def traced(run, collector, name, **wanted):
    """The trace of an act, when all nodes' spans have come."""
    def whole():
        nodes = collector.trace(name, **wanted)
        return nodes if nodes is not None and len(nodes) == len(run.lab.data_nodes) else None
    return wait_until(whole, run.deadline, f"{name} {wanted} of all nodes")


def in_order(collector, node):
    """Each exporter's acts come in the order in which they were over."""
    ends = [max(bounds(s)[1] for s in spans)
            for resource, spans in collector.requests if resource["mha.node"] == node["name"]]
    check(ends == sorted(ends), f"{node['name']}'s traces came out of order")


def one_trace(run):
    """spans: a switchover while the collector is away, one with it, and a failover: one trace each"""
    folder = tempfile.mkdtemp(prefix="mha-trace-")
    os.chmod(folder, 0o755)
    with open(os.path.join(folder, "headers"), "w", encoding="utf-8") as handle:
        handle.write("# of the collector\nX-Scope-OrgID: lab\n")
    exporters, collector = [], None
    try:
        for node in run.lab.data_nodes:
            exporters.append(Exporter(run, node, folder))
        operations.in_sync(run)
        operations.switch(run, operations.other_data(run, run.lab.primary()))
        first = last_decision(run)
        for exporter in exporters:
            wait_until(lambda e=exporter: e.said("collector.away"), run.deadline,
                       f"{exporter.node['name']} to say that the collector is away")
        collector = Collector(run)
        wait_standing(run)
        operations.switch(run, operations.other_data(run, run.lab.primary()))
        second = last_decision(run)
        victim = run.lab.primary()
        run.fault("pg-kill", victim)
        run.writes_go_on()
        seconds = run.whole()
        third = last_decision(run)
        for decision in (first, second):
            nodes = traced(run, collector, "switchover",
                           **{"mha.operation": decision["operation"]})
            known, words = check_trace(run, nodes, decision)
            run.notes.append(f"switchover: {words}")
        nodes = traced(run, collector, "failover", **{"mha.epoch": third["epoch"]})
        run.notes.append(f"failover: {check_phases(check_tree(sum(nodes.values(), [])), third):.1f} "
                         "ms")
        for exporter in exporters:
            in_order(collector, exporter.node)
            again = {(s["traceId"], s["spanId"]) for s in exporter.once(run)}
            mine = {(s["traceId"], s["spanId"]) for resource, spans in collector.requests
                    for s in spans if resource["mha.node"] == exporter.node["name"]}
            check(mine <= again, f"{exporter.node['name']}: other ids the second time")
            exporter.end(run)
        check(not collector.trouble, str(collector.trouble))
        return seconds
    finally:
        for exporter in exporters:
            if exporter.process.poll() is None:
                exporter.process.kill()
                exporter.process.wait()
        if collector is not None:
            collector.close()
        shutil.rmtree(folder)


def wait_standing(run):
    """Nothing stands against the next switch."""
    old = run.lab.primary()
    target = operations.other_data(run, old)["name"]
    operations.wait_status(run, old, "nothing to stand against a switchover",
                           lambda s: operations.ctl(run, old, "switchover", "--dry-run", "--to",
                                                    target)[0] == 0)


SCENARIOS = {"one-trace": one_trace}
