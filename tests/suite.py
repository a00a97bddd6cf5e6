"""The parts of tests/run. Each part prints what it does and counts what passed and failed."""

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = str(os.cpu_count() or 2)
SEEDS = 10000
SECOND = re.compile(r"^passed at the second try: (\S+)$", re.MULTILINE)
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


class Suite:
    """Counts and the clock."""

    def __init__(self):
        self.passed = self.failed = 0
        self.failures = []
        self.second = []
        self.builds = {}
        self.began = time.monotonic()

    def say(self, text):
        print(f"[{time.monotonic() - self.began:6.0f} s] {text}", flush=True)

    def count(self, passed, failed, what):
        self.passed += passed
        self.failed += failed
        if failed:
            self.failures.append(f"{what}: {failed}")
        self.say(f"{what}: {passed} passed, {failed} failed")

    def passed_again(self, name):
        """A machine that stalls is no fault of ours, but nobody shall have to look for it."""
        self.second.append(name)
        self.say(f"passed at the second try: {name}")

    def run(self, *command):
        """Run a command whose output people may watch; its exit status."""
        self.say(" ".join(command))
        return subprocess.call(command, cwd=ROOT)

    def check(self, what, *command):
        """One command is one test."""
        status = self.run(*command)
        self.count(int(status == 0), int(status != 0), what)
        return status == 0


def build_dir(preset):
    return os.path.join(ROOT, "build", preset)


def build(suite, preset):
    """Configure and build a preset, once per run; a failed build is a failed test."""
    if preset not in suite.builds:
        suite.builds[preset] = (
            suite.check(f"configure {preset}", "cmake", "--preset", preset)
            and suite.check(f"build {preset}", "cmake", "--build", build_dir(preset), "-j", JOBS))
    return suite.builds[preset]


def find_program(preset, program):
    for folder in ("bin", "tests"):
        path = os.path.join(build_dir(preset), folder, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def built(suite, preset, program):
    """Path of an up-to-date program; None when it cannot be had."""
    if not build(suite, preset):
        return None
    path = find_program(preset, program)
    if path is None:
        suite.count(0, 1, f"{preset}: {program} is there")
    return path


def ctest_report(suite, preset, *arguments):
    """Run ctest: how many tests there were, the names of those that failed and of those that were
    not run; None when it gives no report."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        suite.run("ctest", "--test-dir", build_dir(preset), "--output-on-failure",
                  "--no-tests=error", "--output-junit", report.name, *arguments)
        try:
            root = xml.etree.ElementTree.parse(report.name).getroot()
        except xml.etree.ElementTree.ParseError:
            return None
    cases = list(root.iter("testcase"))
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    failed = [case.get("name") for case in cases
              if case.get("status") == "fail" or case.find("failure") is not None]
    # One that ctest counts and does not name is still a failure.
    failed += ["?"] * (int(root.get("failures")) - len(failed))
    return int(root.get("tests")), failed, skipped


def ctest(suite, preset, *arguments, second_try=False):
    """Run ctest and count from its report. `second_try`: what has failed is run once more, alone;
    that it passed then is said by name."""
    report = ctest_report(suite, preset, *arguments)
    if report is None:
        suite.count(0, 1, f"ctest {preset}")
        return
    total, failed, skipped = report
    if skipped:
        suite.say(f"ctest {preset}: not run: {', '.join(skipped)}")
    if second_try:
        for name in [name for name in failed if name != "?"]:
            suite.say(f"{name} has failed; once more, alone")
            if ctest_report(suite, preset, "-R", f"^{re.escape(name)}$") == (1, [], []):
                failed.remove(name)
                suite.passed_again(name)
    if failed:
        suite.say(f"ctest {preset}: failed: {', '.join(failed)}")
    suite.count(total - len(failed) - len(skipped), len(failed), f"ctest {preset}")


def part_build(suite):
    """all presets, warnings as errors, gcc and clang"""
    for preset in ("dev", "dev-clang", "release"):
        build(suite, preset)


def part_style(suite):
    """formatting as .clang-format has it"""
    if build(suite, "dev"):
        suite.check("format", "cmake", "--build", build_dir("dev"), "--target", "format-check")


def part_unit(suite):
    """unit tests and a few simulator seeds with sanitizers; unit tests again as released"""
    if built(suite, "dev", "mhad"):
        ctest(suite, "dev", "-j", JOBS, "-E", "^(sim-planted|fuzz|proc)")
    if built(suite, "release", "mhad"):
        ctest(suite, "release", "-j", JOBS, "-E", "^(sim|fuzz|proc)")


def part_proc(suite):
    """the processes: rights, restarts, the database engine, with sanitizers"""
    if built(suite, "dev", "mhad"):
        ctest(suite, "dev", "-j", JOBS, "-R", "^proc", second_try=True)


def part_fuzz(suite):
    """what comes from outside, byte by byte: the corpus and mutations of it, with sanitizers"""
    if built(suite, "dev", "mhad"):
        ctest(suite, "dev", "-j", JOBS, "-R", "^fuzz")


def part_planted(suite):
    """bugs planted into the protocol: the simulator must catch each of them"""
    if built(suite, "release", "sim-planted"):
        ctest(suite, "release", "-j", JOBS, "-R", "^sim-planted")


def part_sim(suite):
    """the simulator: seeds of 60 simulated seconds each"""
    program = built(suite, "release", "sim")
    if program is None:
        return
    step = SEEDS // 20
    failed = 0
    began = time.monotonic()
    for first in range(1, SEEDS + 1, step):
        last = first + step - 1
        failed += suite.run(program, "--seeds", f"{first}..{last}", "--jobs", JOBS) != 0
        suite.say(f"sim: seeds up to {last} done")
    suite.count(20 - failed, failed, f"sim: 20 batches of {step} seeds")
    hours = SEEDS * 60 / 3600
    suite.say(f"sim: {hours:.0f} simulated hours in {time.monotonic() - began:.0f} s")


def outcome(suite, *command, prefix=""):
    """(passed, failed) of a program that prints "N passed, N failed" itself."""
    suite.say(" ".join(command))
    output = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(f"{prefix}{line}", end="", flush=True)
            output.append(line)
    found = COUNTS.findall("".join(output))
    for name in SECOND.findall("".join(output)):
        suite.passed_again(name)
    passed, failed = map(int, found[-1]) if found else (0, 1)
    return passed, max(failed, int(process.returncode != 0))


def counted(suite, what, *command):
    suite.count(*outcome(suite, *command), what)


def part_model(suite):
    """the protocol's models, exhaustively within small bounds, and bugs planted into them"""
    counted(suite, "model", "tests/model/run", "--size", "small")


def part_lab(suite):
    """the laboratory and the checkers of chaos and abuse are shown planted liars"""
    if built(suite, "release", "lab-probe"):
        counted(suite, "lab selftest", "tests/lab/selftest", "--bin-dir",
                os.path.join(build_dir("release"), "bin"))
        counted(suite, "chaos selftest", "tests/chaos/selftest")
        counted(suite, "abuse selftest", "tests/abuse/selftest")


def part_scenarios(suite):
    """real clusters: every way to lose a primary"""
    if built(suite, "release", "mhad") and built(suite, "release", "lab-probe"):
        counted(suite, "scenarios", "tests/lab/scenarios", "--second-try", "--jobs", "2", "--json",
                os.path.join(build_dir("release"), "scenarios.json"))


# The faults of these seeds, and whatever the machine makes of them.
CHAOS = (("max_protection", "3", 5, 11), ("max_availability", "2+1", 5, 12))


def part_abuse(suite):
    """a small size of kills, an upgrade, clock jumps and floods on a running cluster"""
    if not (built(suite, "release", "mhad") and built(suite, "release", "abuse-flood")):
        return
    folder = build_dir("release")
    counted(suite, "abuse", "tests/abuse/abuse", "--only", "upgrade,kills,clock,floods", "--kills",
            "24", "--append-kills", "6", "--seconds", "5", "--connections", "1000", "--seed", "1",
            "--bin-dir", os.path.join(folder, "bin"), "--json", os.path.join(folder, "abuse.json"))


def part_tsan(suite):
    """threads of libmha, the gateway, and whole agents, under ThreadSanitizer"""
    programs = ("libmha_threads", "tsan_race", "gateway_rig", "gateway_routes", "lab-host",
                "lab-probe", "mhad", "mha-consensus", "mha-dbmon", "mha-dbctl", "mha-vip",
                "mha-gateway", "mha-diskprobe", "mha-pagecheck", "mhactl", "mha-top", "mha-trace",
                "mha-keygen")
    if suite.check("configure tsan", "cmake", "--preset", "tsan") and suite.check(
            "build for tsan", "cmake", "--build", build_dir("tsan"), "-j", JOBS, "--target",
            *programs):
        counted(suite, "tsan", "tests/tsan/run")


def is_safe(path):
    """Nothing was wrong with the data that a run of chaos left a report of."""
    try:
        with open(path, encoding="utf-8") as report:
            return json.load(report)["safe"]
    except (OSError, ValueError, KeyError):
        return False


def chaos(suite, mode, layout, minutes, seed):
    """One run, and another one when the machine has failed and not the data: its counts."""
    folder = build_dir("release")
    path = os.path.join(folder, f"chaos-{mode}.json")
    name = chaos_name(mode, layout)
    for turn in ("first", "second"):
        if os.path.exists(path):
            os.unlink(path)
        passed, failed = outcome(
            suite, "tests/chaos/chaos", "--seed", str(seed), "--mode", mode, "--layout", layout,
            "--minutes", str(minutes), "--dir", f"/tmp/mha-chaos-{seed}", "--prefix",
            f"mha-c{seed}", "--keep-logs", os.path.join(folder, f"chaos-{mode}-logs"), "--json",
            path, prefix=f"{mode}: ")
        if not failed or not is_safe(path):
            break
        if turn == "first":
            suite.say(f"{name}: once more, the data were right")
    if turn == "second" and not failed:
        suite.passed_again(name)
    return passed, failed


def chaos_name(mode, layout):
    return f"chaos {mode} {layout}"


def part_chaos(suite):
    """ten minutes of random faults, on two real clusters at a time"""
    if not (built(suite, "release", "mhad") and built(suite, "release", "lab-probe")):
        return
    with concurrent.futures.ThreadPoolExecutor(len(CHAOS)) as pool:
        runs = [(chaos_name(mode, layout), pool.submit(chaos, suite, mode, layout, minutes, seed))
                for mode, layout, minutes, seed in CHAOS]
        for name, run in runs:
            suite.count(*run.result(), name)


PARTS = {"build": part_build, "style": part_style, "unit": part_unit, "proc": part_proc,
         "fuzz": part_fuzz, "planted": part_planted, "sim": part_sim, "lab": part_lab,
         "scenarios": part_scenarios, "chaos": part_chaos, "model": part_model,
         "abuse": part_abuse, "tsan": part_tsan}
BY_NAME = {"abuse", "tsan"}
# These only calculate: in a whole run they have what the laboratory of chaos leaves of the machine.
BESIDE = ("planted", "sim", "model")


class Beside:
    """Parts in a process of their own, with low priority; what they say is told at the end."""

    def __init__(self, suite, names):
        suite.say(f"== {', '.join(names)}: begun, beside what follows")
        self.output = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["nice", "-n", "10", sys.executable, "-B", os.path.abspath(__file__), *names],
            stdout=self.output, stderr=subprocess.STDOUT)

    def finish(self, suite):
        self.process.wait()
        self.output.seek(0)
        text = self.output.read()
        self.output.close()
        for line in text.splitlines():
            print(f"  | {line}")
        found = COUNTS.findall(text)
        passed, failed = map(int, found[-1]) if found else (0, 1)
        suite.count(passed, failed, ", ".join(BESIDE))


def main():
    parser = argparse.ArgumentParser(prog="tests/run", description="build and test mha4rdb")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(
        f"{name}: {part.__doc__}" for name, part in PARTS.items()))
    parser.add_argument("--list", action="store_true", help="name the parts")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"unknown part: {', '.join(unknown)} (there are {', '.join(PARTS)})")
    if options.list:
        for name, part in PARTS.items():
            print(f"{name:10} {part.__doc__}")
        return 0
    if os.geteuid() != 0:
        parser.error("root is needed: the laboratory makes network namespaces")
    suite = Suite()
    beside = None
    for name in options.parts or [name for name in PARTS if name not in {*BY_NAME, *BESIDE}]:
        if name == "chaos" and not options.parts and built(suite, "release", "sim"):
            beside = Beside(suite, BESIDE)
        suite.say(f"== {name}: {PARTS[name].__doc__}")
        PARTS[name](suite)
    if beside is not None:
        beside.finish(suite)
    if suite.second:
        suite.say("passed at the second try: " + ", ".join(suite.second))
    if suite.failures:
        suite.say("failed: " + "; ".join(suite.failures))
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed else 0


if __name__ == "__main__":
    sys.exit(main())
