import subprocess
import sys
import time

import pytest

from r1kit.rewards.language import SCRIPT_OF, chain_of_thought, language_reward

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
    ("我们let这个so等于五", "zh", 7, 9),  # no blanks between the scripts: 我们 这个 等于 五; let so
    ("苹果每个 $5，然后 pears cost $3 each", "zh", 6, 9),  # prices are no formula: 苹果每个 然后; pears cost each
    ("Pay \\$5 now 然后 pay \\$3", "en", 3, 5),  # Pay now pay; 然后
    ("在三角形ABC中，AB=AC，GCD为五", "zh", 7, 7),  # 在三角形 中 为五: names of points and acronyms are symbols
    ("令 x_max = 5cm，所以 total_cost 是七", "zh", 5, 5),  # 令 所以 是七: identifiers are code
    ("已知 ab = 12，所以 ab + cd = 20", "zh", 4, 4),  # 已知 所以: products of letters
    ("走了 5 km，重 3 kg", "zh", 3, 3),  # 走了 重: units
    ("5个苹果", "zh", 3, 3),
    ("\\begin{align*} ab &= \\text{speed} \\\\ cd &= 5 \\end{align*} 所以", "zh", 2, 2),
    ("\\boxed{\\frac{\\text{total cost}}{2}} 因此", "zh", 2, 2),  # braces within braces
    ("**So** the sum is five", "en", 5, 5),  # stars of Markdown are no multiplication
    ("see https://a.b/chinese for it", "en", 3, 3),
    ("合計は五です。二次方程式。", "ja", 11, 11),  # 6 + 5: a sentence without kana, in a Japanese chain
    ("合計は五です。因此答案是五。", "zh", 6, 12),  # 6 + 6: a Chinese sentence beside a Japanese one
    ("รวมกันได้ห้า and", "th", 3, 4),  # 12 letters: three words of up to five
    ("ve\u0301rite\u0301 又", "fr", 1, 2),  # an accent that is a character of its own cuts no word
    ("(苹果$5)和(pears$3)", "zh", 3, 4),  # a digit behind the second dollar: prices
    ("It costs $5, and $ is 元", "en", 4, 5),  # It costs and is; 元: a blank before the second dollar
    ("付 \\$5 和 total$x$ 元", "zh", 3, 4),  # 付 和 元; total: an escaped dollar opens nothing
    ("令 sin x 与 log y", "zh", 2, 2),
    ("因此 12 = ab", "zh", 2, 2),
    ("见 https://a.b/chinese", "zh", 1, 1),
    ("所以 <step>七</step>", "zh", 3, 3),
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
    ("设所求的数为甲，则甲的两倍等于十。", "zh"),
    ("这样不对，重新算一次。", "zh"),
    ("先看第一种情况。", "zh"),
    ("由勾股定理可知斜边长为五。", "zh"),
    ("綜上所述，答案為七。", "zh"),
    ("Hmm, that does not look right.", "en"),
    ("We know that the sum of the angles of a triangle is fixed.", "en"),
    ("Now substitute this back into the first equation.", "en"),
    ("There are twelve ways to choose the first letter.", "en"),
    ("Suppose for contradiction that the number is even.", "en"),
    ("Verifions encore une fois le calcul depuis le début.", "fr"),
    ("Moment, ich habe mich beim Addieren verrechnet.", "de"),
    ("Espera, me he equivocado al sumar los números.", "es"),
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
    with pytest.raises(ValueError, match=r'unknown language "xx"; known are en, fr, .*zh, ja'):
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


@pytest.mark.parametrize("sentence", ["By Cauchy-Schwarz", "So jello cups", "Kamala paid Tasha", "dozen eggs"])
def test_a_short_sentence_that_could_be_of_any_language_is_not_held_against_a_chain(sentence):
    """py3langid takes each for another language than English, with a probability of less than 0.7."""
    assert language_reward(f"Then we divide both sides of the equation by three. {sentence}.", "en") == 1.0


def test_a_short_sentence_goes_with_its_chain():
    """ "Bon" alone could be of any language: it is French in a French chain, and not in an English one."""
    french = "Nous divisons les deux côtés de l'équation par trois. Bon."
    assert language_reward(french, "fr") == 1.0
    assert language_reward(french, "en") == 0.0
    assert language_reward("Then we divide both sides of the equation by three. Bon.", "en") == 1.0


@pytest.mark.parametrize("language", SCRIPT_OF)
def test_every_known_language_can_be_asked_for(language):
    assert language_reward("你好 ok это", language) is not None


def test_the_same_chain_has_the_same_share_for_a_language_of_either_case():
    assert language_reward("we add 三", "EN_us") == language_reward("we add 三", "en") == pytest.approx(2 / 3)


def test_where_scripts_decide_no_model_is_loaded():
    program = (
        "import sys; from r1kit.rewards.language import language_reward as share; "
        "assert share('so it is 所以', 'zh') == 2 / 5; assert share('所以', 'en') == 0; "
        "assert not {'py3langid', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "opening", ["\\[ ", "\\( ", "$ ", "$$", "`", "```", "\\boxed{", "\\begin{align}", "<think>", "a_", "中"]
)
def test_what_never_closes_takes_linear_time(opening):
    """Were the time to grow with the square of the length, 100,000 openings would take minutes."""
    started = time.perf_counter()
    language_reward(opening * 100_000, "zh")
    assert time.perf_counter() - started < 5
