"""Shared by all packages: errors, counter-based random numbers, atomic files, checkpoint files."""
