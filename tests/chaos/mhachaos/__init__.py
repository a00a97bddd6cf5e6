"""Chaos: random faults over the laboratory, and checkers of what clients saw."""
