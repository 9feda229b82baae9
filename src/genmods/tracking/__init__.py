"""Tracking of runs: the metrics file, Weights & Biases, names and pictures."""
