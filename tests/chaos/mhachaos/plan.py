"""Which faults, where, when and for how long: from the seed alone."""

import random
from collections import namedtuple

from . import faults

# Data nodes and witnesses.
LAYOUTS = {"3": (3, 0), "2+1": (2, 1), "5": (5, 0)}

Settings = namedtuple("Settings", "layout mode kinds")

# `where` is a role that is looked up when the fault is done; `at` and `hold` are seconds: after the
# episode's first fault, and until it is undone; `pick` decides what else there is to choose.
Act = namedtuple("Act", "kind where at hold pick")

HOLDS = ((30, 0.05, 0.6), (40, 0.6, 3.0), (30, 3.0, 8.0))


def _hold(dice):
    row = dice.choices(HOLDS, [weight for weight, _, _ in HOLDS])[0]
    return round(dice.uniform(row[1], row[2]), 2)


def _act(settings, dice, at):
    """Every act takes the same number of draws, whatever it turns out to be."""
    kind = dice.choices(settings.kinds, [faults.TABLE[kind].weight for kind in settings.kinds])[0]
    roles = faults.TABLE[kind].roles
    if not LAYOUTS[settings.layout][1]:
        roles = [role for role in roles if role != "witness"]
    return Act(kind, dice.choice(roles), at, _hold(dice), dice.randrange(1 << 16))


def episode(settings, seed, number):
    """The acts of one episode, in order."""
    dice = random.Random(f"{seed}:{number}")
    count = dice.choices((1, 2, 3), (60, 30, 10))[0]
    offsets = [0.0] + sorted(round(dice.uniform(0.0, 3.0), 2) for _ in range(count - 1))
    return [_act(settings, dice, at) for at in offsets]


def describe(acts):
    return ", ".join(f"{act.kind} {act.where} {act.at:.2f}+{act.hold:.2f}" for act in acts)
