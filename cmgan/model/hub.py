"""Models by name: those that come with the package, folders, and repositories of a model hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cmgan.errors import MissingError, UsageError, needs, shown
from cmgan.formats import model_in
from cmgan.weights import bundled

if TYPE_CHECKING:
    from cmgan.model.weights import LoadedModel

_FILES = ("config.json", "manifest.json", "*.safetensors")  # nothing else of a repository is fetched


def from_pretrained(name: str | Path, *, revision: str | None = None) -> LoadedModel:
    """The trained model of a name.

    Args:
        name: a model that comes with the package, the folder of a model or of a training run, or a hub's `OWNER/NAME`.
            Only the last reaches the network, through huggingface_hub, which has its own settings (HF_HUB_OFFLINE=1
            keeps to its cache).
        revision: branch, tag or commit of a hub's repository.

    Raises:
        UsageError: there is no such model.
        ModelError: it is there and is no sound model.
        MissingError: PyTorch or huggingface_hub is not installed, or the repository cannot be had.
    """
    with needs("the PyTorch model", "cmgan[torch]"):
        from cmgan.model.weights import load_generator
    if str(name) in bundled():
        return load_generator(bundled()[str(name)])
    path = Path(name)
    if path.is_dir():
        return load_generator(model_in(path))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        known = ", ".join(bundled()) or "none comes with the package"
        message = f"is no model folder and no OWNER/NAME of a hub; bundled: {known}"
        raise UsageError("model", message, file=str(name))
    return load_generator(_fetched(str(name), revision))


def _fetched(name: str, revision: str | None) -> Path:
    with needs(f"fetching {shown(name)}", "huggingface_hub"):
        from huggingface_hub import snapshot_download
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingError("hub", f"{shown(name)} cannot be had ({reason}); give a model folder instead") from error
