"""Abuse of a running cluster: kills, floods, clocks, exhaustion, upgrades."""
