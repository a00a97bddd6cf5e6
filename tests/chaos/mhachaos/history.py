"""What the clients of the lists saw, and what is wrong with it.

Every value is appended once, to the end of a list that has a key. A list is only ever added to, so
all that anybody reads of one key must be the beginning of what is there in the end.

A record of the log is one transaction of one client:

    {"c": client, "t0": began ns, "t1": ended ns, "o": "ok" | "fail" | "unknown", "on": node,
     "p": true when the server was out of recovery, "a": [[key, value], ...],
     "r": [[key, [value, ...]], ...]}

`ok`: the commit was acknowledged without a warning. `fail`: the server refused it before it could
commit. `unknown`: the connection was lost, or nobody waited for the answer: it may be there.
`on` is empty for what goes through the virtual IP. Only reads of transactions that are `ok` count.
"""

import bisect
import json
from array import array
from collections import namedtuple

# Each with what it means; the first group must never happen.
ANOMALIES = {
    "lost": "an acknowledged append is not there in the end",
    "duplicate": "a value is twice in one list",
    "fork": "two lists of one key, neither of which begins the other",
    "aborted-read": "a value of a transaction that the server had refused was read",
    "phantom": "a value was read that nobody had appended to that key",
    "stale-read": "a primary did not show what was acknowledged, or had been read from a primary, "
                  "before the read began",
    "torn": "of one transaction's appends only some are there",
    "node-differs": "a node holds another list than the primary, after everybody had caught up",
    "unacknowledged-vanished": "a value whose commit nobody had acknowledged was read, and is gone",
}
# docs/chaos.md has why these are no violation of what is promised.
BY_DESIGN = frozenset({"unacknowledged-vanished"})

Append = namedtuple("Append", "value outcome began ended")
Read = namedtuple("Read", "began ended primary node values")


class Findings:
    """Counts by name, with the first few of each in words."""

    SAMPLES = 5

    def __init__(self):
        self.counts = dict.fromkeys(ANOMALIES, 0)
        self.samples = {}

    def add(self, name, text):
        self.counts[name] += 1
        texts = self.samples.setdefault(name, [])
        if len(texts) < self.SAMPLES:
            texts.append(text)

    def violations(self, loss_allowed=False):
        """What must not have happened; a mode that may lose commits may lose commits."""
        allowed = BY_DESIGN | ({"lost", "torn"} if loss_allowed else set())
        return {name: count for name, count in self.counts.items()
                if count and name not in allowed}


class Key:
    """Everything that happened to one key."""

    def __init__(self):
        self.appends = {}
        self.reads = []


class History:
    """All transactions so far, by key."""

    def __init__(self):
        self.keys = {}
        self.bundles = {}  # value -> all (key, value) of its transaction, where there are several
        self.touched = set()
        self.outcomes = {"ok": 0, "fail": 0, "unknown": 0}
        self.reads = 0

    def key(self, number):
        found = self.keys.get(number)
        if found is None:
            found = self.keys[number] = Key()
        return found

    def add(self, record):
        """Take one record of the log."""
        outcome, began, ended = record["o"], record["t0"], record["t1"]
        appends, reads = record.get("a", ()), record.get("r", ())
        if appends:
            self.outcomes[outcome] += 1
        for number, value in appends:
            self.key(number).appends[value] = Append(value, outcome, began, ended)
            self.touched.add(number)
            if len(appends) > 1:
                self.bundles[value] = tuple(tuple(pair) for pair in appends)
        if outcome != "ok":
            return
        for number, values in reads:
            self.reads += 1
            self.key(number).reads.append(
                Read(began, ended, record.get("p", True), record.get("on", ""),
                     array("q", values)))
            self.touched.add(number)

    def add_lines(self, lines):
        for line in lines:
            self.add(json.loads(line))


def common(one, other):
    """How many values the beginnings of two lists share."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(i for i in range(shorter) if one[i] != other[i])


def check_final(number, key, final, findings, whole):
    """
    The list that is there in the end, against the appends. `whole`: the log is complete, so a
    value that is not in it was appended by nobody.
    """
    seen = set()
    for value in final:
        if value in seen:
            findings.add("duplicate", f"key {number}: {value} twice in the end")
        seen.add(value)
        append = key.appends.get(value)
        if append is None:
            if whole:
                findings.add("phantom", f"key {number}: {value} in the end")
        elif append.outcome == "fail":
            findings.add("aborted-read", f"key {number}: {value} in the end")
    return seen


def check_lost(number, key, present, before, findings):
    for append in key.appends.values():
        if append.outcome == "ok" and append.ended < before and append.value not in present:
            findings.add("lost", f"key {number}: {append.value}, acknowledged at {append.ended}")


def check_tail(number, key, read, same, place, findings, whole):
    """What a read showed beyond the list of the end. True: it is a fork."""
    where = f"key {number}: read on {read.node or 'the VIP'} at {read.began}"
    gone = []
    for value in read.values[same:]:
        append = key.appends.get(value)
        if append is None:
            if whole:
                findings.add("phantom", f"{where}: {value}")
        elif append.outcome == "fail":
            findings.add("aborted-read", f"{where}: {value}")
        elif value in place:
            findings.add("fork", f"{where}: {value} stands at another place in the end")
            return True
        elif append.outcome == "unknown":
            gone.append(value)
        # what was acknowledged and is gone counts as lost already
    if gone:
        findings.add("unacknowledged-vanished",
                     f"{where}: {len(gone)} of {len(read.values)} values, the first is {gone[0]}")
    return False


def check_order(number, key, measured, place, findings):
    """What was acknowledged or read from a primary must be seen by every later read of one."""
    known = [(append.ended, place[append.value] + 1) for append in key.appends.values()
             if append.outcome == "ok" and append.value in place]
    known += [(read.ended, same) for read, same in measured if read.primary]
    known.sort()
    times = [ended for ended, _ in known]
    most, highest = [], 0
    for _, length in known:
        highest = max(highest, length)
        most.append(highest)
    for read, same in measured:
        if not read.primary:
            continue
        before = bisect.bisect_left(times, read.began)
        if before and same < most[before - 1]:
            findings.add("stale-read",
                         f"key {number}: read on {read.node or 'the VIP'} at {read.began} shows "
                         f"{same} of {most[before - 1]} values that were known before")


def check_key(number, key, final, findings, before=None):
    """
    One key against its list of the end, or of a checkpoint: `before` is when the list was read,
    and only what had ended by then is looked at.
    """
    whole, before = before is None, 1 << 63 if before is None else before
    place = {}
    for i, value in enumerate(final):
        place.setdefault(value, i)
    present = check_final(number, key, final, findings, whole)
    check_lost(number, key, present, before, findings)
    measured = []
    last = array("q", final)
    for read in key.reads:
        if read.ended >= before:
            continue
        if len(set(read.values)) != len(read.values):
            findings.add("duplicate", f"key {number}: in a read at {read.began}")
        same = common(read.values, last)
        if same < len(read.values) and check_tail(number, key, read, same, place, findings,
                                                  whole):
            continue
        measured.append((read, same))
    check_order(number, key, measured, place, findings)


def check_bundles(history, finals, findings, before=None):
    """The appends of one transaction are there together, or none of them is."""
    before = before if before is not None else 1 << 63
    sets = {number: set(values) for number, values in finals.items()}
    looked = set()
    for value, pairs in history.bundles.items():
        if pairs in looked or any(number not in sets for number, _ in pairs):
            continue
        looked.add(pairs)
        if history.keys[pairs[0][0]].appends[pairs[0][1]].ended >= before:
            continue
        there = [item for number, item in pairs if item in sets[number]]
        if there and len(there) < len(pairs):
            findings.add("torn", f"{there} of {[item for _, item in pairs]} are there")


def check_torn_reads(records, history, findings):
    """The same for reads of several keys in one statement; `records` are raw ones."""
    for record in records:
        if record["o"] != "ok" or len(record.get("r", ())) < 2:
            continue
        shown = {number: set(values) for number, values in record["r"]}
        for number, values in shown.items():
            for value in values:
                for other, item in history.bundles.get(value, ()):
                    if other in shown and item not in shown[other]:
                        findings.add("torn", f"a read at {record['t0']} shows {value} of key "
                                             f"{number} without {item} of key {other}")


def check_nodes(finals, nodes, findings):
    """`nodes`: {name: {key: list}}, read after the node had caught up with `finals`."""
    for name, lists in nodes.items():
        for number, final in finals.items():
            held = lists.get(number, [])
            if list(held[:len(final)]) != list(final):
                findings.add("node-differs", f"key {number}: {name} holds {len(held)} values, the "
                                             f"primary {len(final)}; {common(held, final)} agree")


def check(history, finals, nodes=None, before=None, keys=None):
    """Everything, or the given keys; `finals`: {key: list}."""
    findings = Findings()
    for number in sorted(history.keys if keys is None else keys):
        check_key(number, history.key(number), list(finals.get(number, ())), findings, before)
    lists = {number: finals.get(number, ()) for number in
             (history.keys if keys is None else keys)}
    check_bundles(history, lists, findings, before)
    check_nodes(lists, nodes or {}, findings)
    return findings
