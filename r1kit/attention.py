"""A model's attention, exchanged for one of r1kit's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def attention_by(name: str, model: "PreTrainedModel") -> Iterator[None]:
    """Have a model attend by the function that is registered as `name` while the block runs."""
    before = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = before


def is_exchangeable(model: "PreTrainedModel") -> bool:
    """Tell whether all layers of a model attend through transformers' interface, and none has a recurrent state."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or [])
    return kinds <= {"full_attention", "sliding_attention"} and getattr(model, "_supports_attention_backend", False)
