"""Scenarios of nodes that come and go while writing goes on."""

from .operations import ask, ctl, status, wait_status
from .probe import query
from .system import LabError, wait_until


def member(state, node):
    """The node's row in what an agent says."""
    return next(m for m in state["members"] if m["name"] == node["name"])


def begin(run, what, node):
    """As soon as nothing stands against it."""
    wait_until(lambda: ctl(run, run.lab.primary(), "member", what, node["name"], "--dry-run")[0]
               == 0, run.deadline, f"nothing to stand against it: {what} {node['name']}", 0.2)
    run.begun(f"member-{what}", node)
    wait_until(lambda: ctl(run, run.lab.primary(), "member", what, node["name"])[0] == 0,
               run.deadline, f"{what} {node['name']} to begin", 0.2)


def join(run, node):
    """From the row in the files to a member on whom commits count."""
    primary = run.lab.primary()
    run.lab.start(node)
    code, text = ctl(run, primary, "member", "add", node["name"])
    if code != 3:
        raise LabError(f"a node of which the agents know nothing was added: {code} {text}")
    run.lab.reload()
    begin(run, "add", node)
    wait_status(run, primary, f"{node['name']} to be a member",
                lambda s: member(s, node)["membership"] == "member")
    run.whole()
    if not member(status(run, primary), node)["in_record"]:
        raise LabError(f"{node['name']} is not counted on")


def leave(run, node):
    """Until nothing of it is left anywhere."""
    lab, primary = run.lab, run.lab.primary()
    begin(run, "remove", node)
    wait_status(run, primary, f"{node['name']} to have left",
                lambda s: member(s, node)["membership"] == "none")
    node["left"] = True
    lab.save()
    wait_until(lambda: lab.postmaster(node) is None, run.deadline,
               f"the database of {node['name']} to stop", 0.1)
    client = lab.plan["client_ns"]
    names = query(lab, primary["addr"], "SHOW synchronous_standby_names", client)[0][0]
    senders = query(lab, primary["addr"],
                    "SELECT application_name FROM pg_stat_replication", client)
    slots = query(lab, primary["addr"], "SELECT slot_name FROM pg_replication_slots", client)
    traces = [names, *(row[0] for row in senders), *(row[0] for row in slots)]
    if any(f"mha_n{node['id']}" in trace for trace in traces):
        raise LabError(f"{node['name']} has left traces: {traces}")
    run.whole()


def member_cycle(run):
    """a fourth node joins, a standby leaves, the primary is lost, and the new node takes over"""
    lab = run.lab
    old = lab.primary()
    standbys = [node for node in lab.data_nodes if node is not old]
    new = lab.add_node()
    join(run, new)
    leave(run, standbys[0])
    # The other one may not be chosen, so that it is the new node's turn.
    ask(run, old, "maintenance", "on", standbys[1]["name"])
    wait_status(run, old, "commits to count on the new node alone", lambda s: (
        member(s, new)["in_record"] and not member(s, standbys[1])["in_record"]))
    run.fault("node-crash", old)
    run.moved(old)
    if lab.primary()["name"] != new["name"]:
        raise LabError(f"{new['name']} was to be promoted")
    # Until then nobody is left on whom commits may count.
    ask(run, new, "maintenance", "off", standbys[1]["name"])
    run.writes_go_on()
    run.repair("start", old)
    seconds = run.whole()
    code, text = ctl(run, new, "member", "remove", new["name"])
    if code != 3 or "primary" not in text:
        raise LabError(f"the primary may be removed: {code} {text}")
    return seconds


SCENARIOS = {"member-cycle": member_cycle}
