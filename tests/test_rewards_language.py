import pytest

from r1kit.rewards.language import chain_of_thought, language_reward

# completion, language, words in it, words in all (a Chinese character is a word)
SHARES = [
    ("<think>So we add both sides first.</think> 7", "en", 6, 6),
    ("<think>So we add both sides first.</think> 好", "en", 6, 6),  # only the chain of thought counts
    ("<think>我们先计算总和。</think>", "zh", 7, 7),
    ("<think>我们先计算总和。</think>", "en", 0, 7),
    ("<think>So we add both sides first.</think>", "zh", 0, 6),
    ("<think>First we add 三 and 四, 得到 seven.</think>", "en", 5, 9),  # First we add and seven; 三 四 得 到
    ("<think>设 the sum 为 total 元</think>", "zh", 3, 6),  # 设 为 元; the sum total
    ("we add both sides</think> done", "en", 4, 4),  # <think> was the prompt's
    ("We add both sides.", "en", 4, 4),
    ("<think>we set x = 5 and y = 7, so z = 12</think>", "en", 4, 4),  # we set and so: single letters are none
    ("<think>Then $\\text{area} = 3 \\cdot 4$ holds.</think>", "en", 2, 2),  # Then holds
    ("<think>Use `for i in range(3)` here:\n```python\nprint('total sum')\n```\ndone</think>", "en", 3, 3),
    ("<think>the value sin x + log y is small</think>", "en", 4, 4),  # the value is small
    ("<think>so \\boxed{total} is right</think>", "en", 3, 3),
    ("<think>it isn't well-known, I'm sure</think>", "en", 5, 5),
]
NO_WORDS = [
    "<think>3 + 4 = 7</think> so it is seven",
    "<think>$x = 3$, \\[y = \\frac{1}{2}\\]</think>",
    "<think>x + y = z</think>",
    "<think></think>",
    "",
]
SENTENCES = [
    ("Then we divide both sides of the equation by three.", "en"),
    ("Wait, let me check this again from the start.", "en"),
    ("The probability that both coins show heads is one quarter.", "en"),
    ("Each box holds seven cards, so there are more than before.", "en"),
    ("Therefore the total cost is larger than we thought.", "en"),
    ("Let us compute the derivative and set it to zero.", "en"),
    ("So the answer is not an integer, which cannot be right.", "en"),
    ("接下来我们把两边同时除以三。", "zh"),
    ("等一下，让我再检查一遍。", "zh"),
    ("两枚硬币都是正面的概率是四分之一。", "zh"),
    ("每个盒子里有七张卡片。", "zh"),
    ("所以总价比我们想的要多。", "zh"),
    ("求导并令其等于零。", "zh"),
    ("Ensuite nous divisons les deux côtés de l'équation par trois.", "fr"),
    ("La probabilité que les deux pièces montrent face est un quart.", "fr"),
    ("Donc la réponse n'est pas un nombre entier.", "fr"),
    ("Dann teilen wir beide Seiten der Gleichung durch drei.", "de"),
    ("Die Wahrscheinlichkeit, dass beide Münzen Kopf zeigen, ist ein Viertel.", "de"),
    ("Also ist die Antwort keine ganze Zahl.", "de"),
    ("Luego dividimos ambos lados de la ecuación por tres.", "es"),
    ("La probabilidad de que ambas monedas salgan cara es un cuarto.", "es"),
    ("Потом мы делим обе части уравнения на три.", "ru"),
    ("次に方程式の両辺を三で割ります。", "ja"),
    ("그런 다음 방정식의 양변을 셋으로 나눕니다.", "ko"),
]


@pytest.mark.parametrize(("completion", "language", "words", "all_words"), SHARES)
def test_the_share_is_that_counted_by_hand(completion, language, words, all_words):
    assert language_reward(completion, language) == pytest.approx(words / all_words)


@pytest.mark.parametrize("completion", NO_WORDS)
def test_a_chain_without_words_cannot_be_graded(completion):
    assert language_reward(completion, "en") is None


@pytest.mark.parametrize(("sentence", "language"), SENTENCES)
def test_a_sentence_is_in_its_language_and_in_no_other(sentence, language):
    chain = f"<think>{sentence}</think>"
    assert language_reward(chain, language) == 1.0
    for other in {language for _, language in SENTENCES} - {language}:
        assert language_reward(chain, other) == 0.0


def test_a_sentence_in_another_language_of_the_same_script_is_told_apart():
    english, french = "Then we divide both sides by three.", "Donc la réponse n'est pas un nombre entier."
    share = language_reward(f"<think>{english}\n{french}</think>", "en")
    assert share == pytest.approx(7 / (7 + 8))  # "n'est" is one word


def test_without_a_language_there_is_nothing_to_hold_it_to():
    assert language_reward("<think>we add</think>", None) is None


def test_a_region_does_not_matter():
    assert language_reward("<think>we add them all</think>", "en-US") == 1.0


def test_an_unknown_language_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match='"xx" is no language that is told apart; known are en, fr'):
        language_reward("<think>we add</think>", "xx")


@pytest.mark.parametrize(
    ("completion", "chain"),
    [
        ("<think>a</think>b", "a"),
        ("a</think>b", "a"),
        ("<think>a", "a"),
        ("a", "a"),
        ("x<think>a</think>b<think>c</think>", "a"),
    ],
)
def test_the_chain_of_thought_is_what_the_tags_hold(completion, chain):
    assert chain_of_thought(completion) == chain
