"""Files of a hub: those that lie here already, or what is asked for in one short look whether the hub is there."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from reclaim.core.errors import BadInput
from reclaim.core.extras import require

__all__ = ["LOOK", "check_reachable", "from_hub"]

LOOK = 5.0  # seconds; libraries themselves try again for half a minute and more


def from_hub(name: str, patterns: Sequence[str], extra: str, local: str) -> Path:
    """The folder that holds the files of a repository on the hub, from the cache where they are there already.

    Args:
        name: OWNER/REPOSITORY.
        patterns: of the files that are needed.
        extra: the extra that brings the hub's own library.
        local: what to write instead for a folder here, for the message.

    Raises: BadInput if they are not here, and the hub cannot be reached or has none such.
    """
    hub = require("huggingface_hub", extra)
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
    except (OSError, ValueError):  # not here yet, or no name of a repository
        pass
    check_reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), name, local)
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(patterns), etag_timeout=LOOK))
    except (OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{name} cannot be had from the hub: {reason:.200}\n  {_here(local)}") from error


def check_reachable(address: str, name: str, local: str, *, hub: bool = True) -> None:
    """Look once whether a server answers.

    Args:
        hub: whether what keeps the hub's own library offline holds for this server too.

    Raises: BadInput, with the form for local files, if it does not, or the environment says to stay offline.
    """
    if hub and os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise BadInput(f"{name} is not on this machine, and HF_HUB_OFFLINE says not to ask the hub.\n  {_here(local)}")
    place = urlsplit(address)
    host, port = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
    proxied = any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    if not proxied and (reason := _unreachable(host, port)):
        raise BadInput(f"{name} is not on this machine, and {host} cannot be reached: {reason}.\n  {_here(local)}")


def _here(local: str) -> str:
    return f"Name files that are here: {local}."


def _unreachable(host: str, port: int) -> str:
    """Why a server does not answer, empty if it does. Looking up its name counts towards the time, too."""
    found: list[str] = []

    def look() -> None:
        try:
            socket.create_connection((host, port), timeout=LOOK).close()
        except OSError as error:
            found.append(str(error) or type(error).__name__)
        else:
            found.append("")

    looking = Thread(target=look, daemon=True)
    looking.start()
    looking.join(LOOK)
    return found[0] if found else f"no answer in {LOOK:g} seconds"
