"""Models on the Hugging Face Hub: `hf:ORG/NAME@REVISION`, downloaded to the cache and read from there offline.

The hub is asked only for names that begin with `hf:`, and only for the files that `genmods.load` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from genmods.core.errors import UserError
from genmods.runs.config_file import CONFIG, WEIGHTS

PREFIX = "hf:"
_REFERENCE = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def pull(reference: str) -> Path:
    """The weights file of a model on the hub, in the cache.

    Args:
        reference: `hf:ORG/NAME@REVISION`; the revision is a commit, tag or branch, by default `main`.

    Raises:
        UserError: If there is no such model or revision, if access is refused, or if the hub cannot be reached and the
            model is not in the cache.
    """
    repository, revision = _parsed(reference)
    hub = _library(reference)
    with _one_line(hub, reference):
        config = Path(hub.hf_hub_download(repository, CONFIG, revision=revision))
        return Path(hub.hf_hub_download(repository, WEIGHTS, revision=config.parent.name))  # of the same commit


def push(files: list[Path], repository: str) -> str:
    """Upload the files of an exported folder as one commit; a repository that does not exist is made, private.

    Args:
        files: The files.
        repository: ORG/NAME.

    Returns:
        The reference `hf:ORG/NAME@COMMIT`.

    Raises:
        UserError: If access is refused, or the hub cannot be reached.
    """
    reference = f"{PREFIX}{repository.removeprefix(PREFIX)}"
    repository, _ = _parsed(reference)
    hub = _library(reference)
    with _one_line(hub, reference):
        hub.create_repo(repository, private=True, exist_ok=True)
        operations = [hub.CommitOperationAdd(path.name, str(path)) for path in files]
        commit = hub.create_commit(repository, operations, commit_message="A model exported by genmods")
    return f"{reference}@{commit.oid}"


def _parsed(reference: str) -> tuple[str, str]:
    match = _REFERENCE.fullmatch(reference.removeprefix(PREFIX))
    if match is None:
        raise UserError(f"{reference}: expected hf:ORG/NAME@REVISION")
    return match[1], match[2] or "main"


def _library(reference: str) -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(f"{reference} requires the package huggingface-hub: pip install 'genmods[hub]'") from error
    return huggingface_hub


@contextmanager
def _one_line(hub: ModuleType, reference: str) -> Iterator[None]:
    """Context that turns the errors of the library into one line each."""
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError:
        raise UserError(f"{reference}: the repository has no such revision") from None
    except errors.GatedRepoError:
        raise UserError(f"{reference}: access must be requested on the hub's page of this model") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{reference}: no such repository, or its access token is missing or refused") from None
    except errors.LocalEntryNotFoundError:
        raise UserError(f"{reference}: the hub cannot be reached, and this model is not in its cache") from None
    except errors.EntryNotFoundError:
        raise UserError(f"{reference}: not a model that genmods exported, {CONFIG} or {WEIGHTS} is missing") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        reason = "the access token is refused" if status in (401, 403) else "the hub refused"
        raise UserError(f"{reference}: {reason} ({status})") from None
    except errors.HFValidationError:
        raise UserError(f"{reference}: expected hf:ORG/NAME@REVISION") from None
    except (errors.OfflineModeIsEnabled, ConnectionError, TimeoutError):
        raise UserError(f"{reference}: the hub cannot be reached") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "requests"):
            raise
        raise UserError(f"{reference}: the hub cannot be reached ({type(error).__name__})") from None
