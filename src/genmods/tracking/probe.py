"""Checks in bounded time, before `wandb.init`, whether a Weights & Biases server is reachable and accepts the API key.

`wandb.init` takes minutes and then raises if a server refuses connections. The probe is one small request in a separate
thread, because a server that sends its response slowly can exceed any socket timeout.
"""

from __future__ import annotations

import base64
import json
import netrc
import os
import sys
import threading
import urllib.request
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse

from genmods.core.printable import say

_QUERY = b'{"query": "query { viewer { id } }"}'


def api_key(base_url: str) -> str | None:
    """The API key for a server: `WANDB_API_KEY`, or the entry of the netrc file for its address or host name."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    address = urlparse(base_url)
    for name in [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]:
        try:
            lines = netrc.netrc(os.path.expanduser(name))
        except netrc.NetrcParseError as error:
            say(f"the API key cannot be read: {error}", file=sys.stderr)
            continue
        except OSError:
            continue
        if found := lines.authenticators(address.netloc) or lines.authenticators(address.hostname or ""):
            return found[2]
    return None


def _ask(base_url: str, key: str, timeout: float) -> str | None:
    token = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(base_url.rstrip("/") + "/graphql", data=_QUERY, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            body = json.loads(answer.read(1_000_000))
    except HTTPError as error:
        return f"the server responded with status {error.code}"
    except (URLError, OSError, ValueError) as error:
        return f"no response ({getattr(error, 'reason', error)})"
    try:
        return None if body["data"]["viewer"]["id"] else "the server does not accept the API key"
    except (KeyError, TypeError):
        return "the server does not accept the API key"


def why_unreachable(base_url: str, timeout: float = 2.5) -> str | None:
    """None if the server at `base_url` accepts the API key of this machine, otherwise a short reason.

    Returns after little more than `timeout` seconds.
    """
    key = api_key(base_url)
    if not key:
        return "no API key"
    answer: list[str | None] = []
    thread = threading.Thread(target=lambda: answer.append(_ask(base_url, key, timeout)), daemon=True)
    thread.start()
    thread.join(timeout + 0.25)
    return answer[0] if answer else f"no response within {timeout:g} s"
