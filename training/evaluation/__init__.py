"""Metrics with the field's own protocols, and the benchmark on simulated rooms."""
