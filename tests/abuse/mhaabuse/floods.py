"""Floods from strangers, from a member and from clients: the lease is renewed all the same."""

import json
import subprocess
import threading
import time

from mhalab import config
from mhalab.lab import say
from mhalab.system import LabError, netns_file, wait_until

from .world import period_row

PEER_PORT = 7400
PUBLISH_PORT = 7402
SUBSCRIBERS = 200
HALF_OPEN = 2000
# All of an agent's processes together may grow by so much; the gateway's own bound is 64 MB.
GROWTH_KB = 160 * 1024


def settings():
    """Events are published to everybody who can reach the port."""
    return (("client.publish", f"tcp://0.0.0.0:{PUBLISH_PORT}"),)


def cluster_digest(node):
    """Whose log it is stands beside the log: "cluster HEX node N"."""
    with open(f"{node['state_dir']}/raft/mha4rdb.owner", encoding="ascii") as handle:
        return "0x" + handle.read().split()[1]


def plans(world, primary):
    """(name, namespace, arguments) of each flood."""
    lab, options = world.lab, world.options
    seconds, address = str(options.seconds), primary["addr"]
    member = next(node for node in lab.nodes if node is not primary)
    client = lab.plan["client_ns"]
    return [
        ("stranger on the peers' port", client, ["stranger", address, str(PEER_PORT), seconds]),
        ("member that floods", member["ns"],
         ["peer", address, str(PEER_PORT), seconds, primary["public_key"], member["key"],
          cluster_digest(primary), str(member["id"]), str(primary["id"])]),
        ("subscribers that do not read", client,
         ["slow", address, str(PUBLISH_PORT), seconds, str(SUBSCRIBERS)]),
        ("half-open on the peers' port", client,
         ["open", address, str(PEER_PORT), seconds, str(HALF_OPEN)]),
        ("HTTP connections", client,
         ["http", address, str(config.HTTP_PORT), seconds, str(options.connections)]),
    ]


class Watch:
    """The largest memory of each process while something goes on."""

    def __init__(self, world, node):
        self.world, self.node = world, node
        self.largest = {}
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def _run(self):
        while not self.stopped.wait(0.5):
            for name, size in self.world.pss(self.node).items():
                self.largest[name] = max(self.largest.get(name, 0), size)


def flood(world, namespace, arguments):
    """Run the flood to its end; what it says of itself."""
    done = subprocess.run(["nsenter", f"--net={netns_file(namespace)}",
                           world.lab.tool("abuse-flood"), *arguments],
                          capture_output=True, text=True, check=False,
                          timeout=world.options.seconds + world.deadline)
    if done.returncode != 0:
        raise LabError(f"abuse-flood {arguments[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def make_events(world, stopped):
    """Something to publish, so that readers that do not read are behind."""
    turn = 0
    while not stopped.wait(0.05):
        turn += 1
        try:
            world.lab.mhactl(world.lab.primary(), "auto-switch", "on" if turn % 2 else "off")
        except LabError:
            continue


def look(world, primary):
    """Metrics once they are answered again: right after a flood the gateway may be busy."""
    return wait_until(lambda: (lambda row: row if row[0] else None)(world.renewals(primary)),
                      world.deadline, "the metrics of the primary", 0.2)


def processes(world, node):
    return {process.program: process.pid for process in world.lab.agent_processes(node)}


def run(world):
    lab, options = world.lab, world.options
    primary = lab.primary()
    epoch = world.epoch()
    pids = processes(world, primary)
    rows = []
    before = look(world, primary)
    quiet = sum(world.pss(primary).values())
    time.sleep(options.seconds / 2)
    base = period_row(before, look(world, primary))
    base["flood"] = "none"
    base["pss_kb"] = {"before": quiet, "largest": quiet, "after": quiet}
    rows.append(base)
    stopped = threading.Event()
    events = threading.Thread(target=make_events, args=(world, stopped), daemon=True)
    events.start()
    try:
        for name, namespace, arguments in plans(world, primary):
            before, memory = look(world, primary), world.pss(primary)
            writes = world.probe.acknowledged()
            with Watch(world, primary) as watch:
                said = flood(world, namespace, arguments)
            row = {"flood": name, "said": said, **period_row(before, look(world, primary)),
                   "acknowledged": world.probe.acknowledged() - writes,
                   "pss_kb": {"before": memory, "largest": watch.largest,
                              "after": world.pss(primary)}}
            rows.append(row)
            say(json.dumps(row))
            judge(world, row, base, memory)
            if world.epoch() != epoch:
                world.fail(f"{name}: epoch {epoch} became {world.epoch()}")
                epoch = world.epoch()
    finally:
        stopped.set()
        events.join()
        lab.mhactl(lab.primary(), "auto-switch", "off")
    now = processes(world, primary)
    for name, pid in pids.items():
        if now.get(name) != pid:
            # Allowed to the gateway alone: at its bound of memory it ends and is started anew.
            (say if name == "mha-gateway" else world.fail)(f"{name} was restarted")
    dropped = {key: value for key, value in world.metrics(primary).items()
               if key.startswith("mha4rdb_messages_dropped_total") and value}
    return {"floods": rows, "dropped": dropped, "limit_growth_kb": GROWTH_KB,
            "gateway_restarted": now.get("mha-gateway") != pids.get("mha-gateway"),
            "expiries": world.metrics(primary).get("mha4rdb_vip_expiries_total")}


def judge(world, row, base, memory):
    """The lease was renewed as before, and memory stayed within its bound."""
    if not row["renewals"]:
        world.fail(f"{row['flood']}: nothing was renewed")
    elif row["mean_ms"] > 2 * base["mean_ms"] + 20:
        world.fail(f"{row['flood']}: renewals {row['mean_ms']} ms apart, {base['mean_ms']} before")
    growth = sum(row["pss_kb"]["largest"].values()) - sum(memory.values())
    row["growth_kb"] = growth
    if growth > GROWTH_KB:
        world.fail(f"{row['flood']}: memory grew by {growth} kB")
    if not row["acknowledged"]:
        world.fail(f"{row['flood']}: no write was acknowledged")


run.settings = settings()
