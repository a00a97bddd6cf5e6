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


def add_address(name, address):
    """An IPv6 address answers at once: nobody else in the lab has it."""
    at_once = ["nodad"] if ":" in address else []
    in_ns(name, "ip", "address", "add", address, "dev", "eth0", *at_once)


def add_host(switch, name, port, address):
    """A namespace with eth0, plugged into the bridge's port."""
    add_namespace(name)
    in_ns(switch, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0",
          "netns", name)
    in_ns(switch, "ip", "link", "set", port, "master", "br0", "up")
    add_address(name, address)
    in_ns(name, "ip", "link", "set", "eth0", "up")


def reboot_network(name, address):
    """What a kernel that starts anew has: one address, no packet filter."""
    in_ns(name, "nft", "flush", "ruleset")
    in_ns(name, "ip", "address", "flush", "dev", "eth0")
    add_address(name, address)


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


def part(switch, source, target, hardware):
    """Nothing that `source` sends (its hardware address is given) reaches `target`."""
    name = f"part_{source}_{target}"
    in_ns(switch, "nft", "-f", "-", stdin=f"table netdev {name}\ndelete table netdev {name}\n"
          f"table netdev {name} {{\n\tchain egress {{\n"
          f"\t\ttype filter hook egress device \"{target}\" priority 0\n\t\tpolicy accept\n"
          f"\t\tether saddr {hardware} drop\n\t}}\n}}\n")


def lose(switch, port, percent):
    """So many of a hundred frames to the host, and from it, are lost at random."""
    chains = "".join(
        f"\tchain {hook} {{\n\t\ttype filter hook {hook} device \"{port}\" priority 0\n"
        f"\t\tpolicy accept\n\t\tnumgen random mod 100 < {percent} drop\n\t}}\n"
        for hook in ("egress", "ingress"))
    in_ns(switch, "nft", "-f", "-", stdin=f"table netdev loss_{port}\n"
          f"delete table netdev loss_{port}\ntable netdev loss_{port} {{\n{chains}}}\n")


def can_delay(switch):
    """Whether this kernel has the queueing discipline that delays packets."""
    try:
        in_ns(switch, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except LabError:
        return False
    in_ns(switch, "tc", "qdisc", "del", "dev", "lo", "root")
    return True


def delay(switch, port, milliseconds):
    """Everything to the host arrives so much later, give or take a half; 0: at once again."""
    if milliseconds:
        in_ns(switch, "tc", "qdisc", "replace", "dev", port, "root", "netem", "delay",
              f"{milliseconds}ms", f"{milliseconds / 2}ms")
    elif "netem" in in_ns(switch, "tc", "qdisc", "show", "dev", port):
        in_ns(switch, "tc", "qdisc", "del", "dev", port, "root")


def drop_table(switch, name):
    """Forget one of part_SOURCE_TARGET, loss_PORT, cut_PORT, whether it is there or not."""
    in_ns(switch, "nft", "-f", "-",
          stdin=f"table netdev {name}\ndelete table netdev {name}\n")


def heal_all(switch, port):
    """Undo whatever was done to this host's cable."""
    names = [line.split()[-1] for line in
             in_ns(switch, "nft", "list", "tables", "netdev").splitlines() if line.strip()]
    for name in names:
        if port in name.split("_")[1:]:
            drop_table(switch, name)


def hardware_address(name):
    """Of eth0 inside the namespace; /sys would tell of the namespace that it was mounted in."""
    shown = in_ns(name, "ip", "-o", "link", "show", "dev", "eth0").split()
    return shown[shown.index("link/ether") + 1]


def addresses(name):
    """Addresses of eth0 inside the namespace."""
    try:
        text = in_ns(name, "ip", "-o", "address", "show", "dev", "eth0", "scope",
                     "global")
    except (LabError, OSError, subprocess.SubprocessError):
        return []
    return [line.split()[3].split("/")[0] for line in text.splitlines()]
