"""Names of backbones: a config keeps the name, which means the same model on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, try_to_load_from_cache

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.home import home
from evoembedding.schemas.text import shown
from evoembedding.trainer.backbones.known import BACKBONES
from evoembedding.trainer.model_files import check_backbone

HUB_S = 10.0  # for the hub to say that it has a model


def source(name: str) -> str:
    """What Hugging Face loads for a backbone's name: a folder, or a hub id. Other names are one or the other already.

    Raises:
        EvoError: the backbone is prepared by a command that has not run here.
    """
    known = BACKBONES.get(name)
    if known is None or not known.prepared_by:
        return known.hub if known and known.hub else name
    folder = home() / "backbones" / name
    if not (folder / "config.json").exists():
        raise EvoError(f"backbone '{name}' is not in '{folder}'; nothing was trained; run '{known.prepared_by}' once")
    return str(folder)


def check_backbone_name(name: str) -> None:
    """Meet a backbone that is not to be had before anything is started: a library tries a hub for a minute and more.

    Raises:
        EvoError: it is no name of ours, no folder, and no id that the hub has or a copy of which is here.
    """
    if name == "tiny":
        return
    place = source(name)
    if place and Path(place).is_dir():
        return
    known = f"give {', '.join(BACKBONES)}, a Hugging Face folder, or an id OWNER/NAME"
    if place.count("/") != 1 or Path(place).is_absolute():  # the hub's models of one word are of no kind that we train
        raise EvoError(f"unknown backbone '{shown(name, 200)}', and no such folder; nothing was trained; {known}")
    try:
        if not isinstance(try_to_load_from_cache(place, "config.json"), str):
            HfApi().model_info(place, timeout=HUB_S)
    except Exception as error:  # of whatever the hub's client is made of
        raise EvoError(
            f"backbone '{shown(name, 200)}' is no folder, and cannot be had from the hub: {reason(error)}; nothing was "
            f"trained; {known} that this machine can reach"
        ) from None


@contextmanager
def readable(what: str, name: str) -> Iterator[Path | None]:
    """Gives the folder of a backbone's name, which was looked at, or None for a hub id.

    Whatever a library raises over files of others is one sentence: they are as many as there are ways to break them.

    Raises:
        EvoError: `what` of the backbone cannot be read.
    """
    place = Path(source(name))
    try:
        folder = place if place.exists() or place.is_absolute() else None
        if folder:
            check_backbone(folder)
        yield folder
    except EvoError:
        raise
    except Exception as error:
        raise EvoError(
            f"no {what} for backbone '{name}': {reason(error)}; nothing was trained; "
            "give 'tiny', a Hugging Face folder, or an id that this machine can reach"
        ) from error


def reason(error: Exception) -> str:
    """What such an error says, in one line. Libraries quote what they read."""
    message = shown(" ".join(str(error).split()).rstrip("."), 300)
    if isinstance(error, MemoryError):
        return f"there is no memory for it ({message})"
    return message or type(error).__name__
