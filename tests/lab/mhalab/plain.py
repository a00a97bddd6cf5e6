"""Two databases that know nothing of each other: the liar that the lab must catch."""

import os

from . import config, net
from .lab import PG_BIN, Lab
from .system import run, wait_until


def _as_postgres(*command, stdin=None):
    return run("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
               *command, stdin=stdin)


def up(directory, prefix, bin_dir=None, nodes=2):
    """A lab of independent primaries; the first one carries the VIP."""
    lab = Lab.create(directory, data=nodes, prefix=prefix, bin_dir=bin_dir, plain=True)
    lab.build()
    for node in lab.nodes:
        _as_postgres(f"{PG_BIN}/initdb", "--no-sync", "-A", "trust", "-D", node["pgdata"])
        with open(os.path.join(node["pgdata"], "postgresql.conf"), "a",
                  encoding="utf-8") as handle:
            handle.write(f"listen_addresses = '*'\nunix_socket_directories = "
                         f"'{node['socket_dir']}'\nfsync = off\nshared_buffers = 16MB\n")
        with open(os.path.join(node["pgdata"], "pg_hba.conf"), "a", encoding="utf-8") as handle:
            handle.write(f"host all {config.USER} {config.SUBNET}.0/{config.PREFIX_BITS} "
                         "scram-sha-256\n")
        lab.start(node)
        wait_until(lambda node=node: os.path.exists(
            os.path.join(node["socket_dir"], f".s.PGSQL.{config.PG_PORT}")), 60,
            f"the database of {node['name']}")
        psql(node, config.bootstrap_sql(lab.plan["password"]))
    net.in_ns(lab.nodes[0]["ns"], "ip", "address", "add",
              f"{config.VIP}/{config.PREFIX_BITS}", "dev", "eth0")
    return lab


def psql(node, sql):
    """Run SQL as the database's own user over the local socket."""
    return wait_until(lambda: _try_psql(node, sql), 60, f"psql on {node['name']}", 0.2)


def _try_psql(node, sql):
    ready = _as_postgres(f"{PG_BIN}/psql", "-h", node["socket_dir"], "-d", config.DBNAME, "-AtX",
                         "-c", "SELECT 'ready'")
    if "ready" not in ready:
        return None
    return _as_postgres(f"{PG_BIN}/psql", "-h", node["socket_dir"], "-d", config.DBNAME, "-AtX",
                        "-v", "ON_ERROR_STOP=1", "-f", "-", stdin=sql) or "done"
