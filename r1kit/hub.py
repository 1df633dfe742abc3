"""Data sets of the Hugging Face hub, streamed: only what is read is downloaded, and no code of theirs is run."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.known_sets import KnownSet
from r1kit.rows import plain_rows

if TYPE_CHECKING:
    from r1kit.data import Request

WINDOW = 10_000  # rows among which a hub's data set is shuffled


def read_hub(source: str, known: KnownSet | None, request: "Request") -> Iterator[Record]:
    """Yield the rows of a data set, those of a known set by its configuration and its first split unless told others.

    Raises:
        UserError: the hub cannot be reached, or has no such data set, configuration or split.
    """
    name = known.hub if known else source
    copy = f"{known.name}=FILE" if known else "FILE"
    config = request.config or (known.config if known else None)
    split = request.split or (known.splits[0] if known else None)
    try:
        check_access(name)
        rows = stream_set(name, config, split, files_of(known, request.config))
        if request.shuffle:
            rows = rows.shuffle(seed=request.seed, buffer_size=WINDOW)
        yield from plain_rows(rows, name)
    except UserError:
        raise
    except Exception as error:  # of datasets, huggingface_hub, their HTTP client, and what decodes
        raise _named(error, name, copy) from None


def files_of(known: KnownSet | None, config: str | None) -> str | None:
    """Return which files of a repository are read: all of the set's, or the one that a configuration names."""
    return f"{config}.jsonl" if known and known.files and config else known.files if known else None


def check_access(name: str) -> None:
    """Ask the hub once whether a data set can be read, since `datasets` asks six times, over 20 seconds.

    Raises:
        Exception: what huggingface_hub says.
    """
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        HfApi().auth_check(name, repo_type="dataset")


def stream_set(name: str, config: str | None, split: str | None, files: str | None = None) -> Any:
    """Return a data set, or a folder of data files, as an iterable of `datasets`.

    Args:
        split: None is train, else the only one there is.
        files: JSON Lines files of the repository to read, where it has a loading script, which is not run.

    Raises:
        UserError: there is no such split, or it must be named.
    """
    from datasets import load_dataset

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries
    if files:
        return load_dataset("json", data_files=f"hf://datasets/{name}/{files}", split="train", streaming=True)
    splits: dict[str, Any] = load_dataset(name, config, streaming=True)
    chosen = split or ("train" if "train" in splits else next(iter(splits)) if len(splits) == 1 else "")
    if chosen not in splits:
        what = f'has no split "{chosen}"' if chosen else "has several splits"
        raise UserError(name, what, f"say --split {' or '.join(splits)}")
    return splits[chosen]


def _named(error: Exception, name: str, copy: str) -> UserError:
    """Return an error of the hub's libraries as one line: what was tried, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    text = next(iter(str(error).splitlines()), "")
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, GatedRepoError) or "gated" in text:
        page = f"{constants.ENDPOINT}/datasets/{name}"
        return UserError(
            name, "is gated", f"ask for access at {page} and `hf auth login`; with a local copy say {copy}"
        )
    if isinstance(error, RepositoryNotFoundError) or "DatasetNotFoundError" in kinds:
        what = f"{constants.ENDPOINT} has no such data set, or it is private"
        return UserError(name, what, "look at its name, or log in with `hf auth login`")
    if isinstance(error, ValueError) and "onfig" in text:  # unknown, or one must be named
        return UserError(name, text.rstrip("."), "say --config NAME")
    if isinstance(error, OSError) or kinds & {"TransportError", "RequestException", "HTTPError", "ClientError"}:
        what = f"the hub cannot be reached (tried {constants.ENDPOINT}: {type(error).__name__})"
        return UserError(name, what, f"with a local copy say {copy}")
    return UserError(name, f"cannot be read ({type(error).__name__}: {text})", f"with a local copy say {copy}")
