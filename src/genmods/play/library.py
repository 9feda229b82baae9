"""The models of the playground: runs, loaded in a thread while the page is already shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from genmods.core.errors import UserError

MODELS = Path(__file__).parent / "models"
"""The folder of the models that come with genmods: a diffusion model and a classifier of 8x8 digits."""
BUNDLED = {f"digits, {name}": MODELS / f"{name}.safetensors" for name in ("diffusion", "classifier")}


@dataclass
class Entry:
    """A loaded model, the name of its run, and the `uses` of `genmods.play.uses` that it supports."""

    name: str
    model: Any
    uses: list[str]

    def about(self) -> dict[str, Any]:
        """What the page shows of it, as JSON."""
        from genmods.models import Conditional, Denoises, UsesSampler

        model = self.model
        conditional = isinstance(model, Conditional) and "label" in model.conditioned_on().names
        sampler = model.default_sampler() if isinstance(model, UsesSampler) else None
        return {
            "name": self.name,
            "kind": type(model).__name__,
            "shape": list(model.image_shape),
            "classes": list(model.class_names),
            "uses": self.uses,
            "conditional": conditional,
            "guided": conditional and isinstance(model, Denoises) and model.diffusion_model().conditioning.learns_null,
            "steps": sampler.steps if sampler is not None else 0,
            "samplers": _samplers(model) if sampler is not None else [],
        }


@dataclass
class Library:
    """The models of `runs`, or the bundled ones without any.

    Args:
        runs: Run folders, checkpoints or exported models.

    Attributes:
        entries: The models that are loaded, by their place.
        ready: Whether all are loaded.
        faults: A line for each that cannot be loaded.
    """

    runs: list[str]
    entries: list[Entry] = field(default_factory=list)
    ready: bool = False
    faults: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Load the models in a thread."""
        Thread(target=self.load, name="library", daemon=True).start()

    def load(self) -> None:
        """Load the models; what cannot be loaded is listed in `faults`."""
        try:
            for name, path in ({run: run for run in self.runs} or BUNDLED).items():
                try:
                    self.entries.append(_entry(name, path))
                except UserError as error:
                    self.faults += str(error).splitlines()
        except Exception as error:  # shown on the page
            self.faults.append(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.ready = True

    def find(self, place: int) -> Entry:
        """The model at a place. Raises UserError while it is being loaded, and if there is none."""
        if place < len(self.entries):
            return self.entries[place]
        raise UserError("there is no such model" if self.ready else "the model is being loaded")


def _samplers(model: Any) -> list[str]:
    """The names of the samplers for a model, its own first."""
    from genmods.config import registry
    from genmods.models import choose_sampler

    own = model.default_sampler()
    found: list[str] = []
    for name in registry.names("sampler"):
        try:
            chosen = choose_sampler(own, name, None, model)
        except UserError:  # not for this process
            continue
        if isinstance(chosen, type(own)):
            found.insert(0, name)
        elif not chosen.needs_training:
            found.append(name)
    return found


def _entry(name: str, path: str | Path) -> Entry:
    from genmods.core.devices import default_device
    from genmods.play.uses import uses_of
    from genmods.runs.folders import load

    model = load(path)
    uses = uses_of(model)
    if not uses:
        raise UserError(f"{name}: the playground shows models of images, got {type(model).__name__}")
    return Entry(name, model.to(default_device()).requires_grad_(False), uses)
