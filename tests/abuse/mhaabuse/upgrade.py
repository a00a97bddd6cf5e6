"""Agents replaced one by one while a client writes: standbys first, the primary last."""

import os
import shutil
import signal

from mhalab.lab import say
from mhalab.system import now_ns, signal_all, wait_until

from .kills import is_primary


def replace_programs(lab):
    """Other files under the same names, as a package manager leaves them."""
    folder = lab.plan["bin_dir"]
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        shutil.copy2(path, path + ".new")
        os.rename(path + ".new", path)


def stop(world, node):
    """What `systemctl stop` does with KillMode=process: only the master is told."""
    lab = world.lab
    postmaster = lab.postmaster(node)
    master = lab.master(node)
    signal_all([master], signal.SIGTERM)
    # A process that is about to end has no program any more, and its host would not start another.
    wait_until(lambda: master.gone() and not lab.agent_processes(node), world.deadline,
               f"the agent of {node['name']} to end", 0.005)
    left = lab.postmaster(node)
    if postmaster is None or left is None or left.pid != postmaster.pid:
        world.fail(f"the database of {node['name']} did not outlive its agent")
    return postmaster


def run(world):
    lab, rows = world.lab, []
    epoch = world.epoch()
    first = lab.primary()
    order = [node for node in lab.data_nodes if node is not first] + [first]
    for node in order:
        primary = is_primary(world, node)
        replace_programs(lab)
        world.marks.append({"kind": "upgrade of the primary" if primary else
                            "upgrade of a standby", "node": node["name"], "at_ns": now_ns()})
        begun = now_ns()
        postmaster = stop(world, node)
        stopped = now_ns()
        lab.start(node)
        world.wait_ready(node, f"the new agent of {node['name']}")
        back = now_ns()
        world.probe.wait_acknowledged(50, world.deadline, f"writes after {node['name']}")
        left = lab.postmaster(node)
        same = postmaster is not None and left is not None and left.pid == postmaster.pid
        if not same:
            world.fail(f"the database of {node['name']} was started anew")
        rows.append({"node": node["name"], "primary": primary, "same_postmaster": same,
                     "stop_ms": round((stopped - begun) / 1e6, 1),
                     "ready_ms": round((back - begun) / 1e6, 1)})
        say(f"{node['name']}: {rows[-1]}")
    after = world.epoch()
    return {"agents": rows, "epochs": [epoch, after], "failover": after != epoch}
