"""`genmods play`: trained models in the browser, served from this machine."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from contextlib import suppress

from genmods.core.errors import UserError
from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "run folders, checkpoints or exported models (default: two small models of digits that come with genmods)"
    add("runs", nargs="*", metavar="RUN", help=text)
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1, this machine only)")
    add("--port", type=int, default=7860, help="port (default 7860; 0 for a free one)")


def run(options: argparse.Namespace) -> None:
    if not 0 <= options.port < 65536:
        raise UserError(f"--port must lie in [0, 65535], got {options.port}")
    try:
        import uvicorn

        from genmods.play.server import application
    except ImportError:
        raise UserError("genmods play requires starlette and uvicorn: pip install 'genmods[play]'") from None
    from genmods.play.library import Library

    for path in options.runs:
        if not (os.path.exists(path) or ":" in path or path == "last"):
            raise UserError(f"{path}: no such checkpoint or run folder")
    token = None if options.host in ("127.0.0.1", "localhost", "::1") else secrets.token_urlsafe(16)
    bound = _bound(options.host, options.port)
    shown = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{shown}:{bound.getsockname()[1]}/"
    say(f"{address}{'' if token is None else f'?token={token}'}", "stop with Ctrl-C")
    config = uvicorn.Config(application(Library(options.runs), token), log_level="warning", timeout_graceful_shutdown=2)
    with suppress(KeyboardInterrupt):  # raised again by uvicorn after its end
        uvicorn.Server(config).run(sockets=[bound])
    say("stopped")


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, so that requests wait for the server; raises UserError if that is not
    possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen()
    except OSError as error:
        bound.close()
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--host {host} --port {port}: {reason}; --port 0 takes a free one") from None
    return bound
