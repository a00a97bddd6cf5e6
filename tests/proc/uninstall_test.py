#!/usr/bin/python3
"""What `cmake --install` puts somewhere, tools/uninstall takes away, and nothing else."""

import argparse
import os
import subprocess
import tempfile


def files(root):
    return {os.path.relpath(os.path.join(folder, name), root)
            for folder, _, names in os.walk(root) for name in names}


def touch(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as handle:
        handle.write("x\n")


def check(condition, words):
    if not condition:
        raise SystemExit(f"FAILED: {words}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--uninstall", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mha-uninstall-") as root:
        # Somebody else's, and what the operator owns.
        others = {"usr/bin/other", "usr/share/man/man1/other.1", "usr/lib/systemd/system/a.service"}
        own = {"etc/mha4rdb/mha4rdb.conf", "etc/mha4rdb/node.key",
               "var/lib/mha4rdb/raft/metadata1"}
        for name in others | own:
            touch(os.path.join(root, name))
        subprocess.run([options.cmake, "--install", options.build, "--prefix", "/usr"], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "DESTDIR": root})
        installed = files(root) - others - own
        check(len(installed) > 10 and "usr/sbin/mhad" in installed, f"installed: {installed}")

        def run(*words):
            subprocess.run([options.uninstall, "--root", root, "--prefix", "/usr", *words],
                           check=True, stdout=subprocess.DEVNULL)

        run("--dry-run", "--purge")
        check(files(root) == installed | others | own, "a dry run removed something")
        run()
        check(files(root) == others | own, f"left or lost: {files(root) ^ (others | own)}")
        run("--purge")
        check(files(root) == others, f"left or lost: {files(root) ^ others}")
        run("--purge")
        print(f"{len(installed)} files were installed and removed")


if __name__ == "__main__":
    main()
