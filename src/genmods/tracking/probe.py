"""Whether a Weights & Biases server would take a run, found out in a bounded time and before `wandb.init` is called.

`wandb.init` against a server that refuses connections takes minutes and then raises; so the question is asked
beforehand, by one small request in a thread of its own, because a server that trickles its answer outlives any socket
timeout.
"""

from __future__ import annotations

import base64
import json
import netrc
import os
import threading
import urllib.request
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse

_QUERY = b'{"query": "query { viewer { id } }"}'


def api_key(base_url: str) -> str | None:
    """The key for a server: `WANDB_API_KEY`, or the line of the netrc file for its address, or for its name alone."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    address = urlparse(base_url)
    for name in [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]:
        try:
            lines = netrc.netrc(os.path.expanduser(name))
        except (OSError, netrc.NetrcParseError):
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
        return f"the server answered {error.code}"
    except (URLError, OSError, ValueError) as error:
        return f"no answer ({getattr(error, 'reason', error)})"
    try:
        return None if body["data"]["viewer"]["id"] else "the server does not know the key"
    except (KeyError, TypeError):
        return "the server does not know the key"


def why_unreachable(base_url: str, timeout: float = 2.5) -> str | None:
    """None where the server at `base_url` takes the key of this machine, else the reason in a few words.

    Returns after `timeout` seconds and a little at the latest.
    """
    key = api_key(base_url)
    if not key:
        return "there is no API key"
    answer: list[str | None] = []
    thread = threading.Thread(target=lambda: answer.append(_ask(base_url, key, timeout)), daemon=True)
    thread.start()
    thread.join(timeout + 0.25)
    return answer[0] if answer else f"no answer within {timeout:g} s"
