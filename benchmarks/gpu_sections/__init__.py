"""The sections of `gpu.py`, one module each: `rows(job)` maps the name of each row to the call that measures it."""

SECONDS = {
    "peak": 15,
    "tests": 45,
    "training": 45,
    "sampling": 25,
    "overhead": 25,
    "memory": 15,
    "accuracy": 95,
    "quality": 220,
    "compiled": 480,
}
"""The sections in the order in which they run, and how long each may take; the last one gets what is left."""
