"""Numbers for people: the probe's report, and tables with median and range."""

import math
import statistics

GAPS_TOLD = 5  # of one fault; a table has the median and the range of all of them


def milliseconds(value):
    if value is None:
        return "-"
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def longest_gaps(fault):
    """(end, length) of the longest further gaps of one fault, the longest first."""
    return sorted(fault.get("further_gaps", []), key=lambda gap: -gap[1])[:GAPS_TOLD]


def gaps_untold(fault):
    """How many more there are than longest_gaps() gives."""
    return max(0, len(fault.get("further_gaps", [])) - GAPS_TOLD)


def probe_text(verdict):
    """The report of one probe run."""
    lines = []
    for fault in verdict["faults"]:
        lines.append(f"{fault['kind']} on {fault['node']}:")
        lines.append(f"  outage                {milliseconds(fault.get('outage_ms'))} "
                     "(last acknowledged write before, first one after)")
        lines.append(f"  fault to first write  {milliseconds(fault.get('fault_to_ack_ms'))}")
        for end, length in longest_gaps(fault):
            lines.append(f"  further gap           {length} ms, ended {end} ms after the fault")
        if gaps_untold(fault):
            lines.append(f"  further gaps          {gaps_untold(fault)} shorter ones")
        if fault["handover_ms"] is not None:
            lines.append(f"  old node's last write to the new node's first  "
                         f"{milliseconds(fault['handover_ms'])}")
    lines.append(f"acknowledged writes     {verdict['acknowledged']}")
    lines.append(f"without an answer       {verdict['doubtful']}")
    lines.append(f"missing acknowledged    {verdict['missing']}")
    lines.append(f"twin moments            {verdict['twin_moments']}"
                 + (f" (and {verdict['twins_unsure']} too close to tell)"
                    if verdict["twins_unsure"] else ""))
    lines += [f"  {text}" for text in verdict["twins"]]
    if verdict["missing"]:
        lines.append(f"  missing: {', '.join(str(i) for i in verdict['missing_ids'])} ...")
    return "\n".join(lines)


def spread(values, unit="ms"):
    """Median and range; a single value stands alone."""
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    digits = 1 if max(values) < 100 else 0
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return f"{middle} {unit}"
    return f"{middle} {unit} [{min(values):.{digits}f}..{max(values):.{digits}f}]"


def percentile(values, percent):
    """The smallest value that so many of a hundred do not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def distribution(values):
    """Median, 90th and 99th percentile and the largest of many values in ms."""
    values = [value for value in values if value is not None]
    return ", ".join(f"{name} {milliseconds(percentile(values, p))}" for name, p in
                     (("p50", 50), ("p90", 90), ("p99", 99), ("longest", 100)))


def table(head, rows):
    """Columns as wide as their widest cell."""
    cells = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
