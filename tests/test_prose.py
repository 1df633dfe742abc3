import pytest

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.prose import (
    NO_FILTERS,
    ProseFilters,
    has_code_block,
    language_share,
    longest_paragraph,
    prose_filters,
    reasoning_of,
    repeated_share,
    words_of,
)

CODE = "Try this:\n```python\nprint(1)\n```\n"


def rollout(completion, **fields):
    return Record({"completion": completion, **fields}, "f:1")


def test_only_the_reasoning_is_looked_at():
    assert reasoning_of(rollout(f"<think>one</think>{CODE}")) == "one"
    assert reasoning_of(rollout("one</think>two")) == "one"  # the prompt held the opening tag
    assert reasoning_of(rollout("no tags")) == "no tags"


def test_of_a_program_without_tags_the_last_block_is_the_answer():
    kinds = [reasoning_of(rollout(CODE + CODE, kind=kind)) for kind in ("code", "math")]
    assert [text.count("print") for text in kinds] == [1, 2]
    assert "print" not in reasoning_of(rollout(CODE + "Done.", tests={"asserts": ""}))
    assert has_code_block(reasoning_of(rollout(f"<think>{CODE}</think>{CODE}", kind="code")))


@pytest.mark.parametrize("block", ["```\nx\n```", "a\n  ```python\nx", "~~~\nx\n~~~"])
def test_a_fence_at_the_beginning_of_a_line_is_a_code_block(block):
    assert has_code_block(block)


def test_backticks_within_a_line_are_no_code_block():
    assert not has_code_block("the `x` of ``y`` is a ``` b")


def test_a_paragraph_ends_with_its_line():
    assert longest_paragraph("one two\nthree four five\n\nsix") == 3
    assert longest_paragraph("") == 0


def test_chinese_characters_count_as_words():
    assert words_of("我有 3 枚 coins") == ["我", "有", "3", "枚", "coins"]
    assert longest_paragraph("我有三枚\n硬币") == 4


def test_the_language_is_the_problems():
    assert language_share(rollout("First we add the two numbers together.", language="en")) == 1
    assert language_share(rollout("First we add the two numbers together.", language="zh")) == 0


def test_without_a_language_a_chain_is_held_to_its_own():
    chinese = "首先我们把这两个数加起来，得到十二。"
    assert language_share(rollout(chinese)) == 1
    mixed = language_share(rollout(f"{chinese} So we need to subtract seven from it."))
    assert 0.5 < mixed < 0.9
    assert language_share(rollout("1 + 1 = 2")) is None


def test_an_unknown_language_is_named_with_its_remedy():
    with pytest.raises(UserError, match=r'f:1: unknown language "xx"; known are .*; .* or say --mixed-language 0'):
        language_share(rollout("some words", language="xx"))


def test_what_comes_again_is_repeated():
    words = " ".join(f"w{i}" for i in range(40))
    assert repeated_share(words) == 0
    assert repeated_share(f"{words} {words}") == 21 / 61  # 40 + 40 words have 61 20-grams; the last 21 are known


def test_each_filter_is_set_or_lifted_by_itself():
    assert prose_filters(True, None, None, None) == ProseFilters(0.9, 300, False)
    assert prose_filters(False, None, None, None) == NO_FILTERS == ProseFilters(None, None, True)
    assert prose_filters(True, 0.0, 0, True) == NO_FILTERS
    assert prose_filters(False, 0.5, 10, False) == ProseFilters(0.5, 10, False)
