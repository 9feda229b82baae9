"""`python -m genmods`. Files in the working directory never shadow modules of Python or genmods."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] in ("", os.getcwd(), os.path.dirname(__file__)):
    del sys.path[0]


def main() -> int:
    """Run the command line; returns the exit status."""
    from genmods.cli import dispatch

    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: huge pages for tensors, fewer page faults
    return dispatch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
