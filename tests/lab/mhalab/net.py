"""The network: one bridge in a namespace of its own, a cable to each host and to the client.

Faults act on the bridge's end of a cable, so a host's own namespace stays as its agent made it.
"""

import os
import subprocess

from .system import LabError, in_netns, netns_file, run


def in_ns(name, *command, stdin=None):
    """Run a command inside a network namespace."""
    return in_netns(name, lambda: run(*command, stdin=stdin))


def add_namespace(name):
    if os.path.exists(netns_file(name)):
        raise LabError(f"namespace {name} exists already: another lab? (lab down, or --prefix)")
    run("ip", "netns", "add", name)
    in_ns(name, "ip", "link", "set", "lo", "up")


def delete_namespace(name):
    if os.path.exists(netns_file(name)):
        run("ip", "netns", "del", name)


def add_bridge(switch):
    add_namespace(switch)
    in_ns(switch, "ip", "link", "add", "br0", "type", "bridge")
    in_ns(switch, "ip", "link", "set", "br0", "up")


def add_host(switch, name, port, address):
    """A namespace with eth0, plugged into the bridge's port."""
    add_namespace(name)
    in_ns(switch, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0",
          "netns", name)
    in_ns(switch, "ip", "link", "set", port, "master", "br0", "up")
    in_ns(name, "ip", "address", "add", address, "dev", "eth0")
    in_ns(name, "ip", "link", "set", "eth0", "up")


def reboot_network(name, address):
    """What a kernel that starts anew has: one address, no packet filter."""
    in_ns(name, "nft", "flush", "ruleset")
    in_ns(name, "ip", "address", "flush", "dev", "eth0")
    in_ns(name, "ip", "address", "add", address, "dev", "eth0")


def _filter(port, hooks):
    chains = "".join(
        f"\tchain {hook} {{\n\t\ttype filter hook {hook} device \"{port}\" priority 0\n"
        f"\t\tpolicy accept\n\t\tdrop\n\t}}\n" for hook in hooks)
    return f"table netdev cut_{port} {{\n{chains}}}\n"


def cut(switch, port, inward=True, outward=True):
    """Drop what goes to the host (inward) and what comes from it (outward), silently."""
    hooks = (["egress"] if inward else []) + (["ingress"] if outward else [])
    in_ns(switch, "nft", "-f", "-", stdin=f"table netdev cut_{port}\n"
          f"delete table netdev cut_{port}\n" + _filter(port, hooks))


def heal(switch, port):
    in_ns(switch, "nft", "-f", "-",
          stdin=f"table netdev cut_{port}\ndelete table netdev cut_{port}\n")


def addresses(name):
    """IPv4 addresses of eth0 inside the namespace."""
    try:
        text = in_ns(name, "ip", "-o", "-4", "address", "show", "dev", "eth0")
    except (LabError, OSError, subprocess.SubprocessError):
        return []
    return [line.split()[3].split("/")[0] for line in text.splitlines()]
