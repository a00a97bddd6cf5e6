"""Figures of a run: twins, percentiles, tables."""

import bisect
from array import array

from mhalab import report as lab_report
from mhalab.report import percentile


class Twins:
    """Reigns as mhalab.judge knows them, fed piece by piece."""

    def __init__(self):
        self.reigns = {}

    def add(self, node, writes):
        for write in writes:
            reign = self.reigns.setdefault((node, write.timeline),
                                           {"first": write.answered, "sent": array("q")})
            reign["first"] = min(reign["first"], write.answered)
            bisect.insort(reign["sent"], write.sent)

    def pairs(self):
        """(earlier reign, later reign, writes of the earlier one that began within the later)."""
        ordered = sorted(self.reigns.items(), key=lambda item: item[1]["first"])
        found = []
        for i, (early, reign) in enumerate(ordered):
            for late, successor in ordered[i + 1:]:
                if early[0] == late[0] or reign["sent"][-1] <= successor["first"]:
                    continue
                sent = reign["sent"]
                count = len(sent) - bisect.bisect_right(sent, successor["first"])
                found.append((early, late, count))
        return found

    def moments(self):
        return sum(count for _, _, count in self.pairs())

    def texts(self):
        return [f"{early[0]} (timeline {early[1]}) accepted {count} writes after {late[0]} "
                f"(timeline {late[1]}) had accepted its first" for early, late, count
                in self.pairs()]


def label(episode):
    """Which row of the table an episode belongs to."""
    done = [act for act in episode["acts"] if not act.get("skipped")]
    if len(done) != 1:
        return f"{len(done)} faults" if done else "none"
    act = done[0]
    return f"{act['kind']} {'primary' if act['was_primary'] else 'other'}"


def _cell(value, digits=0):
    return "-" if value is None else f"{value:.{digits}f}"


def outage_table(episodes):
    rows = []
    for name in sorted({label(episode) for episode in episodes}):
        mine = [episode for episode in episodes if label(episode) == name]
        outages = [e["outage_ms"] for e in mine if e.get("outage_ms") is not None]
        back = [e["whole_s"] for e in mine if e.get("whole_s") is not None]
        rows.append([name, len(mine)] + [_cell(percentile(outages, p)) for p in (50, 90, 99, 100)]
                    + [_cell(percentile(back, p), 1) for p in (50, 100)])
    return lab_report.table(["fault", "episodes", "outage ms p50", "p90", "p99", "max",
                             "whole again s p50", "max"], rows)


def fault_counts(episodes):
    counts = {}
    for episode in episodes:
        for act in episode["acts"]:
            row = counts.setdefault(act["kind"], [0, 0])
            row[1 if act.get("skipped") else 0] += 1
    return counts


def text(result):
    """The table at the end."""
    episodes = result["episodes"]
    counts = fault_counts(episodes)
    done = sum(row[0] for row in counts.values())
    lines = ["", outage_table(episodes), "",
             lab_report.table(["fault", "survived", "not done"],
                              [[kind, *row] for kind, row in sorted(counts.items())])]
    if result["calls"]:
        lines += ["", lab_report.table(["call of mhactl", "outcome", "times"],
                                       [[verb, outcome, times]
                                        for verb, row in sorted(result["calls"].items())
                                        for outcome, times in sorted(row.items())])]
    outages = [e["outage_ms"] for e in episodes if e.get("outage_ms") is not None]
    lines += ["", f"seed {result['seed']}, {result['layout']} nodes, {result['mode']}: "
                  f"{result['minutes']:.1f} minutes, {len(episodes)} episodes, {done} faults"]
    if outages:
        lines.append("outage of an episode       " + ", ".join(
            f"{name} {_cell(percentile(outages, p))} ms"
            for name, p in (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100))))
    lines += [f"ledger: acknowledged       {result['acknowledged']}",
              f"ledger: missing            {result['missing']}",
              f"lists: transactions        {result['outcomes']['ok']} ok, "
              f"{result['outcomes']['fail']} refused, {result['outcomes']['unknown']} unknown; "
              f"{result['reads']} lists read",
              f"twin moments               {result['twin_moments']}",
              f"nodes needing a human      {len(result['needing_human'])}"
              + (f": {', '.join(result['needing_human'])}" if result["needing_human"] else "")]
    for name, count in result["anomalies"].items():
        lines.append(f"{name:26} {count}")
    for name, samples in result["samples"].items():
        lines += [f"  {name}: {sample}" for sample in samples]
    lines += [f"  {words}" for words in result["twins"]]
    if result["missing_ids"]:
        lines.append(f"  missing: {', '.join(map(str, result['missing_ids']))} ...")
    if result["trouble"]:
        lines.append(f"trouble: {result['trouble']}")
    return "\n".join(lines)
