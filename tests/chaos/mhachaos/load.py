"""The load: clients that append to lists through the virtual IP and read them, everywhere.

usage: load.py PLAN       PLAN is JSON, see Load in this file; ends when standard input does.

Clients are threads: a thread lives in the network namespace it connects from. They never wait
without a deadline: psycopg2 is told to wait through `patient`, and a connection that was given up
is closed. What the server made of it is unknown then.
"""

import json
import os
import random
import select
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))
import psycopg2  # noqa: E402
from psycopg2 import extensions  # noqa: E402

from mhalab.system import enter_netns, now_ns  # noqa: E402

APPEND = ("INSERT INTO lists VALUES (%s, ARRAY[%s]::bigint[]) ON CONFLICT (key) "
          "DO UPDATE SET vals = lists.vals || excluded.vals")
READ = ("SELECT pg_is_in_recovery(), k, (SELECT vals FROM lists WHERE key = k) "
        "FROM unnest(%s::int[]) k")
PATIENCE = 1.5       # seconds for one statement
CONNECT = 1.0        # seconds for a connection
READ_ONLY = "25006"
PER_LIST = 48        # appends to one key, then its slot gets a new one
SLOTS = 6

_waiting = threading.local()


class GaveUp(Exception):
    """The deadline of a statement has passed."""


def patient(link):
    """psycopg2 waits here; an exception closes the connection."""
    poll = select.poll()
    registered = None
    while True:
        state = link.poll()
        if state == extensions.POLL_OK:
            return
        left = _waiting.until - time.monotonic()
        if left <= 0:
            raise GaveUp()
        if registered is not None:
            poll.unregister(registered)
        registered = link.fileno()
        poll.register(registered, select.POLLIN if state == extensions.POLL_READ
                      else select.POLLOUT)
        poll.poll(left * 1000)


class Keys:
    """Which keys are in use: a slot gets a new key when its list has grown long enough."""

    def __init__(self):
        self.lock = threading.Lock()
        self.generation = [0] * SLOTS
        self.used = [0] * SLOTS

    def current(self, slot):
        with self.lock:
            return self.generation[slot] * SLOTS + slot

    def for_append(self, slot):
        with self.lock:
            self.used[slot] += 1
            if self.used[slot] > PER_LIST:
                self.used[slot] = 1
                self.generation[slot] += 1
            return self.generation[slot] * SLOTS + slot


class Log:
    """One line of JSON per transaction, written out a few times a second."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.handle = open(path, "w", encoding="ascii", buffering=1 << 16)
        self.flushed = 0.0

    def add(self, record):
        line = json.dumps(record, separators=(",", ":")) + "\n"
        with self.lock:
            self.handle.write(line)
            if time.monotonic() - self.flushed > 0.2:
                self.handle.flush()
                self.flushed = time.monotonic()


class Client:
    """One thread with one connection at a time."""

    def __init__(self, load, number, row):
        self.load = load
        self.number = number
        self.row = row
        self.random = random.Random(f"{load.plan['seed']}:{number}")
        self.link = None
        self.next_value = number * 1_000_000_000
        self.committing = False

    def run(self):
        enter_netns(self.row["netns"])
        pace = self.row["pace_ms"] / 1000
        while not self.load.stop.is_set():
            began = time.monotonic()
            if self.link is None and not self.connect():
                self.load.stop.wait(0.03)
                continue
            self.load.log.add(self.transaction())
            self.load.stop.wait(max(0.0, began + pace * self.random.uniform(0.5, 1.5)
                                    - time.monotonic()))
        self.drop()

    def connect(self):
        _waiting.until = time.monotonic() + CONNECT
        try:
            self.link = psycopg2.connect(self.row["conninfo"])
            self.link.autocommit = True
            return True
        except (psycopg2.Error, GaveUp, OSError):
            self.link = None
            return False

    def drop(self):
        link, self.link = self.link, None
        if link is not None:
            try:
                link.close()
            except psycopg2.Error:
                pass

    # -- one transaction --------------------------------------------------------------------

    def transaction(self):
        """Do one; its record."""
        record = {"c": self.number, "t0": now_ns(), "t1": 0, "o": "unknown"}
        if self.row["node"]:
            record["on"] = self.row["node"]
        dice = self.random.random()
        self.committing = False
        del self.link.notices[:]
        try:
            if self.row["node"] or dice < 0.35:
                self.read(record)
            elif dice < 0.70:
                self.append(record)
            else:
                self.bundle(record, dice < 0.73)
        except GaveUp:
            record["o"] = "unknown" if self.committing else "fail"
            self.drop()
        except psycopg2.Error as trouble:
            record["o"] = self.judge(trouble)
        if self.link is not None and self.wait_was_cancelled():
            record["o"] = "unknown"
        record["t1"] = now_ns()
        return record

    def wait_was_cancelled(self):
        """A cancelled wait for the standbys is reported as success, with this warning."""
        return any("synchronous replication" in text for text in self.link.notices)

    def judge(self, trouble):
        """
        A plain ERROR rolled the transaction back. Everything else, while a commit was under way,
        may have come after it: the end of a session, a panic, a lost connection.
        """
        plain = trouble.diag.severity_nonlocalized == "ERROR" and not self.link.closed
        if not plain or trouble.pgcode == READ_ONLY:
            self.drop()  # a standby answers no appends: connect anew
        elif self.link.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
            self.roll_back()
        return "fail" if plain or not self.committing else "unknown"

    def roll_back(self):
        try:
            self.execute("ROLLBACK")
        except (psycopg2.Error, GaveUp):
            self.drop()

    def execute(self, sql, values=None):
        _waiting.until = time.monotonic() + PATIENCE
        cursor = self.link.cursor()
        cursor.execute(sql, values)
        return cursor

    def fresh(self):
        self.next_value += 1
        return self.next_value

    def read(self, record):
        slots = self.random.sample(range(SLOTS), self.random.randint(1, 3))
        keys = [self.load.keys.current(slot) for slot in slots]
        rows = self.execute(READ, (keys,)).fetchall()
        record["p"] = not rows[0][0]
        record["r"] = [[key, values or []] for _, key, values in rows]
        record["o"] = "ok"

    def append(self, record):
        key, value = self.load.keys.for_append(self.random.randrange(SLOTS)), self.fresh()
        record["a"] = [[key, value]]
        self.committing = True
        self.execute(APPEND, (key, value))
        record["o"] = "ok"

    def bundle(self, record, regret):
        """Appends to several keys in one transaction; `regret`: that is rolled back."""
        slots = sorted(self.random.sample(range(SLOTS), self.random.randint(2, 3)))
        pairs = sorted([self.load.keys.for_append(slot), self.fresh()] for slot in slots)
        record["a"] = pairs
        self.execute("BEGIN")
        for key, value in pairs:
            self.execute(APPEND, (key, value))
        if regret:
            self.execute("ROLLBACK")
            record["o"] = "fail"
            return
        self.committing = True
        answer = self.execute("COMMIT").statusmessage
        record["o"] = "ok" if answer == "COMMIT" else "fail"


class Load:
    """PLAN: {"seed", "log", "clients": [{"netns", "conninfo", "node", "pace_ms"}, ...]}."""

    def __init__(self, plan):
        self.plan = plan
        self.stop = threading.Event()
        self.keys = Keys()
        self.log = Log(plan["log"])

    def run(self):
        extensions.set_wait_callback(patient)
        threads = []
        for number, row in enumerate(self.plan["clients"], 1):
            threads.append(threading.Thread(target=self.guard, args=(Client(self, number, row),),
                                            daemon=True))
        for thread in threads:
            thread.start()
        while sys.stdin.buffer.read(4096):
            pass
        self.stop.set()
        for thread in threads:
            thread.join(10)
        self.log.handle.close()

    def guard(self, client):
        """A client that fails is a bug of the load: the driver must hear of it."""
        try:
            client.run()
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        Load(json.load(file)).run()
