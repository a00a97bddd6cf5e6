#!/usr/bin/python3
"""What stands in two places stands in both: alerts and their runbook, documents and their links."""
import argparse
import json
import os
import re
import sys
import unittest

PARSER = argparse.ArgumentParser()
PARSER.add_argument("--root", required=True, help="the source tree")
PARSER.add_argument("--bin", required=True, help="where the programs are")
ARGS, REST = PARSER.parse_known_args()

RULES = "deploy/prometheus/mha4rdb.rules.yml"
# Programs that people do not start: workers, and what workers start.
INNER = re.compile(r"mha-(consensus|vip|dbctl|dbmon|diskprobe|pagecheck|app|listen)$")


def read(path):
    with open(os.path.join(ARGS.root, path), encoding="utf-8") as file:
        return file.read()


def documents():
    found = ["README.md"] + [f"docs/{name}" for name in sorted(os.listdir(os.path.join(ARGS.root, "docs")))
                             if name.endswith(".md")]
    return found + [f"docs/decisions/{name}" for name in
                    sorted(os.listdir(os.path.join(ARGS.root, "docs/decisions")))]


def prose(text):
    """Without what is only quoted."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M))


def anchor(heading):
    """As the places that show Markdown name it."""
    plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return plain.replace(" ", "-")


def anchors(text):
    return {anchor(found) for found in re.findall(r"^#+ (.+)$", text, re.M)}


def families_of(text):
    return set(re.findall(r"^\| `((?:mha4rdb|patroni)_\w+)` \|", text, re.M))


def names_in(expression):
    return {re.sub(r"_(bucket|sum|count)$", "", name)
            for name in re.findall(r"\b(?:mha4rdb|patroni)_[a-z_]+", expression)}


class Alerts(unittest.TestCase):
    def setUp(self):
        self.rules = read(RULES)
        self.alerts = re.findall(r"^ *- alert: (\S+)", self.rules, re.M)
        self.section = re.search(r"^## Alerts$(.*?)^## ", read("docs/operate.md"), re.M | re.S).group(1)

    def test_every_alert_has_a_runbook_and_every_runbook_an_alert(self):
        self.assertGreater(len(self.alerts), 10)
        self.assertEqual(self.alerts, re.findall(r"^### (\S+)", self.section, re.M))

    def test_a_runbook_says_something(self):
        for part in re.split(r"^### ", self.section, flags=re.M)[1:]:
            name, _, text = part.partition("\n")
            self.assertGreater(len(text.split()), 7, name)

    def test_rules_and_dashboard_use_documented_metrics(self):
        documented = families_of(read("docs/metrics.md"))
        expressions = re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n +(?:for|labels):", self.rules)
        self.assertEqual(len(expressions), len(self.alerts))
        panels = json.loads(read("deploy/grafana/mha4rdb.json"))["panels"]
        expressions += [target["expr"] for panel in panels for target in panel.get("targets", [])]
        for expression in expressions:
            self.assertLessEqual(names_in(expression), documented, expression)


class Links(unittest.TestCase):
    def test_what_is_linked_is_there(self):
        seen = 0
        for path in documents():
            for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(path))):
                if re.match(r"[a-z]+:", target):
                    continue
                seen += 1
                name, _, heading = target.partition("#")
                whole = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
                with self.subTest(document=path, link=target):
                    self.assertTrue(os.path.exists(os.path.join(ARGS.root, whole)), whole)
                    if heading:
                        self.assertIn(heading, anchors(read(whole)))
        self.assertGreater(seen, 60, "the documents have links, and they are found")

    def test_every_document_is_reached_from_the_readme(self):
        reached, ahead = set(), ["README.md"]
        while ahead:
            path = ahead.pop()
            if path in reached:
                continue
            reached.add(path)
            for target in re.findall(r"\]\(([^)\s#]+\.md)", read(path)):
                whole = os.path.normpath(os.path.join(os.path.dirname(path), target))
                if os.path.exists(os.path.join(ARGS.root, whole)):
                    ahead.append(whole)
        # Decisions are a folder that is linked as a whole.
        lonely = [path for path in documents() if path not in reached
                  and not path.startswith("docs/decisions/")]
        self.assertEqual(lonely, [])

    def test_every_picture_is_shown(self):
        text = "\n".join(read(path) for path in documents())
        for folder in ("img", "pictures"):
            for name in sorted(os.listdir(os.path.join(ARGS.root, "docs", folder))):
                if name.endswith((".svg", ".txt")):
                    self.assertIn(f"{folder}/{name}", text)


class Manuals(unittest.TestCase):
    def test_every_program_that_people_start_has_a_manual_page(self):
        pages = {name.rsplit(".", 1)[0] for name in os.listdir(os.path.join(ARGS.root, "docs/man"))}
        programs = [name for name in os.listdir(ARGS.bin)
                    if re.match(r"mha(?:d|ctl|-\w+)$", name) and not INNER.match(name)]
        self.assertGreater(len(programs), 4)
        for name in sorted(programs):
            self.assertIn(name, pages)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *REST])
