"""The run report: what a run folder holds, as one page that needs no network."""
