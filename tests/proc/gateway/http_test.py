#!/usr/bin/python3
"""Who may change what over HTTP: users, tokens, certificates, TLS; the rig ends the calls."""
import base64
import concurrent.futures
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time

import gateway_test
from gateway_test import until

PASSWORDS = {"ada": "correct horse battery", "otto": "staple staple", "rita": "only reading"}
ROLES = {"ada": "admin", "otto": "operate", "rita": "read"}


class Agent(gateway_test.Agent):
    config = gateway_test.CONFIG.replace("http: {{", "http: {{users_file: /u, ")


class TlsAgent(gateway_test.Agent):
    config = gateway_test.CONFIG.replace(
        "http: {{", "http: {{users_file: /u, tls_certificate_file: /c, tls_key_file: /k, "
        "tls_client_ca_file: /a, ")


def keygen(*args, text=None):
    done = subprocess.run([gateway_test.ARGS.keygen, *args], input=text, text=True, check=True,
                          capture_output=True, timeout=2 * gateway_test.PATIENCE)
    return done.stdout.strip()


def basic(name, password=None):
    text = f"{name}:{PASSWORDS.get(name, '') if password is None else password}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


class Case(gateway_test.Case):
    kind = Agent

    def setUp(self):
        self.agent = self.kind()
        self.tls = None
        rows = [keygen("--password", name, role, text=PASSWORDS[name] + "\n")
                for name, role in ROLES.items()]
        for name in PASSWORDS:
            self.assertNotIn(PASSWORDS[name], "".join(rows))
        token = os.path.join(self.agent.base, "token")
        rows.append(keygen("--bearer", "robot", "operate", token))
        self.assertEqual(os.stat(token).st_mode & 0o777, 0o600)
        with open(token) as file:
            self.token = file.read().strip()
        rows.append("lb.example operate certificate")
        self.rows = rows
        self.put("users", "\n".join(rows) + "\n")

    def put(self, name, text):
        with open(os.path.join(self.agent.access, name), "w") as file:
            file.write(text)

    def begin(self):
        self.agent.do("live 50")
        self.agent.start()
        self.assertTrue(until(lambda: self.agent.said_ok("event 5 0 member.changed {}")))

    def connection(self, timeout=gateway_test.PATIENCE):
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.agent.http, timeout=timeout,
                                               context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.agent.http, timeout=timeout)

    def ask(self, method, path, headers=None, body=None, timeout=gateway_test.PATIENCE):
        connection = self.connection(timeout)
        try:
            connection.request(method, path, headers=headers or {},
                               body=json.dumps(body) if isinstance(body, dict) else body)
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers
        finally:
            connection.close()

    def calls(self):
        return [int(word) for word in self.agent.do("calls").split()]


class Users(Case):
    def test_who_may_what(self):
        self.begin()
        self.agent.do("answer 0 0 2 30")
        self.agent.do("set operation 3")
        self.agent.do("publish")
        asked = {"leader": "n1", "candidate": "n2"}
        for headers, status, word in (
                (None, 401, "no auth header"), ({"Authorization": "Basic !!"}, 401, "not auth"),
                ({"Authorization": "Digest x"}, 401, "not auth"),
                ({"Authorization": "Bearer " + "0" * 64}, 401, "not auth"),
                ({"Authorization": "Basic " + "A" * 2000}, 401, "not auth"),
                (basic("ada", "wrong"), 401, "not auth"), (basic("nobody"), 401, "not auth"),
                (basic("lb.example", ""), 401, "not auth"),
                (basic("rita"), 403, "needs the role operate, but rita has the role read")):
            count = self.calls()[0]
            answer = self.ask("POST", "/switchover", headers, asked)
            self.assertEqual(answer[0], status, (headers, answer))
            self.assertIn(word, answer[1])
            if status == 401:
                self.assertEqual(answer[2]["WWW-Authenticate"], 'Basic realm="mha4rdb"')
            self.assertEqual(self.calls()[0], count)
        for headers in (basic("otto"), basic("ada"), {"Authorization": "Bearer " + self.token}):
            count = self.calls()[0]
            answer = self.ask("POST", "/switchover", headers, asked)
            self.assertEqual(answer[:2], (200, 'Successfully switched over to "n2"'))
            self.assertEqual(self.calls()[:3], [count + 1, 1, 2])
        text = self.agent.said()
        for secret in [*PASSWORDS.values(), self.token, "wrong"]:
            self.assertNotIn(secret, text.replace("a wrong password", ""))
        self.assertRegex(text, "gateway.call call=switchover .* by=robot")

    def test_loss_needs_an_admin(self):
        self.begin()
        self.agent.do("answer 2 28 2 0")
        asked = {"candidate": "n2", "accept_loss": True}
        self.assertEqual(self.ask("POST", "/failover", basic("otto"), asked)[0], 403)
        self.assertEqual(self.calls()[0], 0)
        self.assertEqual(self.ask("POST", "/failover", basic("ada"), asked)[0], 412)
        self.assertEqual(self.calls()[:5], [1, 2, 2, 0, 1])
        answer = self.ask("POST", "/failover", basic("otto"), {"candidate": "n2"})
        self.assertEqual(answer[0], 412)
        self.assertIn("Failover failed: n2: ", answer[1])

    def test_bodies_and_ends_in_patronis_shape(self):
        self.begin()
        ada = basic("ada")
        for method, path, body, status, word in (
                ("POST", "/switchover", None, 400, "specific leader"),
                ("POST", "/switchover", "no json", 400, "JSON object"),
                ("POST", "/switchover", "[1]", 400, "JSON object"),
                ("POST", "/switchover", '{"leader":"n1","leader":"n2"}', 400, "JSON object"),
                ("POST", "/switchover", {"leader": 1}, 400, "strings"),
                ("POST", "/switchover", {"leader": "n2"}, 412, "leader name does not match"),
                ("POST", "/switchover", {"leader": "n1", "candidate": "n1"}, 400, "the same"),
                ("POST", "/switchover", {"leader": "n1", "candidate": "x"}, 412, "not exist"),
                ("POST", "/switchover", {"leader": "n1", "scheduled_at": "2040-01-01T12:00"}, 400,
                 "Timezone"),
                ("POST", "/switchover", {"leader": "n1", "scheduled_at": "soon"}, 422, "parse"),
                ("POST", "/switchover", {"leader": "n1", "scheduled_at": "2020-01-01T12:00Z"}, 422,
                 "past"),
                ("POST", "/failover", {}, 400, "specific candidate"),
                ("POST", "/failover", {"candidate": "n2", "scheduled_at": "2040-01-01T12:00Z"}, 400,
                 "can't be scheduled"),
                ("POST", "/failover", {"candidate": "n2", "accept_loss": "yes"}, 400, "boolean"),
                ("POST", "/switchover", "x" * 5000, 413, "4096")):
            answer = self.ask(method, path, ada, body)
            self.assertEqual(answer[0], status, (path, body, answer))
            self.assertIn(word, answer[1])
        self.assertEqual(self.calls()[0], 0)
        self.agent.do("answer 0 0 2 30")
        answer = self.ask("POST", "/switchover", ada, {
            "leader": "n1", "scheduled_at": "2040-01-01 12:00:00+01:00"})
        self.assertEqual(answer[:2], (202, "Switchover scheduled"))
        answer = self.ask("DELETE", "/switchover", ada)
        self.assertEqual(answer[:2], (200, "scheduled switchover deleted"))
        self.agent.do("answer 2 8 0 0")
        self.assertEqual(self.ask("DELETE", "/switchover", ada)[0], 404)
        self.agent.do("answer 3 0 0 0")
        answer = self.ask("POST", "/switchover", ada, {"leader": "n1"})
        self.assertEqual(answer[0], 503)
        self.assertIn("status unknown", answer[1])

    def test_restart_and_reinitialize(self):
        """KIND NODE DRY_RUN LOSS MODE K ON, as they reach the consensus worker"""
        self.begin()
        otto, ada = basic("otto"), basic("ada")
        for path, body, status, word in (
                ("/restart", {"schedule": "2040-01-01T12:00Z"}, 400, "cannot be scheduled"),
                ("/restart", {"restart_pending": True}, 400, "restart_pending"),
                ("/restart", {"postgres_version": "16"}, 400, "postgres_version"),
                ("/restart", {"role": "leader"}, 400, "role should be"),
                ("/restart", {"role": 1}, 400, "string"),
                ("/restart", {"role": "replica"}, 503, "conditions are not satisfied"),
                ("/restart", {"timeout": "soon"}, 400, "seconds"),
                ("/restart", {"timeout": 0}, 400, "seconds"),
                ("/restart", "[]", 400, "JSON object"),
                ("/reinitialize", {"force": "yes"}, 400, "booleans")):
            answer = self.ask("POST", path, ada, body)
            self.assertEqual(answer[0], status, (path, body, answer))
            self.assertIn(word, answer[1])
        for path in ("/restart", "/reinitialize", "/reload"):
            self.assertEqual(self.ask("POST", path)[0], 401)
            self.assertEqual(self.ask("POST", path, basic("rita"))[0], 403)
            self.assertEqual(self.ask("PUT", path, ada)[0], 405)
        self.assertEqual(self.ask("POST", "/reinitialize", otto)[0], 403)
        self.assertEqual(self.ask("DELETE", "/restart", otto)[:2],
                         (404, "no restarts are scheduled"))
        self.assertEqual(self.calls()[0], 0)
        self.agent.do("answer 0 0 1 30")
        self.agent.do("set operation 3")
        self.agent.do("publish")
        answer = self.ask("POST", "/restart", otto, {"role": "primary", "restart_pending": False,
                                                     "schedule": None, "timeout": "20"})
        self.assertEqual(answer[:2], (200, "restarted successfully"))
        self.assertEqual(self.calls()[:4], [1, 12, 1, 0])
        self.agent.do("set operation 4")
        self.agent.do("publish")
        answer = self.ask("POST", "/restart", otto)
        self.assertEqual(answer[0], 503)
        self.assertIn("Restart failed: rolled_back", answer[1])
        self.agent.do("set operation 2")
        self.agent.do("publish")
        answer = self.ask("POST", "/restart", otto, {"timeout": 2})
        self.assertEqual(answer[0], 503)
        self.assertIn("Restart status unknown after", answer[1])
        answer = self.ask("POST", "/reinitialize", ada, {"from_leader": True})
        self.assertEqual(answer[:2], (200, "reinitialize started"))
        self.assertEqual(self.calls()[:2], [4, 13])
        self.agent.do("answer 2 8 0 0")
        for path in ("/restart", "/reinitialize"):
            answer = self.ask("POST", path, ada)
            self.assertEqual(answer[0], 503, answer)
            self.assertIn(" failed: ", answer[1])

    def reload(self, path, code, headers):
        """What the client hears when the master has said so."""
        ends = []
        thread = threading.Thread(target=lambda: ends.append(self.ask(
            "POST", path, {**basic("otto"), **headers}, timeout=2 * gateway_test.PATIENCE)))
        count = self.agent.said().count("gateway.reload by=otto")
        thread.start()
        self.assertTrue(until(
            lambda: self.agent.said().count("gateway.reload by=otto") > count))
        self.agent.do(f"reloaded {code}")
        thread.join()
        return ends[0][:2]

    def test_a_reload_is_answered_by_its_end(self):
        self.begin()
        typed = {"Content-Type": "application/json"}
        self.assertEqual(self.reload("/reload", 0, {}), (202, "reload scheduled"))
        status, text = self.reload("/reload", 1, {})
        self.assertEqual(status, 503)
        self.assertIn("the running one stays", text)
        status, text = self.reload("/v1/reload", 0, typed)
        self.assertEqual((status, json.loads(text)["code"]), (200, "accepted"))
        for code, status, name in ((1, 409, "refused"), (13, 503, "busy")):
            answer = self.reload("/v1/reload", code, typed)
            self.assertEqual((answer[0], json.loads(answer[1])["error"]["code"]), (status, name))
        self.assertEqual(self.calls()[0], 0)

    def test_the_answer_waits_for_the_end_and_others_are_served(self):
        self.begin()
        self.agent.do("answer 0 0 2 30")
        self.agent.do("set operation 2")
        self.agent.do("publish")
        ends = []
        threads = [threading.Thread(target=lambda: ends.append(self.ask(
            "POST", "/switchover", basic("otto"), {"leader": "n1"},
            timeout=2 * gateway_test.PATIENCE)))
            for _ in range(2)]
        for thread in threads:
            thread.start()
        self.assertTrue(until(lambda: self.calls()[0] == 2))
        # One that leaves before its end does no harm, nor do the limits of idle connections.
        gone = self.connection()
        gone.request("POST", "/switchover", headers=basic("otto"), body='{"leader":"n1"}')
        self.assertTrue(until(lambda: self.calls()[0] == 3))
        gone.close()
        for _ in range(13):
            self.assertEqual(self.ask("GET", "/primary")[0], 200)
            time.sleep(1)
        self.assertEqual(ends, [])
        self.agent.do("set operation 4")
        self.agent.do("publish")
        self.agent.do('event 9 0 operation.rolled_back {"from":"n1","to":"n2"}')
        for thread in threads:
            thread.join()
        self.assertEqual([end[0] for end in ends], [503, 503])
        self.assertIn("rolled_back", ends[0][1])

    def guess(self, number):
        try:
            return self.ask("DELETE", "/switchover", basic("otto", f"guess {number}"),
                            timeout=4 * gateway_test.PATIENCE)[0]
        except http.client.RemoteDisconnected:
            return None

    def test_guessing_is_slowed_and_a_known_password_is_not(self):
        self.begin()
        self.agent.do("answer 2 8 0 0")
        self.assertEqual(self.ask("DELETE", "/switchover", basic("ada"))[0], 404)
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            seen = list(pool.map(self.guess, range(60)))
        # AUTH_BURST at once and AUTH_PER_SECOND from then on, as fast or slow as the machine is. One
        # too slow for its connection's limit is ended without a word (None).
        tried = 8 + 4 * (time.monotonic() - began) + 1
        self.assertLessEqual(set(seen), {401, 429, None})
        self.assertGreater(seen.count(401), 0)
        self.assertLessEqual(seen.count(401), tried)
        self.assertEqual(self.ask("DELETE", "/switchover", basic("ada"))[0], 404)

    def test_strangers_take_up_no_room(self):
        self.begin()
        self.agent.do("answer 2 8 0 0")
        slow = []
        for _ in range(40):
            each = socket.create_connection(("127.0.0.1", self.agent.http), gateway_test.PATIENCE)
            each.sendall(b"DELETE /switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            slow.append(each)
        self.assertEqual(self.ask("DELETE", "/switchover", basic("ada"))[0], 404)
        for each in slow:
            self.assertIn(b" 401 ", each.recv(100))
            each.close()

    def test_revoked_with_the_reload(self):
        self.begin()
        self.agent.do("answer 2 8 0 0")
        for headers in (basic("ada"), {"Authorization": "Bearer " + self.token}):
            self.assertEqual(self.ask("DELETE", "/switchover", headers)[0], 404)
        self.put("users", "\n".join(self.rows[1:3]) + "\n")
        self.agent.do("reload")
        for headers in (basic("ada"), {"Authorization": "Bearer " + self.token}):
            self.assertTrue(until(lambda: self.ask("DELETE", "/switchover", headers)[0] == 401))
        self.assertTrue(until(
            lambda: self.ask("DELETE", "/switchover", basic("otto"))[0] == 404))
        self.put("users", "nonsense\n")
        self.agent.do("reload")
        self.assertTrue(until(lambda: "http.users_file: line 1" in self.agent.said()))
        self.assertTrue(until(
            lambda: self.ask("DELETE", "/switchover", basic("otto"))[0] == 404))


class Tls(Case):
    kind = TlsAgent

    def openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=self.agent.base)

    def make_server(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
                     "-keyout", f"{name}.key", "-out", f"{name}.crt")
        for file, part in ((f"{name}.crt", "certificate"), (f"{name}.key", "tls_key")):
            with open(os.path.join(self.agent.base, file)) as text:
                self.put(part, text.read())
        return os.path.join(self.agent.base, f"{name}.crt")

    def make_client(self, ca, name, days="2"):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
                     "-CAcreateserial", "-days", days, "-out", f"{name}.crt")
        return [os.path.join(self.agent.base, f"{name}.{end}") for end in ("crt", "key")]

    def setUp(self):
        super().setUp()
        self.server = self.make_server("server1")
        for ca in ("ca", "other"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-nodes", "-days", "2", "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out",
                         f"{ca}.crt")
        with open(os.path.join(self.agent.base, "ca.crt")) as text:
            self.put("ca", text.read())
        self.tls = ssl.create_default_context(cafile=self.server)

    def with_certificate(self, pair):
        self.tls = ssl.create_default_context(cafile=self.server)
        self.tls.load_cert_chain(*pair)

    def test_certificates_give_roles(self):
        self.begin()
        self.agent.do("answer 2 8 0 0")
        self.assertEqual(self.ask("GET", "/primary")[0], 200)
        self.assertEqual(self.ask("DELETE", "/switchover")[0], 401)
        self.assertEqual(self.ask("DELETE", "/switchover", basic("ada"))[0], 404)
        self.with_certificate(self.make_client("ca", "lb.example"))
        self.assertEqual(self.ask("DELETE", "/switchover")[0], 404)
        self.assertEqual(self.ask("POST", "/failover", None,
                                  {"candidate": "n2", "accept_loss": True})[0], 403)
        # Signed by somebody else, or nobody that a row names: it proves nothing here.
        self.with_certificate(self.make_client("ca", "ada"))
        self.assertEqual(self.ask("DELETE", "/switchover")[0], 401)
        self.with_certificate(self.make_client("other", "lb.example"))
        try:
            self.assertEqual(self.ask("DELETE", "/switchover")[0], 401)
        except (ssl.SSLError, OSError):
            pass

    def test_no_plain_http_and_no_old_tls(self):
        self.begin()
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.agent.ask("GET", "/primary")
        self.assertEqual(self.ask("GET", "/primary")[0], 200)
        old = ssl.create_default_context(cafile=self.server)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        self.tls = old
        with self.assertRaises((ssl.SSLError, OSError)):
            self.ask("GET", "/primary")

    def test_a_new_certificate_with_the_reload(self):
        self.begin()
        self.assertEqual(self.ask("GET", "/primary")[0], 200)
        second = self.make_server("server2")
        self.agent.do("reload")
        self.tls = ssl.create_default_context(cafile=second)

        def served():
            try:
                return self.ask("GET", "/primary")[0] == 200
            except (ssl.SSLError, OSError):
                return False
        self.assertTrue(until(served))
        # A key that does not belong to it: the running one stays.
        with open(os.path.join(self.agent.base, "server1.key")) as text:
            self.put("tls_key", text.read())
        self.agent.do("reload")
        self.assertTrue(until(lambda: "gateway.keys http.tls_certificate_file" in self.agent.said()))
        self.assertTrue(served())

    def test_silent_and_broken_handshakes(self):
        self.begin()
        idle = [socket.create_connection(("127.0.0.1", self.agent.http), gateway_test.PATIENCE)
                for _ in range(50)]
        for each in idle[:25]:
            each.sendall(os.urandom(300))
        self.assertEqual(self.ask("GET", "/primary")[0], 200)
        for each in idle:
            each.close()
        self.assertEqual(self.ask("GET", "/primary")[0], 200)

    def test_a_stream_of_events_ends_with_the_certificate(self):
        self.begin()
        stream = subprocess.Popen(
            ["curl", "-sSN", "--cacert", self.server, "-H", "Accept: text/event-stream",
             f"https://127.0.0.1:{self.agent.http}/v1/events"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = iter(stream.stdout.readline, "")
        self.assertTrue(next(line for line in lines if line.startswith("data: ")))
        second = self.make_server("server2")
        self.agent.do("reload")
        self.assertTrue(until(lambda: stream.poll() is not None), "connections are made anew")
        stream.stdout.close()
        self.tls = ssl.create_default_context(cafile=second)
        self.assertTrue(until(lambda: self.said_200("/v1/leader")))

    def said_200(self, path):
        try:
            return self.ask("GET", path)[0] == 200
        except OSError:
            return False


if __name__ == "__main__":
    gateway_test.main()
