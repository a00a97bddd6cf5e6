"""
Scenarios of what operators ask, and of the protection modes: planned switches, pauses, switched-off
failovers, maintenance, degraded records, and layouts of one, two and five data nodes.
"""

import json
import os
import re
import subprocess
import time

from .probe import query, standby_holds
from .system import LabError, enter_netns, now_ns, wait_until

HOLD_S = 6      # how long nothing may happen where nothing is to happen
SWITCHES = 10   # planned switches in a row
HTTP_USERS = {"read": "rita", "operate": "otto", "admin": "ada"}
HTTP_PASSWORD = "of the lab"


def ctl(run, node, *words):
    """(exit code, output) of mhactl against one node's agent."""
    lab = run.lab
    done = subprocess.run(
        [lab.tool("mhactl", "bin_dir"), "--run-dir", node["run_dir"], *words],
        preexec_fn=lambda: enter_netns(node["ns"]), capture_output=True, text=True,
        timeout=run.deadline, check=False)
    return done.returncode, done.stdout + done.stderr


def ask(run, node, *words):
    """The same where anything but success is trouble."""
    code, text = ctl(run, node, *words)
    if code != 0:
        raise LabError(f"mhactl {' '.join(words)} on {node['name']} ended with {code}: {text}")
    return text


def status(run, node):
    code, text = ctl(run, node, "status", "--json")
    if code != 0:
        raise LabError(f"mhactl status on {node['name']}: {text}")
    return json.loads(text)


def history(run, node):
    return json.loads(ask(run, node, "history", "--json"))


def other_data(run, than):
    return next(node for node in run.lab.data_nodes if node["name"] != than["name"])


def witness(run):
    return next(node for node in run.lab.nodes if node["kind"] == "witness")


def wait_status(run, node, what, condition):
    """Until the node's agent says so."""
    def check():
        try:
            return condition(status(run, node))
        except (LabError, ValueError):
            return False
    wait_until(check, run.deadline, what, 0.1)


def stays(run, seconds, what, condition):
    """It is so and stays so; how long is part of the scenario, not a limit on anybody's speed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            raise LabError(f"did not stay so: {what}")
        time.sleep(0.2)


def nobody_serves(run):
    return not any(run.lab.postmaster(node) for node in run.lab.vip_holders())


def rebuilds(run, node):
    """How often this node's data were rewound or cloned, from its agent's own log."""
    with open(node["log"], encoding="utf-8", errors="replace") as handle:
        return len(re.findall(r"database\.order order=(?:rewind|clone) ", handle.read()))


def wait_standbys(run):
    """Everybody streams and has all there is."""
    newest = run.probe.acknowledged()
    primary = run.lab.primary()
    for node in run.lab.data_nodes:
        if node["name"] != primary["name"]:
            wait_until(lambda: standby_holds(run.lab, node, newest), run.deadline,
                       f"{node['name']} to catch up")


def in_sync(run):
    wait_status(run, run.lab.primary(), "the record to be in sync", lambda s: not s["degraded"])


def switch(run, target):
    """One planned switch, measured from the call."""
    old = run.lab.primary()
    before = rebuilds(run, old)
    run.faults.append({"kind": "switchover", "node": old["name"], "at_ns": now_ns()})
    ask(run, old, "switchover", "--to", target["name"], "--wait")
    run.moved(old)
    run.writes_go_on()
    seconds = run.whole()
    if run.lab.primary()["name"] != target["name"]:
        raise LabError(f"{target['name']} was to be primary")
    if rebuilds(run, old) != before:
        raise LabError(f"{old['name']} was rebuilt after a planned switch")
    last = history(run, target)["operations"][-1]
    if last["state"] != "done":
        raise LabError(f"the operation is not done: {last}")
    return seconds


def switchover(run):
    """a planned switch to a named standby; the old primary follows without a rewind"""
    return switch(run, other_data(run, run.lab.primary()))


def switchovers(run):
    """ten planned switches in a row under load"""
    seconds = 0.0
    for _ in range(SWITCHES):
        old = run.lab.primary()
        wait_status(run, old, "nothing to stand against a switchover", lambda s: ctl(
            run, old, "switchover", "--dry-run", "--to", other_data(run, old)["name"])[0] == 0)
        seconds = switch(run, other_data(run, old))
    return seconds


def restarted(run, asked, node):
    """`mhactl restart` of a node at another node's agent: a new server, and the same primary."""
    primary = run.lab.primary()
    before = run.lab.postmaster(node).pid
    ask(run, asked, "restart", node["name"], "--wait", "--yes")
    wait_until(lambda: getattr(run.lab.postmaster(node), "pid", before) != before, run.deadline,
               f"another postmaster on {node['name']}")
    run.writes_go_on()
    run.whole()
    if run.lab.primary()["name"] != primary["name"]:
        raise LabError(f"the restart of {node['name']} moved the primary")


def restarts(run):
    """a standby and the primary are restarted and a standby is built anew, by mhactl"""
    primary = run.lab.primary()
    standby = other_data(run, primary)
    ask(run, standby, "reload")
    restarted(run, primary, standby)
    run.faults.append({"kind": "restart", "node": primary["name"], "at_ns": now_ns()})
    restarted(run, primary, primary)
    before = rebuilds(run, standby)
    ask(run, primary, "reinit", standby["name"], "--wait", "--yes")
    if rebuilds(run, standby) == before:
        raise LabError(f"{standby['name']} was not built anew")
    seconds = run.whole()
    code, text = ctl(run, primary, "reinit", primary["name"], "--yes")
    if code == 0:
        raise LabError(f"a primary was to be built anew: {text}")
    return seconds


def http_post(run, node, path, role):
    """(status, text) of a POST at this node's own agent, as a user with that role."""
    user = HTTP_USERS[role]
    done = subprocess.run(
        ["curl", "-sS", "-m", str(int(run.deadline)), "-w", "\\n%{http_code}", "-X", "POST",
         "-u", f"{user}:{HTTP_PASSWORD}", f"http://127.0.0.1:8008{path}"],
        preexec_fn=lambda: enter_netns(node["ns"]), capture_output=True, text=True,
        timeout=2 * run.deadline, check=False)
    text, _, code = done.stdout.rpartition("\n")
    if done.returncode != 0:
        raise LabError(f"POST {path} on {node['name']}: {done.stderr}")
    return int(code), text


def give_users(run):
    """Every agent is started again with the same users, and listens where no password is overheard."""
    path = os.path.join(run.lab.dir, "http.users")
    rows = []
    for role, user in HTTP_USERS.items():
        done = subprocess.run([run.lab.tool("mha-keygen", "bin_dir"), "--password", user, role],
                              input=HTTP_PASSWORD + "\n", capture_output=True, text=True,
                              timeout=run.deadline, check=True)
        rows += [line for line in done.stdout.splitlines() if line.startswith(f"{user} {role} ")]
    with open(path, "w", encoding="utf-8") as handle:
        handle.write("\n".join(rows) + "\n")
    os.chmod(path, 0o600)
    for node in run.lab.nodes:
        with open(node["conf"], encoding="utf-8") as handle:
            text = handle.read()
        if "users_file" in text:
            continue
        with open(node["conf"], "w", encoding="utf-8") as handle:
            handle.write(re.sub(r"^http:\n  listen: .*$", "http:\n  listen: 127.0.0.1:8008\n"
                                f"  users_file: {path}", text, count=1, flags=re.MULTILINE))
        run.repair("agent-kill", node)
        run.repair("start", node)
        run.whole()


def restarts_http(run):
    """the same as Patroni's users ask for it: POST /reload, /restart and /reinitialize"""
    give_users(run)
    primary = run.lab.primary()
    standby = other_data(run, primary)
    for node, path, role, wanted in (
            (standby, "/reload", "operate", (202, "reload scheduled")),
            (standby, "/restart", "read", (403, None)),
            (standby, "/reinitialize", "operate", (403, None)),
            (primary, "/reinitialize", "admin", (503, None))):
        code, text = http_post(run, node, path, role)
        if code != wanted[0] or wanted[1] not in (None, text):
            raise LabError(f"POST {path} on {node['name']}: {code} {text}")
    for node in (standby, primary):
        before = run.lab.postmaster(node).pid
        if node is primary:
            run.faults.append({"kind": "restart", "node": node["name"], "at_ns": now_ns()})
        code, text = http_post(run, node, "/restart", "operate")
        if (code, text) != (200, "restarted successfully"):
            raise LabError(f"POST /restart on {node['name']}: {code} {text}")
        wait_until(lambda n=node, b=before: getattr(run.lab.postmaster(n), "pid", b) != b,
                   run.deadline, f"another postmaster on {node['name']}")
        run.writes_go_on()
        run.whole()
    if run.lab.primary()["name"] != primary["name"]:
        raise LabError("a restart moved the primary")
    before = rebuilds(run, standby)
    code, text = http_post(run, standby, "/reinitialize", "admin")
    if (code, text) != (200, "reinitialize started"):
        raise LabError(f"POST /reinitialize on {standby['name']}: {code} {text}")
    wait_until(lambda: rebuilds(run, standby) > before, run.deadline,
               f"{standby['name']} to be built anew")
    return run.whole()


def switchover_refused(run):
    """a switchover to a node that is off is refused by name, and nothing happens"""
    primary = run.lab.primary()
    target = other_data(run, primary)
    run.fault("node-crash", target)
    wait_status(run, primary, f"{target['name']} not to be heard", lambda s: any(
        m["name"] == target["name"] and not m["heard"] for m in s["members"]))
    for words in (["--dry-run"], []):
        code, text = ctl(run, primary, "switchover", "--to", target["name"], *words)
        if code != 3 or target["name"] not in text:
            raise LabError(f"not refused by name: {code} {text}")
    code, text = ctl(run, primary, "switchover", "--to", primary["name"])
    if code != 3:
        raise LabError(f"a switchover to the primary itself: {code} {text}")
    run.writes_go_on()
    if run.lab.primary()["name"] != primary["name"]:
        raise LabError("the primary moved")
    run.repair("start", target)
    return run.whole()


def switchover_target_dies(run):
    """the target's host crashes while the switch is under way: some node serves afterwards"""
    old = run.lab.primary()
    target = other_data(run, old)
    in_sync(run)
    caller = subprocess.Popen(
        [run.lab.tool("mhactl", "bin_dir"), "--run-dir", old["run_dir"], "switchover", "--to",
         target["name"], "--wait"], preexec_fn=lambda: enter_netns(old["ns"]),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: old["name"] not in [node["name"] for node in run.lab.vip_holders()],
                   run.deadline, "the switch to begin", 0.001)
        run.fault("node-crash", target)
        run.writes_go_on()
    finally:
        caller.kill()
        caller.wait()
    run.repair("start", target)
    return run.whole()


def mode_changes(run):
    """the protection mode is changed under load, there and back"""
    primary = run.lab.primary()
    began = status(run, primary)["settings"]["mode"]
    run.faults.append({"kind": "mode", "node": primary["name"], "at_ns": now_ns()})
    for mode in ("max_performance", "max_availability", "max_performance", "max_protection",
                 began):
        ask(run, primary, "mode", mode)
        wait_status(run, primary, f"the record to follow {mode}", lambda s, mode=mode: (
            s["settings"]["mode"] == mode and s["sync_need"] == s["settings"]["sync_need"]))
        run.writes_go_on(100)
    return run.whole()


def pause(run):
    """paused: a killed database is not started, nobody is promoted; resumed: it goes on"""
    primary = run.lab.primary()
    ask(run, primary, "pause")
    try:
        run.fault("pg-kill", primary)
        wait_status(run, primary, "the pause to be held", lambda s: s["hold"] == "paused")
        stays(run, HOLD_S, "nobody serves in the pause", lambda: nobody_serves(run))
        why = ask(run, primary, "why")
        if "pause" not in why:
            raise LabError(f"mhactl why does not name the pause: {why}")
    finally:
        ask(run, primary, "resume")
    run.writes_go_on()
    return run.whole()


def auto_failover_off(run):
    """switched off: a lost primary is not replaced until an operator says so"""
    victim = run.lab.primary()
    witness_node = other_data(run, victim)
    ask(run, victim, "auto-failover", "off")
    try:
        run.fault("node-crash", victim)
        wait_status(run, witness_node, "the failover to be held",
                    lambda s: s["hold"] == "auto_failover_off")
        stays(run, HOLD_S, "nobody serves", lambda: nobody_serves(run))
        ask(run, witness_node, "failover", "--to", witness_node["name"], "--yes")
        run.writes_go_on()
    finally:
        run.repair("start", victim)
        run.writes_go_on()
        ask(run, run.lab.primary(), "auto-failover", "on")
    return run.whole()


def maintenance(run):
    """a standby in maintenance may be stopped by hand: it stays down until it is given back"""
    primary = run.lab.primary()
    node = other_data(run, primary)
    ask(run, primary, "maintenance", "on", node["name"])
    try:
        run.fault("pg-kill", node)
        stays(run, HOLD_S, "its database stays down", lambda: run.lab.postmaster(node) is None)
        run.writes_go_on()
    finally:
        ask(run, primary, "maintenance", "off", node["name"])
    return run.whole()


def _received(run, node):
    """Bytes of WAL that the standby has."""
    sql = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')"
    return query(run.lab, node["addr"], sql, run.lab.plan["client_ns"])[0][0]


def barred_ahead(run):
    """a standby in maintenance has more WAL than the one that commits wait for, which is promoted"""
    lab, old = run.lab, run.lab.primary()
    choice, barred = (node for node in lab.data_nodes if node["name"] != old["name"])
    ask(run, old, "maintenance", "on", barred["name"])
    try:
        wait_status(run, old, "commits to wait for the other standby alone", lambda s: {
            m["name"]: m["in_record"] for m in s["members"]} == {
                choice["name"]: True, barred["name"]: False, old["name"]: False})
        # The commits that wait from now on reach the barred one only.
        run.repair(f"cut-to={choice['name']}", old)
        wait_until(lambda: _received(run, barred) > _received(run, choice), run.deadline,
                   f"{barred['name']} to be ahead", 0.05)
        run.fault("power-off", old)
        run.moved(old)
        if lab.primary()["name"] != choice["name"]:
            raise LabError(f"{choice['name']} was to be promoted")
    finally:
        ask(run, choice, "maintenance", "off", barred["name"])
    # What it had beyond was acknowledged to nobody: it rejoins, and commits may wait for it.
    run.writes_go_on()
    run.repair("start", old)
    run.repair("heal", old)
    return run.whole()


def degrade_restore(run):
    """2 data nodes + witness: without its standby the primary goes on alone, on record"""
    primary = run.lab.primary()
    standby = other_data(run, primary)
    in_sync(run)
    run.fault("node-crash", standby)
    run.writes_go_on()
    wait_status(run, primary, "the record to be degraded", lambda s: s["degraded"])
    run.repair("start", standby)
    seconds = run.whole()
    in_sync(run)
    return seconds


def arbiter_trap(run):
    """2 data nodes + witness: the stale standby returns alone and must not be promoted"""
    primary = run.lab.primary()
    stale = other_data(run, primary)
    in_sync(run)
    run.fault("node-crash", stale)
    run.writes_go_on()
    wait_status(run, primary, "the record to be degraded", lambda s: s["degraded"])
    run.writes_go_on()  # which only the primary has
    run.fault("node-crash", primary)
    run.repair("start", stale)
    wait_status(run, stale, "the stale standby to be held back", lambda s: (
        s["phase"] == "blocked" and s["hold"] == "answers_missing"
        and s["waiting_for"] == [primary["name"]]) or s["raft_leader"] == witness(run)["name"])
    leader = run.lab.node(status(run, stale)["raft_leader"])
    wait_status(run, leader, "the leader to say whom it waits for", lambda s: (
        s["phase"] == "blocked" and s["hold"] == "answers_missing"
        and s["waiting_for"] == [primary["name"]] and s["advice"]))
    stays(run, HOLD_S, "the stale standby is not promoted", lambda: nobody_serves(run))
    why = ask(run, stale, "why")
    if primary["name"] not in why:
        raise LabError(f"mhactl why does not name {primary['name']}: {why}")
    run.repair("start", primary)
    run.writes_go_on()
    if run.lab.primary()["name"] != primary["name"]:
        raise LabError(f"{primary['name']} was to be primary again")
    return run.whole()


def single_pg_kill(run):
    """1 data node: its postmaster is killed and started again on the spot"""
    node = run.lab.data_nodes[0]
    if status(run, node)["ha"] != "none":
        raise LabError("a single node claims to be highly available")
    run.fault("pg-kill", node)
    run.writes_go_on()
    return run.whole()


def single_crash(run):
    """1 data node: its host crashes and is started again"""
    node = run.lab.data_nodes[0]
    run.fault("node-crash", node)
    run.repair("start", node)
    run.writes_go_on()
    return run.whole()


def pair_crash(run):
    """2 data nodes and nobody else: the survivor is no majority and promotes nobody"""
    victim = run.lab.primary()
    survivor = other_data(run, victim)
    in_sync(run)
    run.fault("node-crash", victim)
    stays(run, HOLD_S, "the survivor is not promoted", lambda: nobody_serves(run))
    if query(run.lab, survivor["addr"], "SELECT pg_is_in_recovery()",
             run.lab.plan["client_ns"])[0][0] is not True:
        raise LabError(f"{survivor['name']} is no standby that may be read")
    run.repair("start", victim)
    run.writes_go_on()
    return run.whole()


def five_two_lost(run):
    """5 data nodes, k = 2: the primary and a standby are lost in the same moment"""
    victim = run.lab.primary()
    second = other_data(run, victim)
    at = run.lab.power_off([victim, second])
    run.faults.append({"kind": "node-crash", "node": f"{victim['name']}+{second['name']}",
                       "at_ns": at})
    run.writes_go_on()
    for node in (victim, second):
        run.repair("start", node)
    return run.whole()


def performance_loss(run):
    """max_performance: what an unasked failover may lose is on record, and no more is lost"""
    victim = run.lab.primary()
    ask(run, victim, "mode", "max_performance")
    try:
        wait_status(run, victim, "nobody to be waited for", lambda s: s["sync_need"] == 0)
        run.fault("node-crash", victim)
        run.writes_go_on()
        last = [d for d in history(run, run.lab.primary())["decisions"] if not d["hold"]][-1]
        if last["at_risk_bytes"] is None or last["at_risk_ms"] == 0:
            raise LabError(f"the decision does not say what was at risk: {last}")
        run.lossy = True
        run.notes.append(f"at risk: {last['at_risk_bytes']} bytes, {last['at_risk_ms']} ms")
    finally:
        run.repair("start", victim)
        run.writes_go_on()
        ask(run, run.lab.primary(), "mode", "max_protection", "--force")
    return run.whole()


def preferred_primary(run):
    """The preferred node, which is the primary when a scenario begins."""
    preferred = run.lab.primary()
    if preferred["name"] != PREFERRED_NODE:
        raise LabError(f"{PREFERRED_NODE} was to be the first primary")
    return preferred


def stays_primary(run, node):
    stays(run, HOLD_S, "it is not switched again",
          lambda: run.lab.primary()["name"] == node["name"])


def switch_back(run):
    """the preferred node is primary again by itself, once, after it has been well for a while"""
    preferred = preferred_primary(run)
    run.fault("node-crash", preferred)
    run.writes_go_on()
    run.moved(preferred)
    other = run.lab.primary()
    run.repair("start", preferred)
    run.whole()
    run.moved(other)
    wait_status(run, preferred, "the switch to be done", lambda s: (
        s["operations"] and s["operations"][-1]["automatic"]
        and s["operations"][-1]["state"] == "done"))
    if run.lab.primary()["name"] != preferred["name"]:
        raise LabError("a third node is primary")
    seconds = run.whole()
    stays_primary(run, preferred)
    return seconds


def standby_cut(run):
    """a standby is cut off for a while (--hold): neither its loss nor its return moves anything"""
    primary = run.lab.primary()
    before = status(run, primary)
    victim = other_data(run, primary)
    run.fault("cut", victim)
    time.sleep(run.options.hold)
    run.repair("heal", victim)
    seconds = run.whole()
    for node in (primary, victim):
        after = status(run, node)
        for what in ("epoch", "term", "raft_leader"):
            if after[what] != before[what]:
                raise LabError(f"{node['name']} says {what} {after[what]}, it was {before[what]}")
    return seconds


def automatic_switches(run, node):
    return [o for o in history(run, node)["operations"] if o["automatic"]]


def switch_back_flaps(run):
    """the preferred node's link flaps (--hold): nothing moves until it stays, then it is switched to once"""
    preferred = preferred_primary(run)
    run.fault("cut", preferred)
    run.writes_go_on()
    run.moved(preferred)
    other = run.lab.primary()
    before = len(automatic_switches(run, other))
    epoch = status(run, other)["epoch"]
    end, rounds = time.monotonic() + run.options.hold, 0
    while rounds < FLAPS or time.monotonic() < end:
        run.repair("heal", preferred)
        time.sleep(FLAP_S)
        run.repair("cut", preferred)
        time.sleep(FLAP_S)
        rounds += 1
        if status(run, other)["epoch"] != epoch:
            raise LabError(f"something moved while the link flapped, in round {rounds}")
    run.notes.append(f"{rounds} flaps")
    run.repair("heal", preferred)
    run.moved(other)
    seconds = run.whole()
    stays_primary(run, preferred)
    if len(automatic_switches(run, preferred)) != before + 1:
        raise LabError("it was switched back more than once")
    return seconds


FLAPS = 3     # at least so often
FLAP_S = 1.5  # up, and down again: shorter than failover.switch_back_after
PREFERRED_NODE = "n2"
PREFERRED_SETTINGS = (("members.n2.priority", "200"), ("failover.auto_primary_switch", "on"),
                      ("failover.switch_back_after", "3s"))
THREE = {"switchover": switchover, "switchovers": switchovers,
         "switchover-refused": switchover_refused, "restarts": restarts,
         "restarts-http": restarts_http,
         "switchover-target-dies": switchover_target_dies, "mode-changes": mode_changes,
         "pause": pause, "auto-failover-off": auto_failover_off, "maintenance": maintenance,
         "barred-ahead": barred_ahead, "performance-loss": performance_loss,
         "standby-cut": standby_cut}
WITNESS = {"witness-switchover": switchover, "degrade-restore": degrade_restore,
           "arbiter-trap": arbiter_trap}
SINGLE = {"single-pg-kill": single_pg_kill, "single-crash": single_crash}
PAIR = {"pair-crash": pair_crash}
FIVE = {"five-two-lost": five_two_lost, "five-switchover": switchover}
PREFERRED = {"switch-back": switch_back, "switch-back-flaps": switch_back_flaps}
