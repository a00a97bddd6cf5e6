#!/usr/bin/python3
"""Compare the functions that mha.h declares with what libmha.so and libmha.a give away.

usage: libmha_symbols.py LIBMHA.SO LIBMHA.A MHA.H
"""

import re
import subprocess
import sys


def symbols(*command):
    output = subprocess.run(["nm", *command], check=True, capture_output=True, text=True).stdout
    return {(line.split()[-1].partition("@")[0], line.split()[-1].rpartition("@")[2])
            for line in output.splitlines() if re.search(r" [TDBRVW] ", line)}


def main():
    shared, static, header = sys.argv[1:]
    with open(header, encoding="utf-8") as handle:
        declared = set(re.findall(r"^MHA_API [^(;]*?\*?(mha_\w+)\(", handle.read(), re.MULTILINE))
    if len(declared) < 10:
        raise SystemExit(f"only {len(declared)} functions were found in {header}")
    given = {pair for pair in symbols("-D", "--defined-only", shared) if pair[0] != "MHA_0.1"}
    trouble = []
    if {name for name, _ in given} != declared:
        trouble.append(f"libmha.so: {sorted({name for name, _ in given} ^ declared)}")
    trouble += [f"{name} has version '{version}'" for name, version in given
                if not re.fullmatch(r"MHA_\d+\.\d+", version)]
    public = {name for name, _ in symbols("-g", "--defined-only", static)}
    # What a sanitizer adds is not ours.
    public = {name for name in public if not name.startswith("__")}
    if public != declared:
        trouble.append(f"libmha.a: {sorted(public ^ declared)}")
    print("\n".join(trouble) or f"{len(declared)} functions, no more and no less")
    return bool(trouble)


if __name__ == "__main__":
    sys.exit(main())
