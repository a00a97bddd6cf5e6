"""A laboratory: what it consists of, building it, finding its parts, taking it down."""

import errno
import fcntl
import glob
import json
import os
import pwd
import secrets
import shutil
import signal
import struct
import time
import uuid

from . import config, net
from .system import (LabError, Process, in_netns, netns_file, now_ns, pid_namespace,
                     processes_in, run, signal_all, wait_until)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
DEFAULT_DIR = "/tmp/mha-lab"
DEFAULT_BIN = os.path.join(ROOT, "build", "release", "bin")
PG_BIN = "/usr/lib/postgresql/15/bin"
STATE = "lab.json"
STATE_DISK_MB = 256
EXT4_IOC_SHUTDOWN = 0x8004587D
EXT4_NOLOGFLUSH = 2
BALLAST = "ballast"  # the file that fills a disk


def say(text):
    print(text, flush=True)


def install(bin_dir, to):
    """Copy the programs: the workers' users may have no way into the folder of the build."""
    os.makedirs(to, mode=0o755, exist_ok=True)
    for name in os.listdir(bin_dir) if os.path.isdir(bin_dir) else ():
        if name.startswith("mha"):
            shutil.copy2(os.path.join(bin_dir, name), os.path.join(to, name))
            os.chmod(os.path.join(to, name), 0o755)
    return to


class Lab:
    """The plan (lab.json, written before anything is made) and what can be done with it."""

    def __init__(self, directory, plan):
        self.dir = directory
        self.plan = plan
        config.use_ip(plan.get("ip", 4))

    # -- the plan ---------------------------------------------------------------------------

    @classmethod
    def open(cls, directory):
        path = os.path.join(directory, STATE)
        try:
            with open(path, encoding="utf-8") as handle:
                return cls(directory, json.load(handle))
        except FileNotFoundError:
            raise LabError(f"no lab in {directory} (lab up makes one)") from None

    @classmethod
    def create(cls, directory, data=3, witness=0, settings=(), prefix="mha", bin_dir=None,
               plain=False, disk_mb=0, ip=4):
        """
        Write the plan of a new lab. `plain`: independent databases without any agent. `disk_mb`:
        each database, and each agent's log, gets a small disk of its own that can be full.
        `ip`: the version of the protocol that everything speaks.
        """
        if os.geteuid() != 0:
            raise LabError("the lab needs root: network namespaces are made")
        if not 1 <= data <= 7 or not 0 <= witness <= 2:
            raise LabError("a lab has 1 to 7 data nodes and 0 to 2 witnesses")
        if len(directory) > 60:
            raise LabError("--dir: at most 60 characters, the sockets' paths get longer")
        if os.path.exists(directory) and os.listdir(directory):
            raise LabError(f"{directory} is not empty: lab down --dir {directory} first")
        os.makedirs(directory, mode=0o755, exist_ok=True)
        os.chmod(directory, 0o755)
        bin_dir = os.path.abspath(bin_dir or DEFAULT_BIN)
        config.use_ip(ip)
        plan = {"prefix": prefix, "plain": plain, "ip": ip,
                "bin_dir": bin_dir if plain else install(bin_dir, os.path.join(directory, "bin")),
                "tests_dir": os.path.join(os.path.dirname(bin_dir), "tests"),
                "cluster_id": str(uuid.uuid4()), "switch": f"{prefix}-net",
                "client_ns": f"{prefix}-client", "disk_mb": disk_mb,
                "password": secrets.token_urlsafe(12),
                "settings": [list(pair) for pair in settings], "nodes": []}
        lab = cls(directory, plan)
        for number in range(1, data + witness + 1):
            lab.plan_node(number, "data" if number <= data else "witness")
        lab.save()
        return lab

    def plan_node(self, number, kind):
        name, home = f"n{number}", os.path.join(self.dir, f"n{number}")
        self.nodes.append({
            "name": name, "id": number, "kind": kind,
            "ns": f"{self.plan['prefix']}-{name}", "addr": config.node_address(number),
            "home": home, "conf": f"{home}/mha4rdb.conf", "key": f"{home}/node.key",
            "state_dir": f"{home}/state", "run_dir": f"{self.dir}/run/{name}",
            "pgdata": f"{home}/pg/data", "socket_dir": f"{self.dir}/run/{name}-pg",
            "bootstrap_sql": f"{home}/bootstrap.sql",
            "replication_password": f"{home}/replication.password",
            "log": f"{home}/host.log", "public_key": "", "host_pid": 0, "host_started": 0})
        return self.nodes[-1]

    def save(self):
        path = os.path.join(self.dir, STATE)
        with open(path + ".new", "w", encoding="utf-8", opener=private) as handle:
            json.dump(self.plan, handle, indent=1)
        os.replace(path + ".new", path)

    @property
    def nodes(self):
        return self.plan["nodes"]

    @property
    def data_nodes(self):
        """Those whose databases belong to the cluster."""
        return [node for node in self.nodes if node["kind"] == "data" and not node.get("left")]

    def node(self, name):
        for node in self.nodes:
            if name in (node["name"], node["ns"]):
                return node
        raise LabError(f"no node {name}: there are {', '.join(n['name'] for n in self.nodes)}")

    def tool(self, name, folder="tests_dir"):
        path = os.path.join(self.plan[folder], name)
        if not os.access(path, os.X_OK):
            raise LabError(f"{path} is not built (tools/dev build release)")
        return path

    def info(self):
        """What `lab info` prints."""
        nodes = []
        for node in self.nodes:
            master = self.master(node)
            row = {key: node[key] for key in ("name", "ns", "addr", "kind", "pgdata", "run_dir")}
            if node["kind"] != "data":
                row["pgdata"] = None
            row["http_port"] = config.HTTP_PORT
            row["master_pid"] = master.pid if master else None
            nodes.append(row)
        return {"vip": config.VIP, "port": config.PG_PORT, "user": config.USER,
                "password": self.plan["password"], "dbname": config.DBNAME,
                "client_ns": self.plan["client_ns"], "nodes": nodes}

    # -- building ---------------------------------------------------------------------------

    def build(self):
        """Namespaces, files and hosts; nothing runs on the hosts yet."""
        self.tool("lab-host")
        self.tool("lab-probe")
        os.makedirs(os.path.join(self.dir, "run"))
        run("mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=0755,size=256m", "mha-lab-run",
            os.path.join(self.dir, "run"))
        net.add_bridge(self.plan["switch"])
        net.add_host(self.plan["switch"], self.plan["client_ns"], "client",
                     f"{config.CLIENT}/{config.PREFIX_BITS}")
        for node in self.nodes:
            net.add_host(self.plan["switch"], node["ns"], node["name"], address_of(node))
            self.make_files(node)
        if not self.plan["plain"]:
            self.configure()
        for node in self.nodes:
            self.boot(node)

    def make_files(self, node):
        postgres = pwd.getpwnam("postgres")
        os.makedirs(node["state_dir"], mode=0o755)
        if self.plan.get("disk_mb"):
            self.add_disk(node, "state", STATE_DISK_MB)
        if node["kind"] != "data":
            return
        os.makedirs(os.path.dirname(node["pgdata"]), mode=0o750)
        if self.plan.get("disk_mb"):
            self.add_disk(node, "pg", self.plan["disk_mb"])
        os.chown(os.path.dirname(node["pgdata"]), postgres.pw_uid, postgres.pw_gid)
        self.make_socket_dir(node)
        for path, text in ((node["bootstrap_sql"], config.bootstrap_sql(self.plan["password"])),
                           (node["replication_password"], self.plan["cluster_id"] + "\n")):
            with open(path, "w", encoding="utf-8", opener=private) as handle:
                handle.write(text)
            os.chown(path, postgres.pw_uid, postgres.pw_gid)

    def disk(self, node, name):
        """Where a disk of a node is mounted: `pg` or `state`."""
        return os.path.dirname(node["pgdata"]) if name == "pg" else node["state_dir"]

    def add_disk(self, node, name, megabytes):
        """A file system in a sparse file: it can be filled without harm to anybody else."""
        image, point = f"{node['home']}/{name}.img", self.disk(node, name)
        with open(image, "wb", opener=private) as handle:
            handle.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image)
        run("mount", "-o", "loop,nosuid,nodev", image, point)
        shutil.rmtree(os.path.join(point, "lost+found"))
        os.chmod(point, 0o750 if name == "pg" else 0o755)

    def fill_disk(self, node, name):
        """Not one block is left for anybody."""
        point = self.disk(node, name)
        if not os.path.ismount(point):
            raise LabError(f"{point} is no disk of its own: build the lab with disks")
        descriptor = os.open(os.path.join(point, BALLAST), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            for step in (1 << 24, 1 << 20, 1 << 12):
                try:
                    while True:
                        os.posix_fallocate(descriptor, size, step)
                        size += step
                except OSError as trouble:
                    if trouble.errno != errno.ENOSPC:
                        raise
        finally:
            os.close(descriptor)

    def _own_disk(self, node):
        point = self.disk(node, "pg")
        if not os.path.ismount(point):
            raise LabError(f"{point} is no disk of its own: build the lab with disks")
        return point

    def stall_disk(self, node):
        """Whoever writes there waits, and cannot even be killed, as with a real disk."""
        run("fsfreeze", "--freeze", self._own_disk(node))

    def thaw_disk(self, node):
        run("fsfreeze", "--unfreeze", self._own_disk(node))

    def break_disk(self, node):
        """The file system gives up as it does on a broken disk: EIO for reads and writes."""
        descriptor = os.open(self._own_disk(node), os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def replace_disk(self, node):
        """A new, empty one; the host is off, or it would keep the old one."""
        postgres = pwd.getpwnam("postgres")
        unmount(self._own_disk(node))
        os.unlink(f"{node['home']}/pg.img")
        self.add_disk(node, "pg", self.plan["disk_mb"])
        os.chown(self.disk(node, "pg"), postgres.pw_uid, postgres.pw_gid)

    def empty_disks(self, node):
        for name in ("pg", "state"):
            path = os.path.join(self.disk(node, name), BALLAST)
            if os.path.exists(path):
                os.unlink(path)

    def make_socket_dir(self, node):
        if node["kind"] != "data":
            return
        postgres = pwd.getpwnam("postgres")
        os.makedirs(node["socket_dir"], mode=0o755, exist_ok=True)
        os.chown(node["socket_dir"], postgres.pw_uid, postgres.pw_gid)

    def add_node(self, kind="data"):
        """
        One host more: on, its agent ready to be started, and its row in every node's configuration;
        the agents that run have not read it yet (reload()).
        """
        node = self.plan_node(max(other["id"] for other in self.nodes) + 1, kind)
        node["later"] = True
        self.save()
        net.add_host(self.plan["switch"], node["ns"], node["name"], address_of(node))
        self.make_files(node)
        self.configure()
        self.boot(node)
        return node

    def reload(self, nodes=None):
        """The agents, of all nodes or of these, read their configuration again."""
        signal_all([master for master in map(self.master, nodes or self.nodes)
                    if master is not None], signal.SIGHUP)

    def configure(self, nodes=None):
        """Users, keys and a configuration file for each agent, or for those of these nodes."""
        nodes = nodes or self.nodes
        run(os.path.join(ROOT, "tools", "install-users"))
        for node in self.nodes:
            if node["public_key"]:
                continue
            text = run(self.tool("mha-keygen", "bin_dir"), node["key"])
            node["public_key"] = text.split()[-1]
        for node in nodes:
            with open(node["conf"], "w", encoding="utf-8", opener=private) as handle:
                handle.write(config.to_yaml(config.node_tree(self.plan, node)) + "\n")
        self.save()
        for node in nodes:
            run(self.tool("mhad", "bin_dir"), "--check-config", "--config", node["conf"])

    def agent_command(self, node):
        if self.plan["plain"]:
            return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
                    f"{PG_BIN}/postgres", "-D", node["pgdata"]]
        return [self.tool("mhad", "bin_dir"), "--config", node["conf"]]

    def boot(self, node):
        """Power on: the first process of the host's PID namespace."""
        text = run(self.tool("lab-host"), "--hostname", node["ns"], "--netns",
                   netns_file(node["ns"]), "--log", node["log"], "--", *self.agent_command(node))
        process = Process(int(text))
        node["host_pid"], node["host_started"] = process.pid, process.started
        self.save()

    def start(self, node):
        """Start the agent, after a power cut of the whole host first the host. True: rebooted."""
        rebooted = self.host(node) is None
        if rebooted:
            net.reboot_network(node["ns"], address_of(node))
            for path in (node["run_dir"], node["socket_dir"]):
                shutil.rmtree(path, ignore_errors=True)
            self.make_socket_dir(node)
            self.boot(node)
        signal_all([self.host(node)], signal.SIGUSR1)
        return rebooted

    # -- finding ----------------------------------------------------------------------------

    def host(self, node):
        """The first process of the host, None when the host is off."""
        try:
            process = Process(node["host_pid"])
        except OSError:
            return None
        if process.started != node["host_started"] or process.state in "ZX":
            return None
        return process

    def processes(self, node):
        """Every process of the host but the first."""
        host = self.host(node)
        if host is None:
            return []
        try:
            namespace = pid_namespace(host.pid)
        except OSError:
            return []
        return [process for process in processes_in(namespace) if process.pid != host.pid]

    def agent_processes(self, node):
        """The master first: it would restart the others."""
        found = [process for process in self.processes(node)
                 if process.program == "mhad" or process.program.startswith("mha-")]
        return sorted(found, key=lambda process: process.program != "mhad")

    def master(self, node):
        if self.plan["plain"]:
            return self.postmaster(node)
        for process in self.agent_processes(node):
            if process.program == "mhad":
                return process
        return None

    def worker(self, node, name):
        for process in self.agent_processes(node):
            if process.program == f"mha-{name}":
                return process
        return None

    def database_processes(self, node):
        """The server's processes and the database's own tools."""
        tools = set(os.listdir(PG_BIN))
        return [process for process in self.processes(node) if process.program in tools]

    def postmaster(self, node):
        try:
            with open(os.path.join(node["pgdata"], "postmaster.pid"), encoding="ascii") as handle:
                inner = int(handle.readline())
        except (OSError, ValueError):
            return None
        for process in self.processes(node):
            if process.program == "postgres" and process.inner_pid() == inner:
                return process
        return None

    def backend(self, node, name):
        """A process of the server by its title: `client` is one of the application's."""
        wanted = config.USER if name == "client" else name
        for process in self.processes(node):
            title = process.title().removeprefix("postgres: ")
            if process.program == "postgres" and \
                    title.removeprefix(f"{node['name']}: ").startswith(wanted):
                return process
        return None

    def vip_holders(self):
        return [node for node in self.data_nodes if config.VIP in net.addresses(node["ns"])]

    def primary(self):
        """The node that carries the VIP and runs an agent and a database."""
        for node in self.vip_holders():
            if self.postmaster(node) is not None:
                return node
        raise LabError("no node serves as primary")

    def resolve(self, name):
        """A node's name, or `primary`, `standby`, `witness`."""
        if name == "primary":
            return self.primary()
        if name == "standby":
            primary = self.primary()
            return next(node for node in self.data_nodes if node is not primary)
        if name == "witness":
            return next(node for node in self.nodes if node["kind"] == "witness")
        return self.node(name)

    def mhactl(self, node, *words):
        """Ask one node's agent."""
        return in_netns(node["ns"], lambda: run(
            self.tool("mhactl", "bin_dir"), "--run-dir", node["run_dir"], *words))

    # -- taking down ------------------------------------------------------------------------

    def power_off(self, nodes):
        """End every process of these hosts; returns when the last one is gone."""
        hosts = [host for host in map(self.host, nodes) if host is not None]
        at = now_ns()
        signal_all(hosts, signal.SIGKILL)
        wait_until(lambda: all(self.host(node) is None for node in nodes), 120,
                   "the hosts' processes to end", 0.005)
        return at

    def keep_logs(self, target=None):
        """Copy the agents' and databases' logs before the lab goes, into a folder for each node,
        by default beside the probe's logs; where that is."""
        target = target or self.dir + "-logs"
        for node in self.nodes:
            folder = os.path.join(target, node["name"])
            os.makedirs(folder, exist_ok=True)
            paths = [node["log"], node["conf"]]
            paths += glob.glob(os.path.join(os.path.dirname(node["pgdata"]), "*", "log", "*.log"))
            for path in filter(os.path.exists, paths):
                shutil.copy(path, folder)
        return target

    def down(self):
        """Leave nothing behind, whatever of it was built."""
        for node in self.nodes:
            if self.plan.get("disk_mb") and os.path.ismount(self.disk(node, "pg")):
                run("fsfreeze", "--unfreeze", self.disk(node, "pg"), check=False)
        self.power_off(self.nodes)
        names = [node["ns"] for node in self.nodes]
        for name in names + [self.plan["client_ns"], self.plan["switch"]]:
            net.delete_namespace(name)
        points = [self.disk(node, name) for node in self.nodes for name in ("pg", "state")]
        for point in [os.path.join(self.dir, "run"), *points]:
            unmount(point)
        shutil.rmtree(self.dir)


def unmount(point):
    """Whatever is mounted there; lazily when somebody does not let go of it."""
    deadline = time.monotonic() + 10
    while os.path.ismount(point):
        lazy = [] if time.monotonic() < deadline else ["--lazy"]
        try:
            run("umount", *lazy, point)
        except LabError:
            time.sleep(0.1)


def address_of(node):
    return f"{node['addr']}/{config.PREFIX_BITS}"


def private(path, flags):
    """An opener for files with secrets."""
    return os.open(path, flags, 0o600)
