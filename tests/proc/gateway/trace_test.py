#!/usr/bin/python3
"""mha-trace beside a real gateway: a collector that is away, busy, picky and well."""
import http.server
import json
import os
import signal
import subprocess
import threading

import gateway_test
from gateway_test import until

OPERATION = 30  # what the rig calls its switchover of n1 to n2
NOT_OVER, DONE, ROLLED_BACK = 2, 3, 4


class Collector(http.server.ThreadingHTTPServer):
    """Answers with each of `statuses` once, and 200 from then on."""

    def __init__(self, port=0, statuses=()):
        self.statuses = list(statuses)
        self.seen = []  # (status, headers, request)
        super().__init__(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def taken(self):
        return [request for status, _, request in self.seen if status == 200]

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.seen.append((status, self.headers, body))
        answer = b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"one was too old"}}'
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


def spans_of(request):
    return [span for of_resource in request["resourceSpans"]
            for scope in of_resource["scopeSpans"] for span in scope["spans"]]


def values(of):
    return {row["key"]: list(row["value"].values())[0] for row in of["attributes"]}


class Exporter(gateway_test.Case):
    def setUp(self):
        super().setUp()
        self.process = None
        self.collector = None
        self.said_to = os.path.join(self.agent.base, "trace.log")

    def tearDown(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.collector is not None:
            self.collector.close()
        super().tearDown()

    def follow(self, port, *args):
        with open(self.said_to, "ab") as log:
            self.process = subprocess.Popen(
                [gateway_test.ARGS.trace, "--run-dir", self.agent.run, "--endpoint",
                 f"http://127.0.0.1:{port}/v1/traces", *args], stderr=log)

    def said(self):
        with open(self.said_to, encoding="utf-8") as log:
            return log.read()

    def wait_said(self, *words):
        for word in words:
            self.assertTrue(until(lambda: word in self.said()), (word, self.said()))

    def begin(self):
        self.agent.do("live 50")
        self.agent.start()
        self.assertTrue(until(lambda: self.agent.said_ok("event 5 0 member.changed {}")))

    def over(self, index, state=DONE):
        """The rig's operation runs and ends; its record comes after the event."""
        self.agent.do(f'event {index} 1 operation.running {{"id":{OPERATION}}}')
        self.agent.do(f'event {index + 1} 0 agent.rule {{"rule":"steady/switch","why":"asked"}}')
        self.agent.do(f'event {index + 2} 0 agent.rule {{"rule":"switch/ready","why":"ready"}}')
        name = "done" if state == DONE else "rolled_back"
        self.agent.do(f'event {index + 3} 1 operation.{name} {{"id":{OPERATION}}}')
        self.agent.do(f"set operation {state}")
        self.agent.do("publish")

    def test_an_act_is_sent_when_it_is_over(self):
        headers = os.path.join(self.agent.base, "headers")
        with open(headers, "w", encoding="utf-8") as file:
            file.write("# a token\nAuthorization: Bearer of-the-test\n")
        self.collector = Collector(statuses=(503, 429))
        self.agent.do(f"set operation {NOT_OVER}")
        self.begin()
        self.follow(self.collector.server_port, "--header-file", headers)
        self.wait_said("trace.ready cluster=")
        self.over(10)
        self.assertTrue(until(self.collector.taken), self.said())
        self.assertEqual([status for status, _, _ in self.collector.seen], [503, 429, 200])
        request, = self.collector.taken()
        sent = self.collector.seen[-1][1]
        self.assertEqual(sent["Authorization"], "Bearer of-the-test")
        self.assertEqual(sent["Content-Type"], "application/json")
        self.assertNotIn("of-the-test", self.said())
        resource = values(request["resourceSpans"][0]["resource"])
        self.assertEqual(resource["mha.node"], "n1")
        spans = {span["name"]: span for span in spans_of(request)}
        self.assertEqual(set(spans), {"switchover", "member", "switch"})
        root, member, phase = spans["switchover"], spans["member"], spans["switch"]
        self.assertNotIn("parentSpanId", root)
        self.assertEqual(values(root)["mha.operation"], str(OPERATION))
        self.assertEqual(member["parentSpanId"], root["spanId"])
        self.assertEqual(phase["parentSpanId"], member["spanId"])
        self.assertEqual({span["traceId"] for span in spans.values()}, {root["traceId"]})
        self.assertEqual([event["name"] for event in member["events"]],
                         ["operation.running", "agent.rule", "agent.rule", "operation.done"])
        self.wait_said("collector.away", "collector.back", "trace.partial", "one was too old",
                       f"op={OPERATION} trace.made trace={root['traceId']}")
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(gateway_test.PATIENCE), 0)
        self.wait_said("trace.end sent=1 dropped=0 lost=0 waiting=0")
        # The same act once more: the same ids, printed.
        done = subprocess.run([gateway_test.ARGS.trace, "--run-dir", self.agent.run, "--json",
                               "--once"], capture_output=True, text=True, check=True,
                              timeout=2 * gateway_test.PATIENCE)
        again = [span for line in done.stdout.splitlines() for span in spans_of(json.loads(line))]
        self.assertLessEqual({span["spanId"] for span in spans.values()},
                             {span["spanId"] for span in again})

    def test_what_waited_for_the_collector_comes_in_order(self):
        self.collector = Collector()
        port = self.collector.server_port
        self.collector.close()
        self.collector = None
        self.agent.do(f"set operation {NOT_OVER}")
        self.begin()
        self.follow(port)
        self.wait_said("trace.ready")
        self.over(10, ROLLED_BACK)
        self.wait_said("collector.away")
        self.collector = Collector(port)
        self.assertTrue(until(self.collector.taken), self.said())
        root, = [span for span in spans_of(self.collector.taken()[0])
                 if "parentSpanId" not in span]
        self.assertEqual(root["status"]["code"], 2)
        self.assertNotEqual(root["status"]["message"], "")
        self.assertEqual(values(root)["mha.state"], "rolled_back")

    def test_refused_for_good(self):
        self.collector = Collector(statuses=(400,))
        self.agent.do(f"set operation {NOT_OVER}")
        self.begin()
        self.follow(self.collector.server_port)
        self.wait_said("trace.ready")
        self.over(10)
        self.wait_said("trace.refused", "answers 400")
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(gateway_test.PATIENCE), 0)
        self.wait_said("trace.end sent=0 dropped=1")
        self.assertEqual(len(self.collector.seen), 1)

    def test_an_agent_that_comes_later_and_goes(self):
        self.collector = Collector()
        self.agent.do(f"set operation {NOT_OVER}")
        self.follow(self.collector.server_port)
        self.wait_said("agent.away")
        self.begin()
        self.wait_said("trace.ready")
        self.agent.do("stop")
        self.assertTrue(until(lambda: self.said().count("agent.away") == 2), self.said())
        self.agent.start()
        self.wait_said("agent.back")
        self.assertTrue(until(lambda: self.agent.said_ok("event 8 0 member.changed {}")))
        self.over(10)
        self.assertTrue(until(self.collector.taken), self.said())

    def test_wrong_usage(self):
        for args in ([], ["--endpoint", "http://127.0.0.1:1/v1/traces", "--json"], ["--json", "x"],
                     ["--json", "--since", "soon"], ["--json", "--log-format", "xml"],
                     ["--json", "--host", "127.0.0.1"]):
            done = subprocess.run([gateway_test.ARGS.trace, *args], capture_output=True, text=True,
                                  timeout=2 * gateway_test.PATIENCE)
            self.assertEqual((done.returncode, done.stdout), (2, ""), args)
            self.assertIn("usage:", done.stderr)
        for endpoint, words in (("collector", "whole address"), ("http://127.0.0.1:1", "whole")):
            done = subprocess.run([gateway_test.ARGS.trace, "--endpoint", endpoint],
                                  capture_output=True, text=True,
                                  timeout=2 * gateway_test.PATIENCE)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    gateway_test.main()
