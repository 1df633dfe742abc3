"""Language consistency: is the reasoning in the language that was asked for?"""

import re
import unicodedata
from collections import Counter
from copy import copy
from functools import cache
from typing import Any, NamedTuple


class Script(NamedTuple):
    """A script: what its words are made of, and the languages (ISO 639-1) that are written in it."""

    letters: str  # the inside of a regular expression's [ ]
    languages: str  # those that a text is compared with, whatever it should be in
    others: str = ""  # those that it is compared with only where it should be in them
    shortest: int = 2  # letters of the shortest word: single ones are variables
    letters_a_word: int = 0  # where words are not divided by blanks; 0: they are


SCRIPTS = {
    "latin": Script(
        "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
        "en fr de es it pt nl sv da fi pl cs ro hu tr vi id",
        "af az bs ca cy eo et eu fy ga gd gl ha hr ht ig is jv ku la lb lg ln lt lv mg ms mt nn no oc om qu rw se sk "
        "sl sn so sq st sw tk tl uz xh yo zu",
    ),
    "cyrillic": Script("\u0400-\u052f", "ru uk bg sr", "ba be kk ky mk mn tg tt"),
    "arabic": Script("\u0620-\u064a\u0671-\u06d3\u06fa-\u06ff\u0750-\u077f", "ar fa ur", "ps ug"),
    "east asian": Script(  # Chinese characters and kana; kana decide
        "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", "zh ja", "", 1, 1
    ),
    "hangul": Script("\u1100-\u11ff\uac00-\ud7a3", "ko", "", 1),
    "devanagari": Script("\u0900-\u0963\u0971-\u097f", "hi mr ne", "", 1),
    "thai": Script("\u0e01-\u0e3a\u0e40-\u0e4e", "th", "", 1, 5),
    "greek": Script("\u0370-\u03ff\u1f00-\u1fff", "el"),
    "hebrew": Script("\u05d0-\u05ea", "he"),
    "bengali": Script("\u0980-\u09e3", "bn as", "", 1),
    "tamil": Script("\u0b80-\u0be3", "ta", "", 1),
    "telugu": Script("\u0c00-\u0c63", "te", "", 1),
    "georgian": Script("\u10a0-\u10ff", "ka"),
    "armenian": Script("\u0531-\u0587", "hy"),
}
SCRIPT_OF = {
    language: name for name, script in SCRIPTS.items() for language in f"{script.languages} {script.others}".split()
}
# what py3langid must give the likeliest language at least, and the guessed one at most, for the guess to be given up:
# one threshold for the likeliest misses what is either Spanish or Portuguese, but surely not English
SURE, RULED_OUT = 0.7, 0.05

_WORD = re.compile(  # an identifier (x_max, 5cm), or one group a script
    r"[A-Za-z]*+[0-9_][A-Za-z0-9_]*+|"
    + "|".join(rf"([{s.letters}]{{{s.shortest},}}(?:['’-][{s.letters}]+)*)" for s in SCRIPTS.values())
)
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_SENTENCE_END = re.compile(r"[.!?;:](?=\s|$)|[。！？；：\n]")
_BRACED = r"\{(?:[^{}]++|\{(?:[^{}]++|\{[^{}]*+\})*+\})*+\}"
_MATH_BLOCK = (
    r"align|aligned|alignat|array|asy|cases|eqnarray|equation|flalign|gather|gathered|multline|split|[a-zA-Z]*matrix"
)
_NO_PROSE = re.compile(  # each alternative fails at the next opening of its own kind, so that time stays linear
    r"```.*?(?:```|\Z)|`[^`\n]*+`"  # code
    r"|\\\$|\$\$[^$]++\$\$|\$(?! )[^$\n]++(?<![ \\])\$(?!\d)|\$ [^$\n]*+(?<= )\$"  # "$5 and $3" is no formula
    r"|\\\[[^\\]*+(?:\\(?![\[\]])[^\\]*+)*+\\\]|\\\([^\\]*+(?:\\(?![()])[^\\]*+)*+\\\)"
    rf"|\\begin\{{({_MATH_BLOCK})(\*?)\}}[^\\]*+(?:\\(?!begin\{{|end\{{)[^\\]*+)*+\\end\{{\1\2\}}"
    rf"|\\(?:boxed|fbox|text|textbf|mathrm|mathbf|operatorname)\s*{_BRACED}|\\(?:begin|end)\{{[^{{}}]*+\}}|\\[A-Za-z]+"
    r"|(?<![A-Za-z])[A-Za-z]{1,2}(?=\s?[=+^×÷≤≥])|(?<=[=+^×÷≤≥])\s?[A-Za-z]{1,2}(?![A-Za-z])"  # ab = 12
    r"|https?://\S+|</?\w+>",
    re.DOTALL,
)
_FUNCTIONS = (
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt mod gcd lcm max min lim det"
)
_UNITS = "mm cm dm km kg mg ml kw kwh hz khz mhz ghz kb mb gb"
_SYMBOLS = frozenset(f"{_FUNCTIONS} {_UNITS}".split())


def language_reward(completion: str, language: str | None) -> float | None:
    """Return the share of the words of the chain of thought that are in a language, None where it has no words.

    Mathematics, code, digits, single letters, names of functions, units, and Latin capitals up to three (AB, GCD) count
    for no language. Each Chinese character and each kana counts as a word; five Thai letters do. Between scripts the
    letters decide. Between the languages of one script py3langid does, sentence by sentence; a sentence of which it is
    not sure goes with the whole chain, and a chain of which it is not sure with `language`.

    Args:
        language: ISO 639-1 code, "zh" or "en-US" for instance; None: there is none to hold the chain to.

    Raises:
        ValueError: the language is none of SCRIPT_OF.

    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.3.2.
    """
    if not language:
        return None
    target = re.split("[-_]", language.lower())[0]
    if target not in SCRIPT_OF:
        raise ValueError(f'unknown language "{language}"; known are {", ".join(SCRIPT_OF)}')
    sentences = _sentences(chain_of_thought(completion))
    words = sum(size for sentence in sentences for _, size in sentence.values())
    if not words:
        return None
    own = [sentence[SCRIPT_OF[target]] for sentence in sentences if SCRIPT_OF[target] in sentence]
    languages = _languages([text for text, _ in own], target)
    return sum(size for (_, size), found in zip(own, languages, strict=True) if found == target) / words


def language_of(text: str) -> str | None:
    """Return the language that most words of a text are in, None where it has none that are told apart.

    Letters say the script; of the languages that share it the likeliest, where py3langid is not sure the first.
    """
    sentences = _sentences(text)
    sizes: dict[str, int] = {}
    for sentence in sentences:
        for script, (_, size) in sentence.items():
            sizes[script] = sizes.get(script, 0) + size
    if not sizes:
        return None
    script = max(sizes, key=lambda name: sizes[name])
    texts = [sentence[script][0] for sentence in sentences if script in sentence]
    languages = tuple(SCRIPTS[script].languages.split())
    if "ja" in languages:
        return Counter(_chinese_or_japanese(texts)).most_common(1)[0][0]
    return _identify(" ".join(texts), languages, languages[0]) if len(languages) > 1 else languages[0]


def chain_of_thought(completion: str) -> str:
    """Return what stands in the first <think>…</think>; without </think> the whole, since it was cut off.

    The opening tag may be the prompt's.
    """
    head, _, _ = completion.partition("</think>")
    _, opened, inside = head.partition("<think>")
    return inside if opened else head


def _sentences(text: str) -> list[dict[str, tuple[str, int]]]:
    """Return, for each sentence, the words of each script: joined, and how many they are."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    names, sentences = list(SCRIPTS), []
    for part in _SENTENCE_END.split(_NO_PROSE.sub(" ", text)):
        runs: dict[str, list[str]] = {}
        for match in _WORD.finditer(part):
            if match.lastindex and not _is_symbol(match.group()):
                runs.setdefault(names[match.lastindex - 1], []).append(match.group())
        if runs:
            sentences.append({name: (" ".join(found), _size(name, found)) for name, found in runs.items()})
    return sentences


def _is_symbol(word: str) -> bool:
    return word.lower() in _SYMBOLS or (len(word) <= 3 and word.isascii() and word.isupper())


def _size(script: str, runs: list[str]) -> int:
    """Return how many words there are in runs of letters."""
    length = SCRIPTS[script].letters_a_word
    return sum(-(-len(run) // length) for run in runs) if length else len(runs)


def _languages(texts: list[str], target: str) -> list[str]:
    """Return the language of each text; all are in the script of `target`."""
    script = SCRIPTS[SCRIPT_OF[target]]
    rivals = tuple(dict.fromkeys([*script.languages.split(), target]))
    if "ja" in rivals:
        return _chinese_or_japanese(texts)
    if len(rivals) == 1 or not texts:
        return [target] * len(texts)
    guess = _identify(" ".join(texts), rivals, target)
    return [_identify(text, rivals, guess) for text in texts]


def _chinese_or_japanese(texts: list[str]) -> list[str]:
    """Return "ja" for texts with kana; the others are as py3langid says, if there are kana at all."""
    with_kana = [bool(_KANA.search(text)) for text in texts]
    if not any(with_kana):
        return ["zh"] * len(texts)
    japanese = sum(len(text) for text, kana in zip(texts, with_kana, strict=True) if kana)
    guess = "ja" if 2 * japanese > sum(map(len, texts)) else "zh"
    return ["ja" if kana else _identify(text, ("zh", "ja"), guess) for text, kana in zip(texts, with_kana, strict=True)]


def _identify(text: str, languages: tuple[str, ...], guess: str) -> str:
    """Return which of the languages a text is in, `guess` where py3langid is not sure."""
    ranks = dict(_identifier(languages).rank(text))
    likeliest = max(ranks, key=lambda language: ranks[language])
    return likeliest if ranks[likeliest] >= SURE and ranks[guess] <= RULED_OUT else guess


@cache
def _identifier(languages: tuple[str, ...]) -> Any:
    identifier = copy(_model())
    identifier.set_languages(languages)
    return identifier


@cache
def _model() -> Any:
    """Load py3langid's model: half a second, once."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
