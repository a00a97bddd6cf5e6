"""The test laboratory: hosts as namespaces, faults, a probe and its judgement."""
