"""
Scenarios of libmha: an application that finds its database through the library survives failovers
and switchovers, and reads its own writes wherever it is sent.
"""

import json
import signal
import subprocess
import threading
import time

from . import config, operations
from .system import LabError, SafetyError, enter_netns, wait_until

REQUESTS = "tcp://0.0.0.0:7401"  # client.listen: the application is on another host
TABLE = "public.app_rows"
ERRORS_IN_A_ROW = 1000  # of the application: one is at most some seconds, most are 100 ms
PAUSED_ROWS = 2


def superuser(run, node, sql):
    """One statement as PostgreSQL's superuser, over the node's own socket."""
    done = subprocess.run(
        ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "psql", "-AtqX",
         "-h", node["socket_dir"], "-p", str(config.PG_PORT), "-d", config.DBNAME,
         "-v", "ON_ERROR_STOP=1", "-c", sql],
        capture_output=True, text=True, timeout=run.deadline, check=False)
    if done.returncode != 0:
        raise LabError(f"{sql} on {node['name']}: {done.stderr}")
    return done.stdout.strip()


def make_table(run):
    superuser(run, run.lab.primary(), f"CREATE TABLE IF NOT EXISTS {TABLE} (client int, id bigint, "
              f"PRIMARY KEY (client, id)); ALTER TABLE {TABLE} OWNER TO {config.USER}")


class App:
    """The sample application, on the clients' host, knowing one member's address."""

    def __init__(self, run, *options):
        lab = run.lab
        params = {"user": config.USER, "password": lab.plan["password"], "dbname": config.DBNAME,
                  "sslmode": "disable", "gssencmode": "disable", "connect_timeout": "2",
                  "tcp_user_timeout": "3000", "keepalives_idle": "1", "keepalives_interval": "1",
                  "keepalives_count": "3"}
        command = [lab.tool("mha-app"), "-t", TABLE, "-m", str(ERRORS_IN_A_ROW), *options]
        for pair in params.items():
            command += ["-p", "=".join(pair)]
        self.run = run
        self.written = 0
        self.errors = []
        self.result = None
        self.process = subprocess.Popen(
            [*command, f"tcp://{lab.nodes[0]['addr']}:7401"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: enter_netns(lab.plan["client_ns"]))
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("written "):
                self.written = int(line.split()[1])
            elif line.startswith("{"):
                self.result = json.loads(line)

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.strip())

    def goes_on(self, rows=300):
        """Until it has written so many more."""
        end = self.written + rows

        def check():
            if self.process.poll() is not None:
                raise LabError(f"the application ended: {self.result} {self.errors[-3:]}")
            return self.written >= end
        wait_until(check, self.run.deadline, f"the application to write {rows} rows")

    def end(self, stop=True):
        """What it has counted; everything that it has written is there."""
        if stop:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(self.run.deadline)
        except subprocess.TimeoutExpired:
            raise LabError(f"the application does not end: {self.errors[-3:]}") from None
        for reader in self.readers:
            reader.join()
        if self.result is None or code != 0:
            raise LabError(f"the application ended with {code}: {self.result} {self.errors[-3:]}")
        found = int(superuser(self.run, self.run.lab.primary(), f"SELECT count(*) FROM {TABLE} "
                              f"WHERE client = {self.result['client']} "
                              f"AND id <= {self.result['written']}"))
        if found != self.result["written"]:
            raise SafetyError(f"{self.result['written'] - found} rows are missing")
        return self.result

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def app(run):
    """libmha: an application writes through a failover and a switchover, with bounded errors"""
    make_table(run)
    program = App(run, "-g", "2")
    try:
        program.goes_on()
        victim = run.lab.primary()
        run.fault("node-crash", victim)
        run.moved(victim)
        program.goes_on()
        run.repair("start", victim)
        run.whole()
        before = len(program.errors)
        if before == 0:
            raise LabError("the application has noticed nothing of a failover")
        operations.in_sync(run)
        seconds = operations.switch(run, operations.other_data(run, run.lab.primary()))
        program.goes_on()
        counted = program.end()
        run.notes.append(f"{counted['written']} rows, {before} failed attempts in the failover, "
                         f"{counted['errors'] - before} in the switchover")
        return seconds
    finally:
        program.kill()


def rows_read(run, rows):
    """A whole run of the application that reads each row back; what it has counted."""
    program = App(run, "-r", "-n", str(rows))
    try:
        counted = program.end(stop=False)
    finally:
        program.kill()
    if counted["read_missing"] or counted["read_replica"] + counted["read_primary"] != rows:
        raise SafetyError(f"own writes were not read: {counted}")
    return counted


def replay(run, node, what):
    superuser(run, node, f"SELECT pg_wal_replay_{what}()")


def read_own_writes(run):
    """libmha: own writes are read with a token, though replay is paused on one and on all standbys"""
    make_table(run)
    standbys = [node for node in run.lab.data_nodes
                if node["name"] != run.lab.primary()["name"]]
    try:
        replay(run, standbys[0], "pause")
        one = rows_read(run, 30)
        if one["read_replica"] == 0:
            raise LabError(f"the other standby was never good enough: {one}")
        replay(run, standbys[1], "pause")
        both = rows_read(run, PAUSED_ROWS)
        if both["read_replica"] != 0:
            raise SafetyError(f"a standby was read that replays nothing: {both}")
    finally:
        for node in standbys:
            replay(run, node, "resume")
    began = time.monotonic()
    neither = rows_read(run, 30)
    if neither["read_replica"] == 0:
        raise LabError(f"no standby was good enough: {neither}")
    run.notes.append(f"read on standbys with one paused {one['read_replica']} of 30, with none "
                     f"{neither['read_replica']} of 30 in {time.monotonic() - began:.1f} s")
    return run.whole()


SCENARIOS = {"library-app": app, "library-read-own": read_own_writes}
SETTINGS = (("client.listen", REQUESTS),)
