"""Keys of the agents are changed, revoked and given anew while writing goes on."""

import json
import os
import re
import urllib.request

from . import config
from .members import member
from .operations import history, status
from .probe import query
from .system import LabError, in_netns, run as command, wait_until


def keygen(run, *words):
    return command(run.lab.tool("mha-keygen", "bin_dir"), *words)


def log(node):
    with open(node["log"], encoding="utf-8", errors="replace") as handle:
        return handle.read()


def reload(run, nodes):
    """The agents of these nodes have read their files again, and taken what stands in them."""
    before = {node["name"]: log(node).count(" reload.done") for node in nodes}
    run.lab.reload(nodes)
    wait_until(lambda: all(log(node).count(" reload.done") > before[node["name"]]
                           for node in nodes), run.deadline, "a reload to count", 0.02)


def expiries(run, node):
    """How often a lease of this node has ended."""
    url = f"http://127.0.0.1:{config.HTTP_PORT}/metrics"
    text = in_netns(node["ns"], lambda: urllib.request.urlopen(url, timeout=run.deadline)
                    .read().decode())
    return float(re.search(r"^mha4rdb_vip_expiries_total\{.*\} (\S+)$", text, re.M).group(1))


def all_heard(run):
    """Every agent hears every other one."""
    for node in run.lab.nodes:
        try:
            if not all(row["heard"] for row in status(run, node)["members"]):
                return False
        except (LabError, ValueError):
            return False
    return True


def same_primary(run, primary, before):
    """Nobody has decided anything, and no lease has ended."""
    state = status(run, primary)
    for key in ("epoch", "term", "raft_leader"):
        if state[key] != before[key]:
            raise LabError(f"{key} was {before[key]} and is {state[key]}")
    if run.lab.primary() is not primary:
        raise LabError(f"the virtual IP has left {primary['name']}")
    if expiries(run, primary) != before["expiries"]:
        raise LabError(f"a lease of {primary['name']} has ended")


def rotate(run, node):
    """The steps of docs/security.md, and who hears whom after each of them."""
    lab = run.lab
    run.begun("rotate-key", node)
    said = keygen(run, "--rotate", "begin", node["key"])
    node["next_public_key"] = re.search(r'next_public_key: "(.*)"', said).group(1)
    lab.configure()
    reload(run, lab.nodes)
    keygen(run, "--rotate", "switch", node["key"])
    reload(run, [node])
    wait_until(lambda: f"peer.door key={node['next_public_key']}" in log(node), run.deadline,
               f"{node['name']} to use its new key", 0.02)
    run.writes_go_on()
    node["public_key"] = node.pop("next_public_key")
    lab.configure()
    reload(run, lab.nodes)
    keygen(run, "--rotate", "finish", node["key"])
    run.writes_go_on()
    wait_until(lambda: all_heard(run), run.deadline, "every agent to hear every other one", 0.1)


def refusals(node, key):
    """The lines in which an agent refuses a key. Strangers are told once a minute."""
    return [line for line in log(node).splitlines() if "peer.dropped" in line and key in line]


def counts(run, primary, node):
    """Whether commits may count on the node: by the record, and by what the database was told."""
    names = query(run.lab, primary["addr"], "SHOW synchronous_standby_names",
                  run.lab.plan["client_ns"])[0][0]
    return member(status(run, primary), node)["in_record"], f"mha_n{node['id']}" in names


def revoke(run, primary, node):
    """
    The others have another key in its row: it is refused, and nobody counts on its WAL, although
    its database goes on streaming. The key that the others have now.
    """
    lab = run.lab
    others = [other for other in lab.nodes if other is not node]
    old, fresh = node["public_key"], node["key"] + ".fresh"
    keygen(run, fresh)
    node["public_key"] = keygen(run, "--public", fresh).split()[-1]
    lab.configure(others)
    run.begun("revoke-key", node)
    reload(run, others)

    for other in others:
        wait_until(lambda at=other: refusals(at, old), run.deadline,
                   f"{other['name']} to refuse the old key of {node['name']}", 0.05)
    wait_until(lambda: not member(status(run, primary), node)["heard"], run.deadline,
               f"{node['name']} to count as silent", 0.1)
    wait_until(lambda: counts(run, primary, node) == (False, False), run.deadline,
               f"commits to count on {node['name']} no more", 0.1)
    row = next((row for row in query(
        lab, primary["addr"], "SELECT application_name, state FROM pg_stat_replication",
        lab.plan["client_ns"]) if row[0] == f"mha_n{node['id']}"), None)
    run.notes.append(f"the revoked node's database: {row[1] if row else 'not connected'}")
    run.writes_go_on()
    return fresh


def admit(run, primary, node, fresh):
    """The node has the key that the others know: a member as before, without a word to them."""
    os.replace(fresh, node["key"])
    run.lab.configure()
    reload(run, [node])
    wait_until(lambda: all_heard(run), run.deadline, f"{node['name']} to be heard again", 0.1)
    wait_until(lambda: counts(run, primary, node) == (True, True), run.deadline,
               f"commits to count on {node['name']} again", 0.1)


def keys_rotation(run):
    """every agent's key is changed, one is revoked and its node gets another: no outage"""
    lab = run.lab
    primary = lab.primary()
    standbys = [node for node in lab.data_nodes if node is not primary]
    wait_until(lambda: all_heard(run), run.deadline, "every agent to hear every other one", 0.1)
    before = {**status(run, primary), "expiries": expiries(run, primary)}
    decided = len(history(run, primary)["decisions"])
    for node in (primary, *standbys):
        rotate(run, node)
        same_primary(run, primary, before)
    for node in standbys[:1]:
        fresh = revoke(run, primary, node)
        same_primary(run, primary, before)
        admit(run, primary, node, fresh)
    same_primary(run, primary, before)
    if len(history(run, primary)["decisions"]) != decided:
        raise LabError("something was decided: " + json.dumps(history(run, primary))[-2000:])
    return run.whole()


SCENARIOS = {"keys-rotation": keys_rotation}
