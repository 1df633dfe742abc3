"""Classifiers: reward models (a score) and process reward models (two labels a token), loaded or made to be trained.

A folder that is such a classifier already is opened as it is. Of a causal language model the body is taken, and a head
is put on it whose weights are drawn by the seed, as transformers draws them: normal, with the model's initializer_range
as their standard deviation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from r1kit.errors import UsageError, UserError
from r1kit.model import architecture, first_line, load_tokenizer, resolve_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kind = Literal["sequence", "token"]
STD = 0.02  # of a head's weights, where the model's configuration has none
NAMES = {"sequence": "a reward model", "token": "a process reward model"}


def open_classifier(
    name: str, kind: Kind, labels: int, dtype: str = "float32", seed: int = 0
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Return a classifier to train and its tokenizer, on the GPU where there is one.

    Args:
        name: a causal language model, or a classifier of this kind with so many labels.
        seed: of the new head's weights.

    Raises:
        UserError: the name leads to neither.
    """
    tokenizer = load_tokenizer(name)
    tokenizer.padding_side = "right"
    old = is_classifier(name, kind)
    model = (
        load_classifier(name, kind, labels, _known(dtype))[0] if old else _with_head(name, kind, labels, dtype, seed)
    )
    config = model.config.get_text_config()
    if not old or config.pad_token_id is None:  # by which the last token of a row is found
        config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def is_classifier(name: str, kind: Kind) -> bool:
    """Tell whether a model is a classifier of a kind; False of a causal language model.

    Raises:
        UserError: it is neither.
    """
    made = architecture(name)
    if made.endswith(f"For{kind.capitalize()}Classification"):
        return True
    if made.endswith(("ForCausalLM", "LMHeadModel")):
        return False
    what = f"is neither a causal language model nor {NAMES[kind]} (it is a {made or 'model of no architecture'})"
    raise UserError(name, what, "name one of the two, or base")


def load_classifier(
    name: str, kind: Kind, labels: int, dtype: str
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Return a classification model in eval mode, on the GPU where there is one, and its tokenizer.

    Raises:
        UserError: the name leads to none, it has another number of labels, or its weights lack a part: transformers
            would fill the head of a language model with random numbers.
    """
    path = resolve_model(name)
    import torch
    from transformers import AutoConfig, AutoTokenizer

    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UsageError("dtype", f'"{dtype}" is none', "say float32, bfloat16 or float16")
    with _loading(name):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        _check_head(name, config, kind, labels)
        model, missing = _load_weights(path, kind, getattr(torch, dtype), config=config)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    if missing:
        raise UserError(name, f"its weights lack {', '.join(missing[:3])}", _remedy(kind))
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Load a model without progress bars.

    Raises:
        UserError: it cannot be loaded.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(name, f"cannot be loaded ({first_line(error)})", "check the folder or the hub name") from None


def _load_weights(path: str, kind: Kind, dtype: "torch.dtype", **how: Any) -> tuple["PreTrainedModel", list[str]]:
    """Return the model, and the weights that its files lack."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    auto: Any = AutoModelForSequenceClassification if kind == "sequence" else AutoModelForTokenClassification
    model, report = auto.from_pretrained(
        path, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **how
    )
    model.config.use_cache = False
    return model, sorted(report["missing_keys"])


def _check_head(name: str, config: Any, kind: Kind, labels: int) -> None:
    """Raise where a config is of another kind of model, or of another number of labels."""
    made = (config.architectures or ["no architecture"])[0]
    if not made.endswith(f"For{kind.capitalize()}Classification"):
        raise UserError(name, f"has no {kind}-classification head (it is a {made})", _remedy(kind))
    if config.num_labels != labels:
        what = f"has {config.num_labels} label{'s' * (config.num_labels != 1)}, not {labels}"
        raise UserError(name, what, _remedy(kind))


def _remedy(kind: Kind) -> str:
    return f"name {NAMES[kind]}; r1kit reward-model makes one"


def _known(dtype: str) -> str:
    """Return a number format as torch calls it; auto: bfloat16 on a GPU, float32 on a CPU."""
    import torch

    return dtype if dtype != "auto" else "bfloat16" if torch.cuda.is_available() else "float32"


def _with_head(name: str, kind: Kind, labels: int, dtype: str, seed: int) -> "PreTrainedModel":
    """Return a causal language model's body with a new head.

    Raises:
        UserError: it cannot be loaded, or there is no such classifier of its architecture.
    """
    import torch
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it would tell of the head that is left out, and of the new one
    try:
        with _loading(name):
            model, missing = _load_weights(resolve_model(name), kind, getattr(torch, _known(dtype)), num_labels=labels)
    finally:
        logging.set_verbosity(verbosity)
    _draw_head(name, model, missing, seed)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _draw_head(name: str, model: "PreTrainedModel", missing: list[str], seed: int) -> None:
    """Draw the weights of a new head, and set its biases to 0.

    Raises:
        UserError: the folder lacks weights of the body as well.
    """
    import torch

    lacking = [key for key in missing if key.startswith(model.base_model_prefix + ".")]
    if lacking:
        raise UserError(name, f"its weights lack {', '.join(lacking[:3])}", "name a folder with all weights")
    std = getattr(model.config.get_text_config(), "initializer_range", None) or STD
    generator = torch.Generator().manual_seed(seed)
    for key in missing:
        weight = model.get_parameter(key)
        drawn = torch.randn(weight.shape, generator=generator) * (0.0 if key.endswith("bias") else std)
        weight.data.copy_(drawn)
