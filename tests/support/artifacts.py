"""Weights & Biases artifacts without a network: the real client with a manifest and files of our own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REFERENCE = "wandb:me/genmods/model-abc:best"
PLACE = Path("runs/wandb/model-abc-best/model.ckpt")
"""Where the checkpoint of the artifact is downloaded to."""


@dataclass
class Artifact:
    """What the server has: the text of the manifest, and the files by the paths of its entries.

    `broken` is raised instead of a file, or after half of it if `halfway`.
    """

    manifest: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    broken: Exception | None = None
    halfway: bool = False

    def serve(self, patch: Callable[[Any, str, Any], object], cache: Path) -> None:
        """Let `wandb.Api` find this artifact alone.

        Args:
            patch: `setattr`, or that of pytest's monkeypatch.
            cache: A folder for the files that the client keeps.
        """
        import wandb
        from pydantic_core import from_json
        from wandb.sdk.artifacts import artifact_file_cache as caches
        from wandb.sdk.artifacts.artifact_manifest import ArtifactManifest

        def manifest(_: object) -> ArtifactManifest:
            found = ArtifactManifest.from_manifest_json(from_json(self.manifest))
            found.storage_policy._maybe_cache = caches.ArtifactFileCache(cache)
            found.storage_policy._maybe_session = SimpleNamespace(get=lambda url, **_: self._response(url))
            for path, entry in found.entries.items():
                entry._download_url = path
            return found

        def artifact(reference: str, type: str) -> wandb.Artifact:
            if (f"wandb:{reference}", type) != (REFERENCE, "model"):
                raise ValueError(f"there is no {reference}")
            found = wandb.Artifact("model-abc", type)
            found._manifest = None
            return found

        patch(wandb.Artifact, "_fetch_manifest", manifest)
        patch(wandb.Artifact, "is_draft", lambda _: False)
        patch(wandb, "Api", lambda **_: SimpleNamespace(artifact=artifact))
        server = SimpleNamespace(settings=SimpleNamespace(base_url="http://server"))
        patch(wandb, "setup", lambda: server)  # starts a process
        patch(caches, "_get_sys_umask_threadsafe", lambda: 0o22)  # asks another process
        patch(caches, "artifacts_cache_dir", lambda: cache)
        import genmods.tracking.artifacts

        patch(genmods.tracking.artifacts, "why_unreachable", lambda *_: None)

    def _response(self, path: str) -> SimpleNamespace:
        if self.broken is not None and not self.halfway:
            raise self.broken
        return SimpleNamespace(iter_content=lambda chunk_size: self._chunks(self.files[path]))

    def _chunks(self, path: Path) -> Iterator[bytes]:
        left = path.stat().st_size // 2 if self.halfway else path.stat().st_size
        with path.open("rb") as file:
            while left > 0 and (chunk := file.read(min(left, 1 << 20))):
                yield chunk
                left -= len(chunk)
        if self.broken is not None:
            raise self.broken


def manifest(entries: Any, **more: Any) -> str:
    """The text of a manifest."""
    policy = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
    return json.dumps({"version": 1, **policy, "contents": entries, **more})


def entry(file: Path) -> dict[str, Any]:
    """The entry of a good file."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "md5").digest()
    return {"digest": base64.b64encode(digest).decode(), "size": file.stat().st_size}
