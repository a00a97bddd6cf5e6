"""What the probe's logs say: outage, losses, and moments with two writable nodes.

All times are CLOCK_MONOTONIC nanoseconds of one machine. A write was committed at some instant
between `sent` and `answered`. A *reign* is a pair (node, timeline); two reigns must follow each
other. Two reigns of different nodes overlapped beyond doubt when one of them accepted a write
that was sent after the other had already answered its first, and the first reign was not over.
"""

import os
from collections import namedtuple

Write = namedtuple("Write", "id sent answered timeline")
Reign = namedtuple("Reign", "node timeline first_answered first_sent last_sent last_answered "
                            "writes")


def parse_log(lines):
    """(acknowledged, doubtful) of lines of a client's log."""
    acknowledged, doubtful = [], []
    for line in lines:
        fields = line.split()
        if len(fields) != 5 or not line.endswith("\n"):
            continue  # the last line of a probe that was killed
        mark, number, sent, answered, timeline = fields
        write = Write(int(number), int(sent), int(answered), timeline)
        (acknowledged if mark == "A" else doubtful).append(write)
    return acknowledged, doubtful


def read_log(path):
    """The same of a whole log."""
    with open(path, encoding="ascii") as handle:
        return parse_log(handle)


def reigns(polls):
    """Reigns out of [(node, acknowledged writes)], in the order of their first write."""
    by_reign = {}
    for node, writes in polls:
        for write in writes:
            by_reign.setdefault((node, write.timeline), []).append(write)
    found = []
    for (node, timeline), writes in by_reign.items():
        found.append(Reign(node, timeline, min(w.answered for w in writes),
                           min(w.sent for w in writes), max(w.sent for w in writes),
                           max(w.answered for w in writes), writes))
    return sorted(found, key=lambda reign: reign.first_answered)


def twins(found):
    """Pairs of reigns that overlapped: (moments beyond doubt, list of descriptions, unsure)."""
    moments, unsure, texts = 0, 0, []
    for i, early in enumerate(found):
        for late in found[i + 1:]:
            if early.node == late.node:
                continue
            if early.last_sent > late.first_answered:
                count = sum(1 for w in early.writes if w.sent > late.first_answered)
                moments += count
                texts.append(
                    f"{early.node} (timeline {early.timeline}) accepted {count} writes after "
                    f"{late.node} (timeline {late.timeline}) had accepted its first, the last "
                    f"{(early.last_sent - late.first_answered) / 1e6:.1f} ms later")
            elif early.last_answered > late.first_sent:
                unsure += 1
    return moments, texts, unsure


def gaps(acknowledged, begin=None, end=None):
    """
    Gaps between consecutive acknowledgements that end between `begin` and `end`:
    [(length, from, to)] in ns, longest first.
    """
    times = sorted(w.answered for w in acknowledged)
    found = []
    for before, after in zip(times, times[1:]):
        if begin is not None and after < begin:
            continue
        if end is not None and after > end:
            continue
        found.append((after - before, before, after))
    return sorted(found, reverse=True)


NOTABLE_NS = 100_000_000  # a gap that a person would call an outage of its own


def outage(acknowledged, fault_ns, until_ns=None):
    """
    The longest gap that ended after the fault: a dict in ms, None without acknowledgements.
    `further_gaps` are the other notable ones: [ms after the fault at which it ended, length in ms].
    """
    found = gaps(acknowledged, fault_ns, until_ns)
    baseline = gaps([w for w in acknowledged if w.answered < fault_ns])
    if not found:
        return None
    length, before, after = found[0]
    return {"outage_ms": length / 1e6,
            "fault_to_ack_ms": (after - fault_ns) / 1e6,
            "last_ack_ns": before, "first_ack_ns": after,
            "further_gaps": [[round((g[2] - fault_ns) / 1e6), round(g[0] / 1e6)]
                             for g in found[1:] if g[0] >= NOTABLE_NS],
            "longest_gap_before_ms": baseline[0][0] / 1e6 if baseline else 0.0}


def handover(found, old, fault_ns):
    """Between `old`'s last accepted write and the next node's first one after the fault, in ms."""
    last = [r.last_answered for r in found if r.node == old and r.first_answered < fault_ns]
    first = [r.first_sent for r in found if r.node != old and r.first_answered > fault_ns]
    if not last or not first:
        return None
    return (min(first) - max(last)) / 1e6


def missing(acknowledged, present):
    """Acknowledged ids that are not in the table."""
    return sorted({w.id for w in acknowledged} - present)


def log_path(directory, name):
    return os.path.join(directory, f"{name}.log")
