#!/usr/bin/python3
"""What operators ask through mhactl: over mha-gateway, with gateway_rig as everything behind it."""
import json
import os
import subprocess
import time

import gateway_test
from gateway_test import GET_EVENTS, Zmtp, fields, request, until, varint


class Operations(gateway_test.Case):
    """mhactl's verbs that change something, and who may use them; the rig ends the calls."""

    ACCEPTED, POSSIBLE, REFUSED, UNCERTAIN = 0, 1, 2, 3
    LAG = 22

    def setUp(self):
        super().setUp()
        self.live()
        # The bus takes a moment; an event that came through shows that it is up.
        self.assertTrue(until(lambda: self.agent.said_ok('event 5 0 member.changed {}')))
        self.assertTrue(until(lambda: '"index": 5' in self.agent.ctl("events", "--json").stdout))

    def calls(self):
        return [int(word) for word in self.agent.do("calls").split()]

    def test_each_verb_becomes_its_call(self):
        self.agent.do(f"answer {self.ACCEPTED} 0 2 30")
        for args, kind, node, dry, mode, k, on in (
                (["switchover"], 1, 0, 0, 0, 0, 0),
                (["switchover", "--to", "n2", "--at", "+1h", "--until", "+2h"], 1, 2, 0, 0, 0, 0),
                (["cancel"], 3, 0, 0, 0, 0, 0),
                (["mode", "max_availability"], 4, 0, 0, 2, 255, 0),
                (["mode", "--quorum", "2"], 4, 0, 0, 0, 2, 0),
                (["mode", "max_performance", "--quorum", "majority", "--pin"], 4, 0, 0, 3, 0, 0),
                (["auto-failover", "on"], 5, 0, 0, 0, 0, 1),
                (["auto-failover", "off"], 5, 0, 0, 0, 0, 0),
                (["auto-switch", "on"], 6, 0, 0, 0, 0, 1),
                (["pause", "--for", "10min"], 7, 0, 0, 0, 0, 0),
                (["resume"], 8, 0, 0, 0, 0, 0),
                (["maintenance", "on", "n3"], 9, 3, 0, 0, 0, 1),
                (["restart", "n2"], 12, 2, 0, 0, 0, 0),
                (["restart", "n1", "--yes", "--force"], 12, 1, 0, 0, 0, 0),
                (["reinit", "n3", "--yes"], 13, 3, 0, 0, 0, 0)):
            before = self.calls()[0]
            answer = self.agent.ctl(*args)
            self.assertEqual(answer.returncode, 0, (args, answer.stderr))
            self.assertIn("on record", answer.stdout)
            self.assertEqual(self.calls(), [before + 1, kind, node, dry, 0, mode, k, on], args)
        self.agent.do(f"answer {self.POSSIBLE} 0 2 0")
        answer = self.agent.ctl("switchover", "--dry-run", "--wait")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("nothing stands against it; it would be n2", answer.stdout)

    def test_a_refusal_has_its_remedy_and_its_exit_status(self):
        self.agent.do(f"answer {self.REFUSED} {self.LAG} 2 0")
        answer = self.agent.ctl("switchover", "--to", "n2")
        self.assertEqual(answer.returncode, 3)
        self.assertIn("n2: ", answer.stderr)
        self.assertIn("24 MB behind, at most 16 MB", answer.stderr)
        self.assertIn("-> wait until it has caught up", answer.stderr)
        answer = self.agent.ctl("--json", "switchover", "--to", "n2", "--wait")
        self.assertEqual(answer.returncode, 3)
        reply = json.loads(answer.stdout)
        self.assertEqual(reply["code"], "refused")
        self.assertEqual([b["name"] for b in reply["blockers"]], ["lag"])
        count = self.calls()[0]
        unknown = self.agent.ctl("maintenance", "on", "n9")
        self.assertEqual(unknown.returncode, 3)
        self.assertIn("n9: no member has this name", unknown.stderr)
        self.assertEqual(self.calls()[0], count, "nobody is asked about a name that nobody has")

    def test_an_unknown_end_is_told(self):
        self.agent.do(f"answer {self.UNCERTAIN} 1 0 0")
        answer = self.agent.ctl("pause")
        self.assertEqual(answer.returncode, 5)
        self.assertIn("it may have been carried out", answer.stderr)
        self.agent.do("answer none")
        answer = self.agent.ctl("pause", "--timeout", "5s")
        self.assertEqual(answer.returncode, 5)
        self.assertIn("may have been carried out", answer.stderr)
        # The gateway's own deadline: 5 T and 3 s.
        self.agent.do("answer none")
        answer = self.agent.ctl("resume")
        self.assertEqual(answer.returncode, 5)
        self.assertIn("no leader is heard", answer.stderr)

    def test_only_root_over_the_local_socket(self):
        self.agent.do(f"answer {self.ACCEPTED} 0 2 30")
        count = self.calls()[0]
        endpoint = f"tcp://127.0.0.1:{self.agent.requests}"
        answer = self.agent.ctl("--endpoint", endpoint, "pause")
        self.assertEqual(answer.returncode, 3)
        self.assertIn("pause needs the role operate", answer.stderr)
        for kind in range(20, 34):
            client = Zmtp(self.agent.requests)
            client.send(request(kind))
            self.assertEqual(fields(client.receive()[-1])[3], [(1 << 64) - 6], kind)
            client.close()
        if os.geteuid() == 0:
            os.chmod(self.agent.base, 0o755)
            answer = subprocess.run([gateway_test.ARGS.mhactl, "--run-dir", self.agent.run, "pause"],
                                    capture_output=True, text=True, timeout=gateway_test.PATIENCE, user="nobody")
            self.assertEqual(answer.returncode, 3, answer.stderr)
            self.assertIn("only root may change something", answer.stderr)
            status = subprocess.run([gateway_test.ARGS.mhactl, "--run-dir", self.agent.run, "status"],
                                    capture_output=True, text=True, timeout=gateway_test.PATIENCE, user="nobody")
            self.assertEqual(status.returncode, 0, status.stderr)
        for path, status in (("/switchover", 403), ("/failover", 403), ("/v1/pause", 403), ("/v1/status", 404), ("/v1/cluster", 405),
                             ("/switchover/", 405)):
            self.assertEqual(self.agent.ask("POST", path)[0], status, path)
        self.assertEqual(self.calls()[0], count)

    def test_restart_and_reinit_want_consent(self):
        self.agent.do(f"answer {self.ACCEPTED} 0 2 30")
        count = self.calls()[0]
        for args in (["reinit", "n2"], ["restart", "n1"]):
            answer = self.agent.ctl(*args)
            self.assertEqual(answer.returncode, 3, args)
            self.assertIn("add --yes", answer.stderr)
        self.assertEqual(self.calls()[0], count, "nothing was asked for")

    def test_failover_wants_consent(self):
        self.agent.do(f"answer {self.POSSIBLE} 0 2 0")
        answer = self.agent.ctl("failover", "--to", "n2", "--accept-loss")
        self.assertEqual(answer.returncode, 3)
        self.assertIn("up to 3072 kB of WAL will be lost", answer.stderr)
        self.assertIn("add --yes", answer.stderr)
        self.assertEqual(self.calls(), [1, 2, 2, 1, 1, 0, 0, 0], "a dry run, and no more")
        answer = self.agent.ctl("failover", "--to", "n2", "--accept-loss", "--yes")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertEqual(self.calls(), [3, 2, 2, 0, 1, 0, 0, 0])

    def wait(self, state, *events, timeout="120s"):
        self.agent.do(f"answer {self.ACCEPTED} 0 2 30")
        self.agent.do("set operation 2")
        self.agent.do("publish")
        count = self.calls()[0]
        waiting = subprocess.Popen(
            [gateway_test.ARGS.mhactl, "--run-dir", self.agent.run, "switchover", "--wait", "--timeout", timeout],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertTrue(until(lambda: self.calls()[0] > count))
        for event in events:
            self.agent.do(event)
        if state:
            self.agent.do(f"set operation {state}")
            self.agent.do("publish")
            self.agent.do('event 20 0 operation.done {"from":"n1","to":"n2"}')
        out, err = waiting.communicate(timeout=180)
        return waiting.returncode, out, err

    def test_wait_follows_the_phases_to_the_end(self):
        # Noise can only add to it: once in a few times is enough.
        for _ in range(6):
            began = time.monotonic()
            code, out, err = self.wait(3, 'event 10 0 operation.running {"from":"n1","to":"n2"}',
                                       'event 11 0 failover.opened {"primary":"n2"}')
            took = time.monotonic() - began
            self.assertEqual(code, 0, err)
            if took < 4:
                break
        self.assertLess(took, 4, "the event wakes it, not the clock")
        for words in ("operation.running", "failover.opened", "n1 -> n2: done after 1.0 s"):
            self.assertIn(words, out)

    def test_wait_tells_a_rollback_and_a_deadline(self):
        code, _, err = self.wait(4)
        self.assertEqual(code, 4)
        self.assertIn("rolled_back", err)
        self.assertIn("a phase took too long", err)
        code, _, err = self.wait(None, timeout="5s")
        self.assertEqual(code, 5)
        self.assertIn("not over after 5000 ms", err)

    def test_get_events_waits_for_the_next_one(self):
        client = Zmtp(self.agent.requests)
        client.send(request(GET_EVENTS, body=b"\x08\x05\x18" + varint(50000)))
        time.sleep(0.2)
        self.agent.do('event 6 0 failover.assigned {"to":"n1"}')
        events = fields(fields(client.receive()[-1])[13][0])
        self.assertEqual(fields(events[1][0])[1], [6])
        began = time.monotonic()
        client.send(request(GET_EVENTS, body=b"\x08\x06\x18" + varint(300)))
        self.assertNotIn(1, fields(fields(client.receive()[-1])[13][0]))
        self.assertGreater(time.monotonic() - began, 0.25)
        # So many may wait; the next is told, and who has gone makes room in time.
        for _ in range(60):
            client.send(request(GET_EVENTS, body=b"\x08\x06\x18" + varint(5000)))
        codes = [fields(client.receive()[-1]).get(3) for _ in range(60)]
        self.assertIn([(1 << 64) - 13], codes)
        self.assertIn(None, codes)
        client.close()

    def test_junk_calls_are_refused(self):
        for kind in range(20, 29):
            for body in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", os.urandom(200)):
                client = Zmtp(self.agent.requests)
                client.send(request(kind, body=body))
                self.assertIn(3, fields(client.receive()[-1]))
                client.close()
        self.assertEqual(self.calls()[0], 0)

    def test_why_and_the_state_of_things(self):
        answer = self.agent.ctl("why")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("n1 serves as primary, epoch 4.", answer.stdout)
        self.assertIn("the agent of n2 was not heard any more", answer.stdout)
        why = json.loads(self.agent.ctl("why", "--json").stdout)
        self.assertEqual(why["status"]["ha"], "automatic")
        self.assertIn("sentences", why["history"]["decisions"][-1])
        self.agent.do("set paused 1")
        self.agent.do("set operation 1")
        self.agent.do("publish")
        status = json.loads(self.agent.ctl("status", "--json").stdout)
        self.assertEqual((status["ha"], status["settings"]["paused"]), ("paused", True))
        self.assertEqual(status["operations"][0]["state"], "scheduled")
        for path in ("/patroni", "/cluster"):
            self.assertIs(json.loads(self.agent.ask("GET", path)[1])["pause"], True)
        cluster = json.loads(self.agent.ask("GET", "/cluster")[1])
        self.assertEqual(cluster["scheduled_switchover"]["to"], "n2")
        metrics = self.agent.ask("GET", "/metrics")[1]
        self.assertRegex(metrics, r'mha4rdb_mode\{.*mode="max_protection"\} 1\n')
        self.assertRegex(metrics, r'mha4rdb_paused\{[^}]*\} 1\n')


if __name__ == "__main__":
    gateway_test.main()
