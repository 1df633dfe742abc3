"""Models: names to folders, load, save, and r1kit.json, which says what made a folder."""

import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit import __version__
from r1kit.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED_MODELS = {name: Path(__file__).parent / "embedded" / name for name in ("base", "student")}
BASE_FOLDER = EMBEDDED_MODELS["base"]
CARD = "r1kit.json"
CLASSIFIERS = {  # what a configuration names ends in: what it is
    "ForSequenceClassification": "a reward model",
    "ForTokenClassification": "a process reward model",
}
LIBRARIES = ("torch", "transformers", "trl", "math-verify")


def resolve_model(name: str) -> str:
    """Return the folder of a model, or the hub name as it is; `base` and `student` are inside the package.

    Raises:
        UserError: a folder that holds no whole model, or a name that is neither a folder nor ORGANISATION/NAME.
    """
    if name in EMBEDDED_MODELS:
        return str(EMBEDDED_MODELS[name])
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(name, "no config.json, so no whole model", "name a model folder in Hugging Face layout")
        if not any(folder.glob("*.safetensors")):
            raise UserError(name, "no *.safetensors", "r1kit loads safetensors only; save the weights in that format")
        return name
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or folder.is_file():
        raise UserError(name, "no such model folder", "name a folder, a hub name (ORGANISATION/NAME), or base")
    return name


def load_model(name: str, dtype: str = "float32") -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Return a causal language model in eval mode and its tokenizer, on the GPU where there is one.

    dtype: torch's name, or auto: bfloat16 on a GPU, float32 on a CPU.

    Raises:
        UserError: the name leads to no model, or what it leads to cannot be loaded, or writes no text.
    """
    path = resolve_model(name)
    refuse_classifier(name)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), use_safetensors=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(name, f"cannot be loaded ({first_line(error)})", "check the folder or the hub name") from None
    return model.to(device).eval(), load_tokenizer(name)


def architecture(name: str) -> str:
    """Return the class that a model's configuration names, "" where it names none.

    Raises:
        UserError: there is no such model, or its configuration cannot be read.
    """
    path = resolve_model(name)
    from transformers import AutoConfig

    try:
        made = AutoConfig.from_pretrained(path).architectures
    except (OSError, ValueError, KeyError) as error:
        raise UserError(name, f"cannot be loaded ({first_line(error)})", "check the folder or the hub name") from None
    return (made or [""])[0]


def refuse_classifier(name: str) -> None:
    """Refuse a model that scores texts where one is needed that writes them.

    Raises:
        UserError: it is a reward model, or a process reward model.
    """
    made = architecture(name)
    for ending, kind in CLASSIFIERS.items():
        if made.endswith(ending):
            raise UserError(name, f"is {kind}, which writes no text ({made})", "name a causal language model, or base")


def load_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model, which pads on the left.

    Raises:
        UserError: the name leads to no model, or its tokenizer cannot be loaded.
    """
    path = resolve_model(name)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(name, f"cannot be loaded ({first_line(error)})", "check the folder or the hub name") from None
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def save_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    card: dict[str, Any],
    weights: dict[str, Any] | None = None,
) -> None:
    """Save weights, tokenizer and `card` into `folder`; config.json comes last, so that a torn save shows.

    Args:
        weights: those of a model that is spread over processes.
    """
    part = folder / "model.part"
    if part.exists():
        shutil.rmtree(part)
    model.save_pretrained(part, state_dict=weights)
    tokenizer.save_pretrained(part)
    write_card(part, card)
    (folder / "config.json").unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == "config.json"):
        path.replace(folder / path.name)
    part.rmdir()


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write r1kit.json into a model folder: `card` and the versions of what made it."""
    text = json.dumps({**card, "versions": versions()}, ensure_ascii=False, indent=2)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def read_card(name: str) -> dict[str, Any]:
    """Return what r1kit.json says of a model, {} where there is none."""
    path = Path(resolve_model(name)) / CARD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def fingerprint(name: str) -> dict[str, list[int]]:
    """Return the size and the time of change (ns) of a model folder's weights, by file; {} for a hub name."""
    weights = sorted(Path(resolve_model(name)).glob("*.safetensors"))
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in weights}


def versions() -> dict[str, str]:
    """Return the versions of r1kit and of the libraries whose change can change a result."""
    found = {"r1kit": __version__}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def window_of(model: "PreTrainedModel") -> int | None:
    """Return how many tokens a model can read, None where its configuration does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def end_token_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "torch.Tensor":
    """Return the ids (E,) that end a completion: the generation config's, and the tokenizer's own."""
    import torch

    ids = model.generation_config.eos_token_id if model.generation_config is not None else None
    found = set(ids if isinstance(ids, list) else [] if ids is None else [ids])
    if tokenizer.eos_token_id is not None:
        found.add(tokenizer.eos_token_id)
    return torch.tensor(sorted(found), dtype=torch.long, device=model.device)
