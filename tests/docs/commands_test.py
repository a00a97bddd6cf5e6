#!/usr/bin/python3
"""Each command line that the documents show is taken by the program's own parser (COMMAND --help)."""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import unittest

PARSER = argparse.ArgumentParser()
PARSER.add_argument("--root", required=True, help="the source tree")
PARSER.add_argument("--bin", required=True, help="where the programs are")
PARSER.add_argument("--list", action="store_true", help="print what is found and end")
ARGS, REST = PARSER.parse_known_args()

PROGRAMS = ("mhactl", "mha-top", "mha-trace", "mha-keygen", "mha-enroll", "mhad")
START = re.compile(r"(?:sudo |[$#] |ssh \S+ )*(%s)(?=\s|$)" % "|".join(PROGRAMS))
# What stands for something in a document, and something that it may stand for.
PLACES = {
    "TIME": "+1h", "SPAN": "10min", "N": "n2", "NODE": "n2", "NAME": "n2", "INDEX": "7", "SUB": "1",
    "HOST": "127.0.0.1", "AGENT": "127.0.0.1", "IP": "127.0.0.1", "PORT": "7401", "FILE": "/nonexistent/f",
    "DIR": "/nonexistent", "KEY": "/nonexistent/k", "ROLE": "operate", "VERB": "status", "ID": "4",
    "ENDPOINT": "tcp://127.0.0.1:7401", "PATH": "/nonexistent/f", "TOKEN": "token",
    "N1": "n1", "N2": "n2", "N3": "n3", "ADDRESS": "127.0.0.1",
}


class Shown:
    """One command line with the place where it stands."""

    def __init__(self, where, text):
        self.where = where
        self.text = text


def from_markdown(path, text):
    """Lines of fenced blocks, then inline code in everything else; that may be broken over lines."""
    prose = []
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            prose.append("")
        elif fenced:
            prose.append("")
            if START.match(line.strip()):
                # Two blanks begin what is said about the command.
                yield Shown(f"{path}:{number}", re.split(r"\s{2,}", line.strip())[0])
        else:
            prose.append(line)
    whole = "\n".join(prose)
    for match in re.finditer(r"`([^`]+)`", whole):
        code = " ".join(match.group(1).split())
        if START.match(code) and " " in code:
            yield Shown(f"{path}:{whole.count(chr(10), 0, match.start()) + 1}", code)


def from_manual(path, text):
    """The lines between .EX and .EE."""
    example = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith((".EX", ".EE")):
            example = line.startswith(".EX")
        elif example and START.match(line.replace("\\-", "-").strip()):
            plain = re.sub(r"\\f.", "", line.replace("\\-", "-"))
            yield Shown(f"{path}:{number}", re.split(r"\s{2,}", plain.strip())[0])


def from_source(path, text):
    """Advice in strings: `mhactl ...`, of a C file or of the alert rules."""
    joined = re.sub(r'"\s*\n\s*"', "", text)
    for match in re.finditer(r"`((?:%s) [^`]+)`" % "|".join(PROGRAMS), joined):
        # The rest of a comment that goes on.
        code = re.sub(r"\s*\n\s*(\*|//|#)\s*", " ", match.group(1))
        if "%" not in code and "\n" not in code:
            yield Shown(path, code)


def shown():
    readers = ((".md", from_markdown), (".c", from_source), (".h", from_source), (".yml", from_source))
    for folder, folders, files in os.walk(ARGS.root):
        folders[:] = sorted(name for name in folders
                            if not name.startswith(".") and name not in ("build", "tests"))
        for name in sorted(files):
            path = os.path.join(folder, name)
            reader = next((read for end, read in readers if name.endswith(end)), None)
            if reader is None and re.fullmatch(r".*/docs/man/.*\.\d", path):
                reader = from_manual
            if reader is not None:
                with open(path, encoding="utf-8") as file:
                    yield from reader(os.path.relpath(path, ARGS.root), file.read())


def words_of(text):
    """The command alone: without what a pipe or a comment adds, and placeholders filled in."""
    text = re.split(r"\s(?:[|>;]|&&|#)(?:\s|$)", text.split("...")[0])[0]
    text = text[START.match(text).start(1):]
    words = []
    for word in shlex.split(text):
        word = word.rstrip(",")
        if not re.match(r"[a-z]+://", word):
            word = word.split("|")[0]
        words.append(re.sub(r"\b[A-Z][A-Z0-9]*\b", lambda found: PLACES.get(found.group(), found.group()),
                            word))
    return words


def forms(text):
    """With what is optional, and without it."""
    inner = re.compile(r"\[([^][]*)\]")
    full = bare = text
    while inner.search(full):
        full = inner.sub(r"\1", full)
    while inner.search(bare):
        bare = inner.sub("", bare)
    # Of things that exclude each other only the first is taken.
    full = re.sub(r"(--\S+ \S+) \| --\S+ \S+", r"\1", full)
    return {full, bare}


class Documents(unittest.TestCase):
    def test_every_command_that_is_shown_exists(self):
        seen = {}
        for command in shown():
            for form in forms(command.text):
                seen.setdefault(tuple(words_of(form)), command)
        self.assertGreater(len(seen), 60, "the documents show commands, and they are found")
        for words, command in sorted(seen.items()):
            if len(words) < 2:
                continue
            with self.subTest(where=command.where, command=" ".join(words)):
                if words[0] == "mha-keygen":
                    self.check_keygen(words)
                    continue
                answer = subprocess.run([os.path.join(ARGS.bin, words[0]), *words[1:], "--help"],
                                        stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                        timeout=120)
                self.assertEqual(answer.returncode, 0,
                                 f"{command.where}: {command.text}: {answer.stderr.strip()}")

    def check_keygen(self, words):
        """It takes a file's name wherever a file may stand, so its summary is what is compared with."""
        usage = subprocess.run([os.path.join(ARGS.bin, "mha-keygen"), "--help"], capture_output=True,
                               text=True, timeout=120).stdout
        if words[1].startswith("/"):
            self.assertEqual(len(words), 2)
            return
        line = re.search(r"mha-keygen %s\b(.*)" % re.escape(words[1]), usage)
        self.assertIsNotNone(line, words)
        if words[1] == "--rotate":
            self.assertIn(words[2], line.group(1).split()[0].split("|"))

    def test_a_command_that_does_not_exist_is_found(self):
        for words in (["mhactl", "swithover"], ["mhactl", "switchover", "--too", "n2"],
                      ["mhactl", "pause", "--for", "30m"], ["mhactl", "status", "--to", "n2"],
                      ["mhactl", "maintenance", "on"], ["mha-top", "--no-such-option"],
                      ["mha-trace", "--no-such-option"], ["mhad", "--no-such-option"]):
            answer = subprocess.run([os.path.join(ARGS.bin, words[0]), *words[1:], "--help"],
                                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
            self.assertNotEqual(answer.returncode, 0, words)

    def test_what_is_shown_is_found(self):
        text = "a `mhactl member\nadd n4` b\n```\nsudo mhactl status     the cluster\n```\n"
        self.assertEqual([one.text for one in from_markdown("x", text)],
                         ["sudo mhactl status", "mhactl member add n4"])
        self.assertEqual([one.text for one in from_manual("x", ".EX\nmhactl switchover \\-\\-to n2\n.EE")],
                         ["mhactl switchover --to n2"])
        self.assertEqual([one.text for one in from_source("x", '"do `mhactl "\n\t"resume` first"')],
                         ["mhactl resume"])
        self.assertEqual(words_of("sudo mhactl failover --to N | cat"), ["mhactl", "failover", "--to", "n2"])
        self.assertEqual(forms("mhactl pause [--for 30min]"), {"mhactl pause --for 30min", "mhactl pause "})


class Verbs(unittest.TestCase):
    """One table in the program; manual page and completion must not differ from it."""

    def setUp(self):
        answer = subprocess.run([os.path.join(ARGS.bin, "mhactl"), "help", "--json"],
                                capture_output=True, text=True, timeout=120, check=True)
        self.verbs = json.loads(answer.stdout)

    def complete(self, *words):
        """What bash would offer for the last of `words`."""
        script = os.path.join(ARGS.root, "deploy/completion/mhactl.bash")
        program = ("compopt() { :; }\nmhactl() { :; }\nsource %s\nCOMP_WORDS=(%s)\nCOMP_CWORD=%d\n_mhactl\n"
                   "printf '%%s\\n' \"${COMPREPLY[@]}\"" %
                   (shlex.quote(script), " ".join(shlex.quote(word) for word in words), len(words) - 1))
        answer = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60)
        self.assertEqual(answer.stderr, "", words)
        return set(answer.stdout.split())

    def test_completion_knows_every_verb_and_its_options(self):
        self.assertEqual(self.complete("mhactl", ""), {verb["verb"] for verb in self.verbs})
        common = self.complete("mhactl", "cancel", "--")
        self.assertIn("--json", common)
        for verb in self.verbs:
            offered = self.complete("mhactl", "--run-dir", "/x", verb["verb"], "--") - common
            self.assertEqual(offered, {"--" + option for option in verb["options"]}, verb["verb"])
        self.assertEqual(self.complete("mhactl", "maintenance", "o"), {"on", "off"})
        self.assertEqual(self.complete("mhactl", "config", ""), {"show", "check", "edit"})

    def test_the_manual_page_has_every_verb_and_option(self):
        with open(os.path.join(ARGS.root, "docs/man/mhactl.1"), encoding="utf-8") as file:
            page = file.read().replace("\\-", "-")
        for verb in self.verbs:
            self.assertRegex(page, r'(?m)^\.B[RI]? "?%s\b' % verb["verb"])
            for option in verb["options"]:
                self.assertIn("--" + option, page, verb["verb"])


if __name__ == "__main__":
    if ARGS.list:
        for each in shown():
            print(each.where, each.text)
        sys.exit(0)
    unittest.main(argv=[sys.argv[0], *REST])
