"""Databases without any agent: the liar that the lab must catch, and the floor of the timings."""

import os
import shutil

from . import config, net
from .lab import PG_BIN, Lab
from .system import run, wait_until

FRESH = "conninfo.new"


def _as_postgres(*command, stdin=None):
    return run("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
               *command, stdin=stdin)


def _append(node, name, text):
    with open(os.path.join(node["pgdata"], name), "a", encoding="utf-8") as handle:
        handle.write(text)


def _initdb(node, streaming):
    _as_postgres(f"{PG_BIN}/initdb", "--no-sync", "-A", "trust", "-D", node["pgdata"])
    _append(node, "postgresql.conf",
            f"listen_addresses = '*'\nunix_socket_directories = '{node['socket_dir']}'\n"
            f"fsync = {'on' if streaming else 'off'}\nshared_buffers = 64MB\n"
            "wal_retrieve_retry_interval = 100ms\n")
    network = config.NETWORK
    _append(node, "pg_hba.conf", f"host all {config.USER} {network} scram-sha-256\n"
                                 f"host replication all {network} trust\n")


def _serve(lab, node):
    lab.start(node)
    wait_until(lambda: os.path.exists(os.path.join(
        node["socket_dir"], f".s.PGSQL.{config.PG_PORT}")), 180, f"the database of {node['name']}")


def up(directory, prefix, bin_dir=None, nodes=2, streaming=False):
    """Independent primaries, or (streaming) a primary with synchronous standbys; a VIP."""
    lab = Lab.create(directory, data=nodes, prefix=prefix, bin_dir=bin_dir, plain=True)
    try:
        lab.build()
        for node in lab.nodes:
            if streaming and node is not lab.nodes[0]:
                _clone(lab.nodes[0], node)
            else:
                _initdb(node, streaming)
            _serve(lab, node)
            if not streaming or node is lab.nodes[0]:
                psql(node, config.bootstrap_sql(lab.plan["password"]))
        net.in_ns(lab.nodes[0]["ns"], "ip", "address", "add",
                  f"{config.VIP}/{config.PREFIX_BITS}", "dev", "eth0")
        if streaming:
            psql(lab.nodes[0], "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)';\n"
                               "SELECT pg_reload_conf();")
    except BaseException:
        lab.down()
        raise
    return lab


def _conninfo(upstream):
    return (f"primary_conninfo = 'host={upstream['addr']} port={config.PG_PORT} user=postgres "
            "sslmode=disable'\n")


def _clone(upstream, node):
    net.in_ns(node["ns"], "setpriv", "--reuid", "postgres", "--regid", "postgres",
              "--clear-groups", f"{PG_BIN}/pg_basebackup", "--no-sync", "-c", "fast", "-h",
              upstream["addr"], "-U", "postgres", "-D", node["pgdata"])
    with open(os.path.join(node["pgdata"], "standby.signal"), "wb"):
        pass
    # The rule that it will enforce as a primary is in place before it is one.
    _append(node, "postgresql.conf", f"unix_socket_directories = '{node['socket_dir']}'\n"
                                     "synchronous_standby_names = 'ANY 1 (*)'\n"
                                     f"{_conninfo(upstream)}include_if_exists = 'follow.conf'\n")


def prepare_conninfo(node, upstream):
    """Write beforehand what will make `node` follow `upstream`."""
    with open(os.path.join(node["pgdata"], FRESH), "w", encoding="utf-8") as handle:
        handle.write(_conninfo(upstream))
    shutil.chown(os.path.join(node["pgdata"], FRESH), "postgres", "postgres")


def apply_conninfo(node):
    """Put it in place; a reload follows."""
    os.replace(os.path.join(node["pgdata"], FRESH), os.path.join(node["pgdata"], "follow.conf"))


def psql(node, sql):
    """Run SQL as the database's own user over the local socket."""
    command = (f"{PG_BIN}/psql", "-h", node["socket_dir"], "-d", config.DBNAME, "-AtX",
               "-v", "ON_ERROR_STOP=1")
    wait_until(lambda: _answers(node), 180, f"psql on {node['name']}", 0.1)
    return _as_postgres(*command, "-f", "-", stdin=sql)


def _answers(node):
    return "accepting" in run(f"{PG_BIN}/pg_isready", "-h", node["socket_dir"], check=False)
