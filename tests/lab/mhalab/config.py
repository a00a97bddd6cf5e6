"""What the hosts are configured with: one file per node, made from the same plan."""

import re

PREFIXES = {4: "10.99.0.", 6: "fd99::"}  # of every address in a lab, by IP version
IP_VERSION = 4

PG_PORT = 5432
HTTP_PORT = 8008
USER = "app"
DBNAME = "postgres"

_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:-]*\Z")


def use_ip(version):
    """All labs of this process speak this version of IP."""
    global IP_VERSION, PREFIX_BITS, VIP, CLIENT, NETWORK
    IP_VERSION = version
    PREFIX_BITS = 24 if version == 4 else 64
    VIP = f"{PREFIXES[version]}100"
    CLIENT = f"{PREFIXES[version]}200"
    NETWORK = f"{PREFIXES[version]}{'0' if version == 4 else ''}/{PREFIX_BITS}"


use_ip(4)


def node_address(number):
    return f"{PREFIXES[IP_VERSION]}{10 + number}"


def loopback(address):
    """The same host by the address that never leaves it."""
    return "::1" if ":" in address else "127.0.0.1"


def _scalar(value):
    text = str(value)
    if _PLAIN.match(text) and not text.endswith(":"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def to_yaml(value, depth=0):
    """Nested maps, lists of maps or scalars, as block YAML."""
    pad = "  " * depth
    lines = []
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                lines.append(f"{pad}{key}:")
                lines.append(to_yaml(item, depth + 1))
            else:
                lines.append(f"{pad}{key}: {_scalar(item)}")
    else:
        for item in value:
            if isinstance(item, dict):
                first, *rest = to_yaml(item, depth + 1).split("\n")
                lines.append(f"{pad}- {first.lstrip()}")
                lines.extend(rest)
            else:
                lines.append(f"{pad}- {_scalar(item)}")
    return "\n".join(lines)


def set_key(tree, dotted, value):
    """tree["a"]["b"] = value for "a.b"; PostgreSQL parameters may contain dots themselves."""
    if dotted.startswith("postgresql.parameters."):
        path = ["postgresql", "parameters", dotted.removeprefix("postgresql.parameters.")]
    else:
        path = dotted.split(".")
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def node_tree(lab, node):
    """The configuration of one node as a tree; `lab` and `node` are rows of lab.json."""
    members = []
    for other in lab["nodes"]:
        members.append({"name": other["name"], "id": other["id"], "kind": other["kind"],
                        "address": other["addr"], "public_key": other["public_key"]})
        if other.get("next_public_key"):
            members[-1]["next_public_key"] = other["next_public_key"]
        if other.get("later"):
            members[-1]["founding"] = "off"
    tree = {
        "cluster": {"name": lab["prefix"], "id": lab["cluster_id"]},
        "node": {"name": node["name"]},
        "paths": {"state_dir": node["state_dir"], "run_dir": node["run_dir"]},
        "keys": {"secret_file": node["key"]},
        "http": {"listen": f"{'0.0.0.0' if IP_VERSION == 4 else '[::]'}:{HTTP_PORT}"},
    }
    if node["kind"] == "data":
        tree["vip"] = {"address": f"{VIP}/{PREFIX_BITS}", "interface": "eth0"}
        tree["postgresql"] = {
            "data_dir": node["pgdata"],
            "socket_dir": node["socket_dir"],
            "dbname": DBNAME,
            "replication_password_file": node["replication_password"],
            "bootstrap_sql_file": node["bootstrap_sql"],
            "parameters": {"shared_buffers": "64MB", "log_line_prefix": "%m [%p] "},
            "hba": [f"host all {USER} {network} scram-sha-256"
                    for network in (NETWORK, "127.0.0.1/32", "::1/128")],
        }
    for key, value in lab["settings"]:
        if key.split(".")[0] == "members":  # members.NAME.KEY
            _, name, field = key.split(".", 2)
            next(m for m in members if m["name"] == name)[field] = value
            continue
        if key.split(".")[0] in ("vip", "postgresql") and node["kind"] != "data":
            continue
        set_key(tree, key, value)
    tree["members"] = members
    return tree


def bootstrap_sql(password):
    """One statement per line: PostgreSQL's single-user mode reads it line by line."""
    lines = [f"CREATE ROLE {USER} LOGIN PASSWORD '{password}';",
             f"GRANT pg_monitor TO {USER};",
             # The probe is refused on each standby fifty times a second: not worth a log line.
             f"ALTER ROLE {USER} SET log_min_messages = 'fatal';"]
    for table in ("probe_writes", "probe_polls"):
        lines.append(f"CREATE TABLE public.{table} (client int NOT NULL, id bigint NOT NULL,"
                     f" PRIMARY KEY (client, id));")
        lines.append(f"ALTER TABLE public.{table} OWNER TO {USER};")
    lines.append("CREATE TABLE public.lists (key int PRIMARY KEY, vals bigint[] NOT NULL);")
    lines.append(f"ALTER TABLE public.lists OWNER TO {USER};")
    return "\n".join(lines) + "\n"
