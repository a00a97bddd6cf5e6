#!/usr/bin/python3
"""Keys, roles and their change, with mhad, the real gateway and (for rotation) the real consensus
worker; the other workers are stand-ins. One case per call: keys_test.py CASE --mhad M ...
Exit status 77: skipped, with the reason.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import mhad_test as mhad
from mhad_test import check, wait_for


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def keygen(*args, text=None):
    done = subprocess.run([mhad.ARGS.keygen, *map(str, args)], input=text, text=True,
                          capture_output=True, timeout=mhad.PATIENCE)
    check(done.returncode == 0, f"mha-keygen {args}: {done.stderr}")
    return done.stdout.strip()


class Agent(mhad.Agent):
    """With the real gateway, whose doors are at free ports."""

    REAL = ("gateway",)

    def __init__(self):
        super().__init__()
        for name in self.REAL:
            program = self.libexec / f"mha-{name}"
            program.unlink()
            shutil.copy(getattr(mhad.ARGS, name), program)
        os.chmod(self.libexec, 0o755)
        self.requests, self.events, self.http = free_ports(3)
        self.values.update({"client.listen": f'"tcp://127.0.0.1:{self.requests}"',
                            "client.publish": f'"tcp://127.0.0.1:{self.events}"',
                            "http.listen": f'"127.0.0.1:{self.http}"'})
        self.clients = self.dir / "clients"
        self.agent_key = None

    def with_clients(self, **roles):
        """A key for this agent, one for each client, and the file that authorises them."""
        self.agent_key = keygen(self.dir / "agent.key")
        self.rows = {name: keygen("--client", name, role, self.dir / f"{name}.key")
                     for name, role in roles.items()}
        self.write_clients()
        self.write_conf(client__secret_file=self.dir / "agent.key",
                        client__authorized_file=self.clients)

    def write_clients(self):
        self.write(self.clients, "# who may what\n" + "\n".join(self.rows.values()) + "\n", 0o644)

    def ctl(self, *args, key=None, server_key=None, timeout=mhad.PATIENCE):
        where = ["--run-dir", str(self.run_dir)]
        if key is not None:
            where = ["--host", f"127.0.0.1:{self.requests}", "--key", str(self.dir / f"{key}.key"),
                     "--server-key", str(server_key or self.agent_key)]
        return subprocess.run([mhad.ARGS.mhactl, *where, *args], capture_output=True, text=True,
                              timeout=timeout)

    def reload(self, mark="reload.done", count=None):
        before = len(self.lines(mark))
        self.signal(signal.SIGHUP)
        return self.wait_log(mark, before + 1)[-1]


class Client:
    """One that stays connected (keys_client.c)."""

    def __init__(self, agent, name):
        key = str(agent.dir / f"{name}.key") if name else "-"
        self.process = subprocess.Popen([mhad.ARGS.client, key, agent.agent_key or "-",
                                         str(agent.requests), str(agent.events)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def works(self):
        return self.say("ask").split()[0] == "0"

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def case_roles(agent):
    """Each role may what it may, over CURVE; the refused call names the missing role."""
    agent.with_clients(ada="admin", otto="operate", rita="read")
    keygen(agent.dir / "nobody.key")
    agent.start()
    for name in ("ada", "otto", "rita"):
        answer = wait_for(f"an answer for {name}",
                          lambda: (lambda a: a if a.returncode == 0 else None)(
                              agent.ctl("--json", "status", key=name)))
        check(json.loads(answer.stdout)["node"] == "node-a", answer.stdout)
    for name, verb, role in (("rita", ["pause"], "operate"), ("rita", ["mode", "max_availability"],
                             "admin"), ("otto", ["mode", "max_availability"], "admin"),
                             ("otto", ["auto-failover", "off"], "admin"),
                             ("otto", ["failover", "--to", "node-b", "--accept-loss", "--yes"],
                              "admin")):
        answer = agent.ctl(*verb, key=name)
        check(answer.returncode == 3 and f"needs the role {role}, but {name} has the role"
              in answer.stderr, f"{name} {verb}: {answer.returncode} {answer.stderr}")
    # Past the gate there is no consensus worker behind this gateway: that is another error.
    for name, verb in (("otto", ["pause"]), ("ada", ["mode", "max_availability"])):
        answer = agent.ctl(*verb, key=name)
        check("needs the role" not in answer.stderr, f"{name} {verb}: {answer.stderr}")
    answer = agent.ctl("status", key="nobody")
    check(answer.returncode == 3 and "does not know this key" in answer.stderr, answer.stderr)
    answer = agent.ctl("status", key="ada", server_key=mhad.KEYS[0])
    check(answer.returncode == 3 and "another public key" in answer.stderr, answer.stderr)
    agent.wait_log("gateway.stranger")
    # Without CURVE nobody is answered at all; the local socket is as it was.
    plain = subprocess.run([mhad.ARGS.mhactl, "--endpoint", f"tcp://127.0.0.1:{agent.requests}",
                            "status"], capture_output=True, text=True, timeout=mhad.PATIENCE)
    check(plain.returncode == 3 and "no answer" in plain.stderr, plain.stderr)
    check(agent.ctl("status").returncode == 0, "the local socket")
    os.chmod(agent.dir / "ada.key", 0o644)
    answer = agent.ctl("status", key="ada")
    check(answer.returncode == 3 and "has mode 0644" in answer.stderr, answer.stderr)


def case_reload_over_the_socket(agent):
    """Whoever has the role has the file read again and hears how that ended; others are refused."""
    agent.with_clients(ada="admin", otto="operate", rita="read")
    agent.start()
    wait_for("an answer", lambda: agent.ctl("status", key="rita").returncode == 0)
    answer = agent.ctl("reload", key="rita")
    check(answer.returncode == 3 and "reload needs the role operate, but rita" in answer.stderr, answer.stderr)
    check(not agent.lines("reload.done"), "a refused client had the file read")
    answer = agent.ctl("reload", key="otto")
    check(answer.returncode == 0 and "was read again" in answer.stdout, f"{answer}")
    agent.wait_log("reload.done")
    agent.wait_log("gateway.reload by=otto")
    # A file that makes no sense: the caller hears of it, and the old configuration stays.
    kept = agent.clients.read_text()
    agent.write(agent.clients, "rita king nonsense\n", 0o644)
    answer = wait_for("the refusal", lambda: (
        lambda a: a if "the running one stays" in a.stderr else None)(agent.ctl("reload")))
    check(answer.returncode == 3, f"{answer}")
    agent.wait_log("reload.refused")
    agent.write(agent.clients, kept, 0o644)
    wait_for("it is good again", lambda: agent.ctl("reload", "--json", key="ada").returncode == 0)


def case_revoked(agent):
    """A client whose row is gone loses its access with the reload; others stay."""
    agent.with_clients(ada="admin", rita="read")
    agent.start()
    ada, rita = Client(agent, "ada"), Client(agent, "rita")
    try:
        for each in (ada, rita):
            wait_for("an answer", each.works)
            wait_for("the subscription", lambda: each.say("state") == "up")
        row = agent.rows.pop("rita")
        agent.write_clients()
        agent.reload()
        wait_for("rita is refused", lambda: not rita.works())
        wait_for("rita hears no more", lambda: rita.say("state") == "down")
        check(not rita.works(), "rita is refused for good")
        wait_for("ada is back", ada.works)
        wait_for("ada hears again", lambda: ada.say("state") == "up")
        # A smaller role counts at once, too.
        agent.rows["rita"] = row
        agent.rows["ada"] = agent.rows["ada"].replace(" admin ", " read ")
        agent.write_clients()
        agent.reload()
        answer = wait_for("ada may only read", lambda: (
            lambda a: a if "but ada has the role read" in a.stderr else None)(
                agent.ctl("pause", key="ada")))
        check(answer.returncode == 3, answer.stderr)
        wait_for("rita is back", lambda: agent.ctl("status", key="rita").returncode == 0)
        # A file that makes no sense changes nothing.
        agent.write(agent.clients, "rita king " + agent.rows["rita"].split()[-1] + "\n", 0o644)
        line = agent.reload("reload.refused")
        check("client.authorized_file: line 1: the role of rita is none of" in line, line)
        check(agent.ctl("status", key="rita").returncode == 0, "the old table counts")
    finally:
        ada.close()
        rita.close()


def case_files(agent):
    """Wrong owner, mode, kind or contents of each file: refused at start with the reason."""
    agent.with_clients(ada="admin")
    agent.write(agent.dir / "users", "ada admin certificate\n", 0o600)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2",
                    "-subj", "/CN=test", "-keyout", agent.dir / "tls.key", "-out",
                    agent.dir / "tls.crt"], check=True, capture_output=True)
    os.chmod(agent.dir / "tls.crt", 0o644)
    agent.write_conf(http__users_file=agent.dir / "users",
                     http__tls_certificate_file=agent.dir / "tls.crt",
                     http__tls_key_file=agent.dir / "tls.key")
    secrets = {"client.secret_file": "agent.key", "http.users_file": "users",
               "http.tls_key_file": "tls.key"}
    public = {"client.authorized_file": "clients", "http.tls_certificate_file": "tls.crt"}
    daemon = mhad.user_ids("mha-dbmon")[0]
    for key, name in {**secrets, **public}.items():
        path = agent.dir / name
        mode = path.stat().st_mode & 0o7777
        for wrong in ((0o640, 0o604) if key in secrets else (0o664, 0o646)):
            os.chmod(path, wrong)
            mhad.refused(agent, rf"{re.escape(key)}: .*has mode 0{wrong:o}")
        os.chmod(path, mode)
        os.chown(path, daemon, 0)
        mhad.refused(agent, rf"{re.escape(key)}: .*belongs to user {daemon}; it must belong to root")
        os.chown(path, 0, 0)
        aside = path.with_suffix(".aside")
        path.rename(aside)
        path.symlink_to(aside)
        mhad.refused(agent, rf"{re.escape(key)}: .*is a symbolic link")
        path.unlink()
        mhad.refused(agent, rf"{re.escape(key)}: .*No such file")
        path.mkdir()
        mhad.refused(agent, rf"{re.escape(key)}: .*not a regular file")
        path.rmdir()
        aside.rename(path)
    # From the service manager.
    credentials = agent.dir / "credentials"
    credentials.mkdir(mode=0o700)
    shutil.copy(agent.dir / "agent.key", credentials / "agent.key")
    os.chmod(credentials / "agent.key", 0o400)
    agent.write_conf(client__secret_file='"credential:agent.key"')
    mhad.refused(agent, "client.secret_file: credential:agent.key: .*LoadCredential=agent.key")
    agent.start(environment={"CREDENTIALS_DIRECTORY": str(credentials)})
    wait_for("an answer", lambda: agent.ctl("status", key="ada").returncode == 0)


def z85(data):
    """ZeroMQ's text of 32 bytes."""
    digits = ("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")
    out = ""
    for at in range(0, len(data), 4):
        number = int.from_bytes(data[at:at + 4], "big")
        out += "".join(digits[number // 85 ** power % 85] for power in (4, 3, 2, 1, 0))
    return out


def enroll(agent, token, *args, folder=None, host=None):
    folder = folder or agent.dir / "new"
    folder.mkdir(exist_ok=True)
    return subprocess.run([mhad.ARGS.enroll, "--host", host or f"127.0.0.1:{agent.requests}",
                           "--address", "10.99.99.4", "--folder", str(folder), *args],
                          input=token + "\n", capture_output=True, text=True, timeout=mhad.PATIENCE)


def case_enroll(agent):
    """A new node gets in by a token, once, within its time; nobody else learns the cluster's keys."""
    agent.start()
    answer = agent.ctl("enroll-token", "node-d")
    check(answer.returncode != 0 and "client.secret_file" in answer.stderr, answer.stderr)
    agent.signal(signal.SIGTERM)
    agent.wait()
    agent.with_clients(ada="admin", otto="operate")
    agent.start()
    answer = agent.ctl("enroll-token", "node-d", key="otto")
    check(answer.returncode == 3 and "needs the role admin" in answer.stderr, answer.stderr)
    for name, word in (("node-a", "there is a member"), ("no name", "a node's name is wanted")):
        answer = agent.ctl("enroll-token", name)
        check(answer.returncode != 0 and word in answer.stderr, answer.stderr)
    token = agent.ctl("enroll-token", "node-d", key="ada").stdout.strip()
    check(re.fullmatch(r"mha1\.[0-9a-f]{64}\.[0-9a-f]{64}", token), token)
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    for bad, word in ((wrong, "used up"), (token[:-2], "no token"), ("", "no token"),
                      (token.replace(token[5:69], "0" * 64), "no CURVE handshake")):
        done = enroll(agent, bad)
        check(done.returncode == 1 and word in done.stderr, f"{bad}: {done.stderr}")
        check(not (agent.dir / "new" / "node.key").exists(), "a key that nobody knows was left")
    done = enroll(agent, token, "--kind", "thing")
    check(done.returncode == 1 and "neither data nor witness" in done.stderr, done.stderr)
    # It is good for a request, not for the events.
    agent.write(agent.dir / "token.key", z85(bytes.fromhex(token.split(".")[2])) + "\n", 0o600)
    thief = Client(agent, "token")
    try:
        wait_for("the holder of the token is refused", lambda: thief.say("ask").startswith("-6 "))
        check(thief.say("state") == "down", "the holder of a token hears events")
    finally:
        thief.close()
    # A request that makes no sense does not use it up.
    done = enroll(agent, token)
    check(done.returncode == 0, done.stderr)
    new = agent.dir / "new"
    for name in ("node.key", "mha4rdb.conf"):
        seen = (new / name).stat()
        check(seen.st_mode & 0o7777 == 0o600 and seen.st_uid == 0, f"{name}: {oct(seen.st_mode)}")
    public = keygen("--public", new / "node.key")
    text = (new / "mha4rdb.conf").read_text()
    check(f'public_key: "{public}"' in text and "id: 4" in text, text)
    own = next(line for line in text.splitlines() if public in line)
    check("founding: off" in own and text.count("founding: on") == 3, text)
    for key in mhad.KEYS:
        check(key in text, f"the cluster's key {key} is missing")
    text += f"postgresql: {{data_dir: /x, replication_password_file: {agent.password}}}\n"
    agent.write(new / "whole.conf", text, 0o600)
    done = subprocess.run([mhad.ARGS.mhad, "--config", new / "whole.conf", "--check-config"],
                          capture_output=True, text=True, timeout=mhad.PATIENCE)
    check(done.returncode == 0 and "node node-d, 4 members" in done.stdout, done.stderr)
    listed = agent.ctl("enrolled", key="otto").stdout
    check(public in listed and "node-d" in listed and "founding: off" in listed, listed)
    # Once: neither for the same nor for another node.
    done = enroll(agent, token, folder=agent.dir / "second")
    check(done.returncode == 1 and "used up" in done.stderr, done.stderr)
    # A token that has expired is no key any more, and neither is one of an earlier life.
    token = agent.ctl("enroll-token", "node-e").stdout.strip()
    old = agent.pids()["gateway"]
    os.kill(old, signal.SIGKILL)
    wait_for("another gateway", lambda: agent.pids().get("gateway") not in (None, old))
    wait_for("it serves", lambda: agent.ctl("status", key="ada").returncode == 0)
    done = enroll(agent, token, folder=agent.dir / "second")
    check(done.returncode == 1 and "used up" in done.stderr, done.stderr)
    log = agent.text()
    check("gateway.enrolled name=node-d" in log, "no line of the enrolment")
    check(token not in log and token.split(".")[2] not in log, "the token is in the log")


def case_secrets(agent):
    """No password, key or token in any command line, environment or log; no process can be dumped."""
    agent.with_clients(ada="admin")
    agent.write(agent.dir / "users", keygen("--password", "otto", "operate",
                                            text="correct horse battery\n") + "\n", 0o600)
    agent.write_conf(http__users_file=agent.dir / "users")
    agent.start()
    secrets = ["the-password", "correct horse battery"]
    for name in ("agent.key", "ada.key"):
        secrets.append((agent.dir / name).read_text().split()[0])
    check(agent.ctl("status", key="ada").returncode == 0, "status")
    curl = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", "-K",
                           "-", f"http://127.0.0.1:{agent.http}/switchover"], text=True,
                          input='user = "otto:correct horse battery"\n', capture_output=True,
                          timeout=mhad.PATIENCE)
    check(curl.stdout in ("404", "503"), curl.stdout)
    dumpable = not b"libasan" in pathlib.Path(mhad.ARGS.gateway).read_bytes()
    for name, pid in {**agent.pids(), "master": agent.process.pid}.items():
        for file in ("cmdline", "environ"):
            text = pathlib.Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace")
            for secret in secrets:
                check(secret not in text, f"{name}: a secret in {file}")
        if dumpable:
            # What is in /proc of an undumpable process belongs to root.
            owner = os.stat(f"/proc/{pid}/mem").st_uid
            check(owner == 0, f"{name}: /proc/{pid}/mem belongs to {owner}")
            check(is_undumpable(pid), f"{name} can be dumped")
    # The stand-ins tell what they were given, to show that it arrives: those lines do not count.
    log = "\n".join(line for line in agent.text().splitlines() if "test.start" not in line)
    for secret in secrets:
        check(secret not in log, "a secret in the log")


def is_undumpable(pid):
    """A user of the same id may not even look at the maps of a process that is undumpable."""
    uid = mhad.status_of(pid)["Uid"].split()[0]
    look = subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                           "--bounding-set=-all", "--inh-caps=-all", "cat", f"/proc/{pid}/maps"],
                          capture_output=True, timeout=mhad.PATIENCE)
    return look.returncode != 0


class Member(Agent):
    """One of three agents on this host, with real consensus and gateway."""

    REAL = ("gateway", "consensus")

    def member_key(self):
        return keygen("--public", self.secret)


def write_cluster(agents, ports, next_keys):
    rows = []
    for i, agent in enumerate(agents):
        name = f"node-{'abc'[i]}"
        text = (f"  - {{name: {name}, id: {i + 1}, kind: {'data' if i == 0 else 'witness'}, "
                f"address: 127.0.0.1, peer_port: {ports[i]}, postgres_port: {ports[i + 3]}, "
                f"public_key: \"{agent.public}\"")
        if next_keys.get(i):
            text += f", next_public_key: \"{next_keys[i]}\""
        rows.append(text + "}\n")
    for agent in agents:
        agent.members = []
        agent.write_conf()
        with open(agent.conf, "a") as conf:
            conf.writelines(rows)


def consensus_of(agent):
    answer = agent.ctl("--json", "status")
    return json.loads(answer.stdout) if answer.returncode == 0 else None


def case_rotation(first):
    """Three agents change their keys one after the other, under load: no election."""
    agents = [first] + [Member() for _ in range(2)]
    stop = threading.Event()
    calls = {"done": 0, "failed": []}

    def load():
        # Without a database the leader refuses each of them: that is its answer, through the wire.
        while not stop.is_set():
            for agent in agents:
                answer = agent.ctl("--json", "auto-failover", "off")
                if "not_serving" in answer.stdout:
                    calls["done"] += 1
                else:
                    calls["failed"].append(answer.stdout.strip() + answer.stderr.strip())

    try:
        ports = free_ports(6)
        for i, agent in enumerate(agents):
            agent.secret.unlink()
            agent.public = keygen(agent.secret)
            agent.values.update({"node.name": f"node-{'abc'[i]}",
                                 "timing.election_timeout": "2s"})
            agent.values.pop("vip.address", None)
        write_cluster(agents, ports, {})
        for agent in agents:
            agent.start()

        def settled():
            seen = [consensus_of(agent) for agent in agents]
            return seen if all(each and each["raft_leader"] for each in seen) and \
                len({each["term"] for each in seen}) == 1 else None
        before = wait_for("a leader", settled, 60)
        thread = threading.Thread(target=load)
        thread.start()
        wait_for("load", lambda: calls["done"] >= 2, 60)
        for i, agent in enumerate(agents):
            new = re.search(r'next_public_key: "(.*)"', keygen("--rotate", "begin", agent.secret))
            write_cluster(agents, ports, {i: new.group(1)})
            for each in agents:
                each.reload()
            keygen("--rotate", "switch", agent.secret)
            agent.reload()
            agent.wait_log(r"peer.door key=" + re.escape(new.group(1)))
            wait_for("the others hear it", lambda: settled() and calls_go_on(calls), 60)
            agent.public = new.group(1)
            write_cluster(agents, ports, {})
            for each in agents:
                each.reload()
            keygen("--rotate", "finish", agent.secret)
            wait_for("calls go on", lambda: calls_go_on(calls), 60)
        stop.set()
        thread.join()
        after = wait_for("a leader", settled, 60)
        check([each["term"] for each in before] == [each["term"] for each in after],
              f"terms {before[0]['term']} -> {after[0]['term']}: an election took place")
        check(before[0]["raft_leader"] == after[0]["raft_leader"], "another leader")
        print(f"rotation: 3 keys changed, term {after[0]['term']} throughout, "
              f"{calls['done']} calls done, {len(calls['failed'])} failed {calls['failed'][:3]}")
        # Revoked: a node whose key is no longer enrolled is no longer heard.
        stranger = keygen(agents[2].dir / "other.key")
        kept, agents[2].public = agents[2].public, stranger
        write_cluster(agents[:2] + [agents[2]], ports, {})
        for each in agents[:2]:
            each.reload()
            each.wait_log("peer.door .*revoked=1")
            # Strangers are told once a minute, and the rotation may have made one.
            each.wait_log(f"peer.dropped .*reason=stranger .*{re.escape(kept)}")
    finally:
        stop.set()
        for agent in agents[1:]:
            agent.close()


def calls_go_on(calls):
    seen = calls["done"]
    wait_for("another call", lambda: calls["done"] > seen + 1, 60)
    return True


def make(case):
    return Member() if case == "rotation" else Agent()


if __name__ == "__main__":
    mhad.main(globals(), make, ("gateway", "consensus", "mhactl", "keygen", "client", "enroll"))
