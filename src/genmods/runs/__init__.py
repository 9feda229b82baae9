"""Runs: their folders, parts taken from earlier ones, and fit, evaluation, calibration and export."""
