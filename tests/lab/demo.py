"""What tools/demo shows once everything is built."""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mhalab import config, faults, report  # noqa: E402
from mhalab.lab import DEFAULT_DIR, Lab, say  # noqa: E402
from mhalab.probe import Probe, wait_serving, wait_whole  # noqa: E402
from mhalab.system import LabError  # noqa: E402

DEADLINE = 180


def title(text):
    say(f"\n== {text}")


def start(lab):
    began = time.monotonic()
    lab.build()
    for node in lab.nodes:
        lab.start(node)
    say("   three agents run; one creates the database, the others clone it ...")
    wait_serving(lab, os.path.join(lab.dir, "probe-up"), DEADLINE)
    say(f"   the first write through the VIP {config.VIP} is acknowledged after "
        f"{time.monotonic() - began:.1f} s")
    wait_whole(lab, DEADLINE)
    say(f"   every node serves or follows after {time.monotonic() - began:.1f} s")


def lose(lab, kind, text, turn):
    """Kill the primary while a client writes; what the client saw."""
    victim = lab.primary()
    title(f"{text} ({kind} {victim['name']})")
    with Probe(lab, os.path.join(lab.dir, f"probe-{turn}")) as probe:
        probe.wait_acknowledged(500, DEADLINE, "the client before the fault")
        at = faults.do(lab, kind, victim)
        probe.wait_acknowledged(500, DEADLINE, "the client to write on")
        if lab.host(victim) is None:
            faults.do(lab, "start", victim)
        seconds = wait_whole(lab, DEADLINE)
        probe.wait_acknowledged(100, DEADLINE, "the client at the end")
    verdict = probe.verdict([{"kind": kind, "node": victim["name"], "at_ns": at}])
    fault = verdict["faults"][0]
    say(f"   outage                      {report.milliseconds(fault['outage_ms'])}\n"
        f"   acknowledged writes         {verdict['acknowledged']}\n"
        f"   missing of these            {verdict['missing']}\n"
        f"   moments with two primaries  {verdict['twin_moments']}\n"
        f"   the primary is now          {lab.primary()['name']}; {victim['name']} follows again "
        f"({seconds:.1f} s later), without a hand")
    return verdict["missing"] + verdict["twin_moments"]


def how_to_look(lab, directory):
    node, info = lab.primary(), lab.info()
    bin_dir = lab.plan["bin_dir"]
    title("The cluster stays up. Look at it:")
    say(f"   {bin_dir}/mha-top --run-dir {node['run_dir']}\n"
        f"   {bin_dir}/mhactl --run-dir {node['run_dir']} status\n"
        f"   {bin_dir}/mhactl --run-dir {node['run_dir']} history\n"
        f"   ip netns exec {info['client_ns']} env PGPASSWORD={info['password']} psql -h "
        f"{info['vip']} -U {info['user']} {info['dbname']}\n"
        f"   tests/lab/lab fault pg-kill primary --dir {directory}\n"
        f"   tests/lab/lab probe --seconds 10 --fault node-crash primary --at 3 --dir {directory}\n"
        f"   tests/lab/lab down --dir {directory}      removes everything")


def main():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--dir", default=DEFAULT_DIR)
    parser.add_argument("--prefix", default="mha")
    parser.add_argument("--bin-dir", default=None)
    options = parser.parse_args()
    lab, wrong = None, 1
    try:
        lab = Lab.create(options.dir, data=3, prefix=options.prefix, bin_dir=options.bin_dir)
        title("Three hosts, a PostgreSQL on each, a client that writes through a virtual IP")
        start(lab)
        say(lab.mhactl(lab.primary(), "status").rstrip())
        wrong = lose(lab, "pg-kill", "The primary's postmaster is killed", 1)
        wrong += lose(lab, "node-crash", "Every process of the primary's host ends at once", 2)
        title("What the cluster says of it")
        say(lab.mhactl(lab.primary(), "status").rstrip())
        say(lab.mhactl(lab.primary(), "history").rstrip())
        if options.keep:
            how_to_look(lab, options.dir)
    except LabError as trouble:
        print(f"demo: {trouble}", file=sys.stderr)
        wrong = 1
        if options.keep and lab is not None:
            print(f"demo: the hosts are left in {lab.dir}", file=sys.stderr)
    finally:
        if lab is not None and not options.keep:
            lab.down()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
