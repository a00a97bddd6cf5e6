"""The fence of a planned switchover around a real PostgreSQL and its standby. Needs root."""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import time
import unittest

from vip_bench import (CLIENTS, CLOSED, LONG, OPEN, PATIENCE, PORT, V4, V6, Bench, now_ns, run,
                       until)

PROGRAMS = None
PG_BIN = max(glob.glob("/usr/lib/postgresql/*/bin"), default="")


def postgres_in(namespace, *words):
    """A command as the database's user, in a network namespace."""
    return ["ip", "netns", "exec", namespace, "setpriv", "--reuid", "postgres", "--regid",
            "postgres", "--clear-groups", *words]


class Server:
    """One PostgreSQL on PORT of a namespace, by hand."""

    def __init__(self, namespace, directory):
        self.namespace = namespace
        self.directory = directory
        self.data = directory + "/data"
        os.mkdir(directory)
        shutil.chown(directory, "postgres", "postgres")

    def do(self, program, *words):
        return run(*postgres_in(self.namespace, f"{PG_BIN}/{program}", *words),
                   cwd=self.directory)

    def settings(self, text):
        with open(self.data + "/postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(text)

    def initdb(self):
        self.do("initdb", "--no-sync", "-A", "trust", "-D", self.data)
        self.settings(f"listen_addresses = '*'\nport = {PORT}\nfsync = off\n"
                      f"unix_socket_directories = '{self.directory}'\n"
                      "wal_retrieve_retry_interval = 100ms\nshared_buffers = 32MB\n")
        with open(self.data + "/pg_hba.conf", "a", encoding="utf-8") as hba:
            hba.write("host all all all trust\nhost replication all all trust\n")

    def clone(self, host):
        self.do("pg_basebackup", "--no-sync", "-c", "fast", "-h", host, "-U", "postgres", "-D",
                self.data)
        self.settings(f"primary_conninfo = 'host={host} user=postgres sslmode=disable'\n"
                      f"unix_socket_directories = '{self.directory}'\n")
        with open(self.data + "/standby.signal", "wb"):
            pass

    def start(self):
        self.do("pg_ctl", "-D", self.data, "-l", self.directory + "/log", "-w", "-t", "120",
                "start")

    def stop(self, mode="immediate"):
        self.do("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "120", "stop")

    def end(self):
        """The same, also of one that does not run."""
        subprocess.run(postgres_in(self.namespace, f"{PG_BIN}/pg_ctl", "-D", self.data, "-m",
                                   "immediate", "-w", "-t", "120", "stop"),
                       check=False, capture_output=True)

    def ask(self, sql):
        return self.do("psql", "-X", "-A", "-t", "-h", self.directory, "-p", str(PORT), "-U",
                       "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", sql).strip()


class SwitchoverTest(unittest.TestCase):
    def setUp(self):
        self.bench = Bench(PROGRAMS, database=False)
        self.addCleanup(self.bench.close)
        self.primary = Server(self.bench.a, self.bench.dir + "/primary")
        self.standby = Server(self.bench.b, self.bench.dir + "/standby")
        self.rig = self.bench.rig()
        self.rig.spawn()
        self.rig.order("close 7")
        self.rig.tell(f"auto 7 {LONG} 100")
        self.rig.expect("report", state=OPEN, epoch=7, vip_held=1)

    def stream(self, host):
        self.primary.initdb()
        self.addCleanup(self.primary.end)
        self.primary.start()
        self.primary.ask("CREATE TABLE t (n int)")
        self.standby.clone(host)
        self.addCleanup(self.standby.end)
        self.standby.start()
        until(lambda: self.sender() != "", "the standby streams")

    def sender(self):
        return self.primary.ask("SELECT pid || ' ' || backend_start FROM pg_stat_replication "
                                "WHERE state = 'streaming'")

    def client(self, host, source_namespace, sql):
        """psql over TCP: from the host itself, or from a member's host on the VIP."""
        return self.psql(source_namespace, "-h", host, "-p", str(PORT), "-U", "postgres", "-d",
                         "postgres", "-c", sql)

    def psql(self, namespace, *words):
        session = subprocess.Popen(
            ["ip", "netns", "exec", namespace, f"{PG_BIN}/psql", "-X", *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def end():
            session.kill()
            session.wait()
            session.stdout.close()

        self.addCleanup(end)
        return session

    def connected(self, count):
        return lambda: self.primary.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'") == \
            str(count)

    def switchover(self, host):
        self.stream(host)
        sender = self.sender()
        sessions = [self.client("127.0.0.1", self.bench.a, "SELECT pg_sleep(3600)"),
                    self.client(V4["vip"], self.bench.b, "SELECT pg_sleep(3600)")]
        until(self.connected(len(sessions)), "the sessions wait")
        self.rig.tell("off")
        started = time.monotonic()
        self.rig.order(f"clients 7 {LONG}")
        self.rig.tell(f"hold 7 {LONG} 100")
        for session in sessions:
            output, _ = session.communicate(timeout=PATIENCE)
            self.assertNotEqual(session.returncode, 0, output)
        cut_ms = (time.monotonic() - started) * 1e3
        refused = self.client("127.0.0.1", self.bench.a, "SELECT 1")
        output, _ = refused.communicate(timeout=PATIENCE)
        self.assertIn("Connection refused", output)
        self.assertFalse(self.bench.has_vip())
        # The stream is the same, and what is written on the local socket goes through it.
        self.primary.ask("INSERT INTO t VALUES (1)")
        until(lambda: self.standby.ask("SELECT count(*) FROM t") == "1", "the row arrives")
        self.assertEqual(self.sender(), sender)
        return cut_ms

    def finish(self, cut_ms):
        started = time.monotonic()
        self.primary.stop("fast")
        stop_ms = (time.monotonic() - started) * 1e3
        control = self.primary.do("pg_controldata", "-D", self.primary.data)
        shutdown = next(line.split(":", 1)[1].strip() for line in control.splitlines()
                        if line.startswith("Latest checkpoint location"))
        self.assertIn("shut down", control)
        until(lambda: self.standby.ask(
            f"SELECT pg_last_wal_receive_lsn() > '{shutdown}'") == "t",
            "the shutdown checkpoint has arrived")
        print(f"\n  clients cut within {cut_ms:.0f} ms, the server stopped in {stop_ms:.0f} ms, "
              "its last record is on the standby")
        self.rig.tell("off")
        self.rig.order("close 7")
        self.assertEqual(self.rig.status()["fence"], CLOSED)

    def test_streaming_goes_on_to_the_last_record(self):
        self.finish(self.switchover(V4["host"]))

    def test_streaming_over_ipv6_goes_on_to_the_last_record(self):
        self.finish(self.switchover(V6["host"]))

    def test_a_standby_may_connect_anew(self):
        self.switchover(V4["host"])
        self.rig.tell(f"auto 7 {LONG} 100")
        self.rig.expect("report", state=OPEN)
        self.rig.tell("off")
        self.rig.order(f"clients 7 {LONG}")
        self.rig.tell(f"hold 7 {LONG} 100")
        self.assertEqual(self.rig.status()["fence"], CLIENTS)
        before = self.sender()
        self.primary.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        until(lambda: self.sender() not in ("", before), "it streams again")

    def blocked_in_commit(self):
        """A client whose INSERT waits for a standby that does not exist."""
        self.stream(V4["host"])
        self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        self.primary.ask("SELECT pg_reload_conf()")
        keep = "keepalives_idle=1 keepalives_interval=1 keepalives_count=3"
        client = self.psql(
            self.bench.b, f"host={V4['vip']} port={PORT} user=postgres dbname=postgres {keep}",
            "-c", "INSERT INTO t VALUES (3)")
        until(lambda: self.primary.ask("SELECT count(*) FROM pg_stat_activity "
                                       "WHERE wait_event = 'SyncRep'") == "1", "it waits")
        return client

    def test_a_close_frees_who_waits_in_a_commit(self):
        client = self.blocked_in_commit()
        self.rig.tell("off")
        started = time.monotonic()
        self.rig.order("close 7")
        output, _ = client.communicate(timeout=PATIENCE)
        print(f"\n  freed within {(time.monotonic() - started) * 1e3:.0f} ms")
        self.assertNotEqual(client.returncode, 0)
        self.assertNotIn("INSERT 0 1", output)

    def test_a_wait_in_a_commit_ends_in_no_acknowledgement_while_vip_is_stopped(self):
        client = self.blocked_in_commit()
        end_ns = self.rig.last_lease()
        self.rig.tell("stop")
        self.assertEqual(self.rig.status()["until_ns"], end_ns)
        until(lambda: now_ns() > end_ns, "the lease's end")
        # The server lets it go, too late: its word does not get out any more.
        self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = ''")
        self.primary.ask("SELECT pg_reload_conf()")
        until(lambda: self.primary.ask("SELECT count(*) FROM t WHERE n = 3") == "1",
              "the commit is done inside")
        output, _ = client.communicate(timeout=PATIENCE)
        self.assertNotEqual(client.returncode, 0)
        self.assertNotIn("INSERT 0 1", output)

    def test_an_abort_lets_clients_write_again(self):
        self.switchover(V4["host"])
        self.rig.tell(f"auto 7 {LONG} 100")
        self.rig.expect("report", state=OPEN, vip_held=1)
        again = self.client(V4["vip"], self.bench.b, "INSERT INTO t VALUES (2)")
        output, _ = again.communicate(timeout=PATIENCE)
        self.assertEqual(again.returncode, 0, output)

    def test_the_end_of_the_lease_ends_the_stream_too(self):
        self.switchover(V4["host"])
        self.rig.tell("off")
        self.rig.expect("report", state=CLOSED)
        self.primary.ask("INSERT INTO t VALUES (2)")
        until(lambda: self.sender() == "", "the stream has ended")
        self.assertEqual(self.standby.ask("SELECT count(*) FROM t"), "1")


def main():
    global PROGRAMS
    parser = argparse.ArgumentParser()
    parser.add_argument("--vip", required=True)
    parser.add_argument("--rig", required=True)
    PROGRAMS, rest = parser.parse_known_args()
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces")
        return 77
    if not PG_BIN:
        print("skipped: no PostgreSQL server is installed")
        return 77
    outcome = unittest.main(argv=[sys.argv[0], *rest], exit=False, verbosity=2)
    return 0 if outcome.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
