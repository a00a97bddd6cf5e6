#!/usr/bin/python3
"""The /v1 tree: its description, its errors, who may change what, and the stream of events; curl."""
import json
import os
import socket
import subprocess
import threading

import gateway_test
import http_test
from gateway_test import until
from http_test import basic

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
STREAMS_MAX = 32
EVENTS_MAX = 256
HEADERS = {"Content-Type": "application/json"}


def kind_of(value):
    return {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string",
            list: "array", dict: "object"}[type(value)]


class Description:
    """docs/openapi.json, as far as this document goes."""

    def __init__(self):
        with open(os.path.join(ROOT, "docs/openapi.json"), encoding="utf-8") as handle:
            self.all = json.load(handle)

    def find(self, node):
        while "$ref" in node:
            place, node = node["$ref"], self.all
            for part in place.removeprefix("#/").split("/"):
                node = node[part]
        return node

    def wrong(self, value, schema, at=""):
        """What is wrong with a value, or ""."""
        schema = self.find(schema)
        if "oneOf" in schema:
            each = [self.wrong(value, one, at) for one in schema["oneOf"]]
            return "" if each.count("") == 1 else f"{at}: none of oneOf: {each}"
        kinds = schema.get("type", kind_of(value))
        if kind_of(value) not in ([kinds] if isinstance(kinds, str) else kinds):
            return f"{at}: {kind_of(value)}, not {kinds}"
        if "enum" in schema and value not in schema["enum"]:
            return f"{at}: {value} is none of {schema['enum']}"
        if isinstance(value, list):
            return next(filter(None, (self.wrong(item, schema.get("items", {}), f"{at}[{i}]")
                                      for i, item in enumerate(value))), "")
        if not isinstance(value, dict):
            return ""
        known = schema.get("properties", {})
        missing = set(schema.get("required", ())) - set(value)
        extra = set(value) - set(known) if schema.get("additionalProperties") is False else set()
        if missing or extra:
            return f"{at}: missing {sorted(missing)}, not described {sorted(extra)}"
        return next(filter(None, (self.wrong(value[name], known[name], f"{at}.{name}")
                                  for name in value if name in known)), "")

    def answer(self, path, method, status):
        responses = self.all["paths"][path][method]["responses"]
        return self.find(responses[str(status)])["content"]["application/json"]["schema"]


class Case(http_test.Case):
    def curl(self, *args, path):
        """Status, body and the headers, by curl."""
        done = subprocess.run(["curl", "-sS", "-i", "--max-time", "30", *args,
                               f"http://127.0.0.1:{self.agent.http}{path}"],
                              capture_output=True, check=True, timeout=60)
        head, body = done.stdout.decode().split("\r\n\r\n", 1)
        lines = head.split("\r\n")
        return (int(lines[0].split()[1]), body,
                {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])})

    def post(self, path, body, headers=None):
        return self.ask("POST", path, {**HEADERS, **(headers or {})}, body)


class Described(Case):
    def tables(self):
        out = subprocess.run([gateway_test.ARGS.routes], capture_output=True, text=True, check=True,
                             timeout=60).stdout
        return [line.split() for line in out.splitlines()]

    def test_every_route_is_described_and_nothing_else(self):
        description = Description()
        offered = {}
        for kind, *words in self.tables():
            if kind == "question":
                offered[words[0], "get"] = words[1], tuple(words[2:])
            elif kind == "path":
                offered[words[0], "get"] = "read", None
            elif kind == "action":
                offered[words[1], words[0].lower()] = words[2], tuple(words[3:])
        described = {(path, method): row for path, methods in description.all["paths"].items()
                     for method, row in methods.items()}
        self.assertEqual(sorted(offered), sorted(described))
        kinds = {"text": "string", "flag": "boolean", "time": "string", "quorum": "integer"}
        for (path, method), (role, more) in offered.items():
            row = described[path, method]
            self.assertEqual(row["x-role"], role, path)
            self.assertEqual("security" in row, role != "read", path)
            if not path.startswith("/v1"):
                continue
            if method == "get":
                self.assertEqual(tuple(p["name"] for p in row.get("parameters", ())
                                       if p["in"] == "query"), more, path)
                continue
            schema = row["requestBody"]["content"]["application/json"]["schema"]
            fields = [field.split(":") for field in more]
            self.assertEqual(list(schema["properties"]), [name for name, _, _ in fields], path)
            self.assertEqual(schema.get("required", []),
                             [name for name, _, needed in fields if needed == "1"], path)
            for name, kind, needed in fields:
                types = schema["properties"][name]["type"]
                self.assertEqual("null" in types, needed == "0", (path, name))
                self.assertIn(kinds[kind], types, (path, name))
                self.assertEqual(schema["properties"][name].get("format") == "date-time",
                                 kind == "time", (path, name))
        codes = description.all["components"]["schemas"]["Error"]["properties"]["error"]
        problems = [words[1:] for words in self.tables() if words[0] == "problem"]
        self.assertEqual(codes["properties"]["code"]["enum"], [code for code, _ in problems])
        with open(os.path.join(ROOT, "docs/http.md"), encoding="utf-8") as handle:
            text = handle.read()
        for code, status in problems:
            self.assertIn(f"| `{code}` | {status} |", text)

    def test_answers_are_as_described(self):
        description = Description()
        self.begin()
        self.assertTrue(self.agent.said_ok('event 7 0 primary.changed {"to":"n1"}'))
        self.agent.do("set operation 2")
        self.agent.do("publish")
        for path, asked in (("/v1/cluster",) * 2, ("/v1/leader",) * 2, ("/v1/members",) * 2,
                            ("/v1/members/{name}", "/v1/members/n2"), ("/v1/history",) * 2,
                            ("/v1/operations",) * 2, ("/v1/operations/{id}", "/v1/operations/30"),
                            ("/v1/why",) * 2, ("/v1/why", "/v1/why?epoch=4"), ("/v1/events",) * 2,
                            ("/v1/members/{name}", "/v1/members/n9"),
                            ("/v1/operations/{id}", "/v1/operations/31"),
                            ("/v1/operations/{id}", "/v1/operations/x"),
                            ("/v1/why", "/v1/why?epoch=99"), ("/v1/why", "/v1/why?epoch=x"),
                            ("/v1/events", "/v1/events?since=x")):
            status, body, headers = self.curl(path=asked)
            self.assertEqual(headers["content-type"], "application/json")
            value = json.loads(body)
            self.assertEqual(description.wrong(value, description.answer(path, "get", status)), "",
                             asked)
            self.assertEqual("error" in value, status != 200)
            head = self.curl("-I", path=asked)
            self.assertEqual((head[0], head[1]), (status, ""), asked)
        self.assertEqual(json.loads(self.curl(path="/v1/members/n2")[1])["name"], "n2")
        self.assertEqual(json.loads(self.curl(path="/v1/operations/30")[1])["state"], "running")
        self.assertTrue(json.loads(self.curl(path="/v1/why")[1])["decisions"][-1]["sentences"])
        self.assertEqual([e["index"] for e in json.loads(
            self.curl(path="/v1/events?since=5")[1])["events"]], [7])

    def test_errors_have_one_shape(self):
        error = {"$ref": "#/components/schemas/Error"}
        description = Description()
        self.begin()
        ada = basic("ada")
        self.agent.do("answer 2 28 2 0")
        for answer, status, code in (
                (self.ask("GET", "/v1"), 404, "not_found"),
                (self.ask("GET", "/v1/primary"), 404, "not_found"),
                (self.ask("POST", "/v1/enroll-token", ada, "{}"), 404, "not_found"),
                (self.ask("DELETE", "/v1/cluster", ada), 405, "not_allowed"),
                (self.ask("GET", "/v1/switchover"), 405, "not_allowed"),
                (self.post("/v1/pause", "{}"), 401, "unauthenticated"),
                (self.post("/v1/pause", "{}", basic("ada", "x")), 401, "unauthenticated"),
                (self.post("/v1/pause", "{}", basic("rita")), 403, "forbidden"),
                (self.post("/v1/mode", "{}", basic("otto")), 403, "forbidden"),
                (self.post("/v1/failover", {"to": "n2", "accept_loss": True}, basic("otto")), 403,
                 "forbidden"),
                (self.ask("POST", "/v1/pause", ada, "{}"), 415, "unsupported_type"),
                (self.ask("POST", "/v1/pause", {**ada, "Content-Type": "text/plain"}, "{}"), 415,
                 "unsupported_type"),
                (self.post("/v1/pause", "no json", ada), 400, "invalid"),
                (self.post("/v1/pause", {"untill": None}, ada), 400, "invalid"),
                (self.post("/v1/pause", "x" * 5000, ada), 413, "too_big"),
                (self.post("/v1/failover", {"to": "n9"}, ada), 404, "unknown_member"),
                (self.post("/v1/failover", {"to": "n2"}, ada), 409, "refused")):
            self.assertEqual((answer[0], json.loads(answer[1])["error"]["code"]), (status, code))
            self.assertEqual(description.wrong(json.loads(answer[1]), error), "")
            self.assertEqual("Allow" in answer[2], status == 405)
            self.assertEqual("WWW-Authenticate" in answer[2], status == 401)
        self.assertEqual(json.loads(answer[1])["error"]["blockers"][0]["node"], "n2")
        self.assertEqual(self.calls()[0], 1)
        self.agent.do("answer 3 0 0 0")
        answer = self.post("/v1/switchover", {}, ada)
        self.assertEqual((answer[0], json.loads(answer[1])["error"]["code"]), (504, "uncertain"))
        for path, allow in (("/v1/cluster", "GET, HEAD, OPTIONS"), ("/v1/mode", "POST, OPTIONS")):
            answer = self.ask("OPTIONS", path)
            self.assertEqual((answer[0], answer[2]["Allow"]), (204, allow))


class Actions(Case):
    def test_calls_and_their_ends(self):
        """KIND NODE DRY_RUN LOSS MODE K ON, as they reach the consensus worker"""
        description = Description()
        self.begin()
        self.agent.do("answer 0 0 2 30")
        for path, body, who, status, call in (
                ("switchover", {}, "otto", 202, [1, 0, 0, 0]),
                ("switchover", {"to": "n2"}, "ada", 202, [1, 2, 0, 0]),
                ("failover", {"to": "n3", "accept_loss": True}, "ada", 202, [2, 3, 0, 1]),
                ("maintenance", {"node": "n2", "on": True}, "otto", 202, [9, 2, 0, 0, 0, 0, 1]),
                ("auto-failover", {"on": True}, "ada", 202, [5, 0, 0, 0, 0, 0, 1]),
                ("auto-switch", {"on": False}, "ada", 202, [6, 0]),
                ("mode", {"mode": "max_protection", "quorum": 1}, "ada", 202, [4, 0, 0, 0, 1, 1]),
                ("member-remove", {"node": "n3"}, "ada", 202, [11, 3]),
                ("member-add", {"node": "n3"}, "ada", 202, [10, 3])):
            count = self.calls()[0]
            answer = self.curl("-u", f"{who}:{http_test.PASSWORDS[who]}", "-H",
                               "Content-Type: application/json", "-d", json.dumps(body),
                               path="/v1/" + path)
            self.assertEqual(answer[0], status, (path, answer))
            self.assertEqual(answer[2].get("location"), "/v1/operations/30")
            seen = self.calls()
            self.assertEqual(seen[0], count + 1)
            self.assertEqual(seen[1:1 + len(call)], call, path)
            self.assertEqual(description.wrong(json.loads(answer[1]), description.answer(
                "/v1/" + path, "post", status)), "")
        self.agent.do("answer 0 0 0 0")
        for path, kind in (("pause", 7), ("resume", 8), ("cancel", 3)):
            answer = self.post("/v1/" + path, "", {"Authorization": "Bearer " + self.token})
            self.assertEqual((answer[0], json.loads(answer[1])["code"]), (200, "accepted"))
            self.assertEqual(self.calls()[1], kind)
            self.assertNotIn("Location", answer[2])
        self.agent.do("answer 1 0 2 0")
        answer = self.post("/v1/switchover", {"dry_run": True}, basic("otto"))
        self.assertEqual((answer[0], json.loads(answer[1])["code"]), (200, "possible"))

    def test_a_call_without_an_end(self):
        self.begin()
        self.agent.do("answer none")
        answer = self.post("/v1/switchover", {}, basic("ada"), )
        self.assertEqual((answer[0], json.loads(answer[1])["error"]["code"]), (504, "uncertain"))


class Stream:
    """curl, as it hears events."""

    def __init__(self, port, *args, path="/v1/events"):
        self.curl = subprocess.Popen(
            ["curl", "-sSN", "-H", "Accept: text/event-stream", *args,
             f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True)
        self.events = []
        self.comments = 0
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        event = {}
        for line in self.curl.stdout:
            line = line.rstrip("\n")
            if line == "" and event:
                self.events.append(event)
                event = {}
            elif line.startswith(":"):
                self.comments += 1
            elif ": " in line:
                name, value = line.split(": ", 1)
                event[name] = value

    def ids(self):
        return [event["id"] for event in self.events if "id" in event]

    def close(self):
        self.curl.kill()
        self.curl.wait()
        self.thread.join()
        self.curl.stdout.close()


class Streams(Case):
    def setUp(self):
        super().setUp()
        self.streams = []

    def tearDown(self):
        for stream in self.streams:
            stream.close()
        super().tearDown()

    def stream(self, *args, **more):
        self.streams.append(Stream(self.agent.http, *args, **more))
        return self.streams[-1]

    def metric(self, name):
        for line in self.ask("GET", "/metrics")[1].splitlines():
            if line.startswith(name + "{"):
                return int(line.rsplit(" ", 1)[1])
        raise AssertionError(name)

    def tell(self, index, text="{}"):
        # The gateway's queue may be full for a moment.
        self.assertTrue(until(
            lambda: self.agent.said_ok(f"event {index} 0 member.changed {text}"), 60))

    def test_live_and_resumed(self):
        self.begin()
        first = self.stream()
        self.assertTrue(until(lambda: first.ids() == ["5.0"]), first.events)
        self.tell(6, '{"to":"n2"}')
        self.assertTrue(until(lambda: first.ids() == ["5.0", "6.0"]), first.events)
        self.assertEqual(json.loads(first.events[-1]["data"]), json.loads(
            self.curl(path="/v1/events?since=5")[1])["events"][0])
        self.assertNotIn("event", first.events[-1])
        self.assertEqual(self.metric("mha4rdb_http_streams"), 1)
        first.close()
        self.tell(7)
        for args, more in ((("-H", "Last-Event-ID: 6.0"), {}),
                           (("-H", "Last-Event-ID: 6.0"), {"path": "/v1/events?since=1"}),
                           ((), {"path": "/v1/events?since=6"})):
            back = self.stream(*args, **more)
            self.assertTrue(until(lambda: back.ids() == ["7.0"]), back.events)
        self.tell(8)
        for back in self.streams[1:]:
            self.assertTrue(until(lambda: back.ids() == ["7.0", "8.0"]), back.events)
        # Longer than a connection may be idle: a comment came, and it hears events still.
        self.assertTrue(until(lambda: all(back.comments for back in self.streams[1:])))
        self.tell(9)
        for back in self.streams[1:]:
            self.assertTrue(until(lambda: back.ids()[-1] == "9.0"), back.events)
        # Who has left takes up no room.
        for back in self.streams[1:]:
            back.close()
        self.assertTrue(until(lambda: self.metric("mha4rdb_http_streams") == 0))
        self.assertEqual(self.metric("mha4rdb_http_streams_slow_total"), 0)

    def test_gap(self):
        self.begin()
        for index in range(6, 6 + EVENTS_MAX + 20):
            self.tell(index)
        self.assertTrue(until(lambda: json.loads(self.ask("GET", "/v1/events?since=280")[1])["events"]))
        back = self.stream("-H", "Last-Event-ID: 6.0")
        self.assertTrue(until(lambda: len(back.ids()) == EVENTS_MAX + 1), len(back.events))
        events = [event for event in back.events if "id" in event]
        self.assertEqual(events[0]["event"], "gap")
        self.assertEqual(json.loads(events[0]["data"]),
                         {"wanted": "6.0", "complete_after": events[0]["id"]})
        self.assertEqual(events[-1]["id"], f"{5 + EVENTS_MAX + 20}.0")
        kept = self.stream()
        self.assertTrue(until(lambda: len(kept.ids()) == EVENTS_MAX), len(kept.events))
        self.assertFalse([event for event in kept.events if "event" in event])
        self.assertEqual(self.ask("GET", "/v1/events", {
            "Accept": "text/event-stream", "Last-Event-ID": "x"})[0], 400)

    def silent(self, receive=4096):
        """A client that asks for the stream and reads nothing."""
        each = socket.socket()
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        each.settimeout(60)
        each.connect(("127.0.0.1", self.agent.http))
        each.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        return each

    def test_the_number_of_clients_is_bounded(self):
        self.begin()
        clients = [self.silent() for _ in range(STREAMS_MAX)]
        for client in clients:
            self.assertIn(b" 200 ", client.recv(200))
        status, body, _ = self.ask("GET", "/v1/events", {"Accept": "text/event-stream"})
        self.assertEqual((status, json.loads(body)["error"]["code"]), (503, "busy"))
        self.assertEqual(self.ask("GET", "/v1/events")[0], 200)
        self.assertEqual(self.ask("GET", "/primary")[0], 200)
        clients.pop().close()
        again = self.stream()
        self.assertTrue(until(lambda: self.metric("mha4rdb_http_streams") <= STREAMS_MAX - 1))
        if not again.ids():
            again = self.stream()
        self.assertTrue(until(lambda: again.ids() == ["5.0"]), again.events)
        for client in clients:
            client.close()

    def test_slow_readers_are_dropped_and_others_hear_all(self):
        self.begin()
        slow, quick = self.silent(), self.stream()
        self.assertTrue(until(lambda: quick.ids() == ["5.0"]))
        text = json.dumps({"text": "x" * 12000}, separators=(",", ":"))
        for index in range(6, 106):
            self.tell(index, text)
            self.assertTrue(until(lambda: quick.ids()[-1] == f"{index}.0"), index)
        self.assertTrue(until(
            lambda: self.metric("mha4rdb_http_streams_slow_total") == 1))
        self.assertTrue(until(lambda: "gateway.stream_slow" in self.agent.said()))
        self.assertTrue(until(lambda: self.metric("mha4rdb_http_streams") == 1))
        self.assertEqual(quick.ids(), [f"{index}.0" for index in range(5, 106)])
        slow.close()

    def test_streams_end_with_the_gateway(self):
        self.begin()
        stream = self.stream()
        self.assertTrue(until(lambda: stream.ids() == ["5.0"]))
        self.assertEqual(self.agent.do("stop"), "0")
        self.assertTrue(until(lambda: stream.curl.poll() is not None))


if __name__ == "__main__":
    gateway_test.main()
