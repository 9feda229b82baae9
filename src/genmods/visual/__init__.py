"""Plots of networks and of their activations: matplotlib figures without global state, and SVG."""
