import pytest

from r1kit.reflection import CHINESE, ENGLISH, reflection_share


@pytest.mark.parametrize("word", ENGLISH)
def test_english_words_stand_alone_in_any_case(word):
    assert reflection_share([f"Hm, {word.upper()}, so.", f"{word.title()}! Yes", f"x\n{word}"]) == 1
    assert reflection_share([f"{word}{letter}" for letter in "éx7"] + [f"x{word}"]) == 0


@pytest.mark.parametrize("word", CHINESE)
def test_chinese_words_stand_between_other_characters(word):
    assert reflection_share([f"所以是五。{word}，我再算一遍"]) == 1


@pytest.mark.parametrize(
    "text",
    ["I add 3 and 4.", "A button, a waiter, an errand.", "苹果、梨等等。", "这个矩阵不对称。", "不错，答案是五。", ""],
)
def test_words_that_only_look_like_reflection_do_not_count(text):
    assert reflection_share([text]) == 0


def test_the_share_is_of_completions_and_not_of_words():
    completions = ["Wait, wait, wait: let me check.", "It is 5.", "It is 6. But no, it is 7.", "It is 8."]
    assert reflection_share(completions) == 0.5
    assert reflection_share([]) is None


def test_a_caller_adds_words_of_any_script():
    completions = ["Let me double-check.", "Moment mal, das stimmt nicht.", "もう一度考える", "Hmm... yes"]
    assert reflection_share(completions) == 0.25  # "check" after a hyphen
    assert reflection_share(completions, ["moment", "もう一度", "hmm..."]) == 1
    assert reflection_share(["momentum"], ["moment"]) == 0


def test_an_english_word_next_to_chinese_stands_alone():
    assert reflection_share(["所以wait，我算错"]) == 1
