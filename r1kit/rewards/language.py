"""Language consistency: is the reasoning in the language that was asked for?"""

import re
from collections import Counter
from functools import cache
from typing import Any

# the languages that are told apart, by script; where a script has several, py3langid decides between them
SCRIPTS = {
    "latin": ("en", "fr", "de", "es", "it", "pt", "nl", "sv", "da", "fi", "pl", "cs", "ro", "hu", "tr", "vi", "id"),
    "cyrillic": ("ru", "uk", "bg", "sr"),
    "arabic": ("ar", "fa", "ur"),
    "han": ("zh",),
    "kana": ("ja",),
    "hangul": ("ko",),
    "greek": ("el",),
    "hebrew": ("he",),
    "devanagari": ("hi",),
    "thai": ("th",),
}
_SCRIPT_OF = {language: script for script, languages in SCRIPTS.items() for language in languages}
_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
_WORD = re.compile(
    rf"(?P<latin>(?<![\w'’])[{_LATIN}]{{2,}}(?:['’-][{_LATIN}]+)*(?!\w))"
    r"|(?P<cyrillic>[\u0400-\u052f]{2,})"
    r"|(?P<arabic>[\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f]{2,})"
    r"|(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])"
    r"|(?P<kana>[\u3041-\u3096\u30a1-\u30fa])"
    r"|(?P<hangul>[\u1100-\u11ff\uac00-\ud7a3]+)"
    r"|(?P<greek>[\u0370-\u03ff\u1f00-\u1fff]{2,})"
    r"|(?P<hebrew>[\u05d0-\u05ea]{2,})"
    r"|(?P<devanagari>[\u0900-\u097f]+)"
    r"|(?P<thai>[\u0e00-\u0e7f]+)"
)
_NO_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`"  # code
    r"|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)"  # mathematics
    r"|\\(?:boxed|text|mathrm|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+"
    r"|https?://\S+|</?\w+>",
    re.DOTALL,
)
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt mod gcd lcm max min lim det",
    )
)
_SENTENCE_END = re.compile(r"[.!?。！？;；:：\n]+")
_SURE = 0.8  # py3langid's probability from which a text is in another language than it is taken for


def language_reward(completion: str, language: str | None) -> float | None:
    """Return the share of the words of the chain of thought that are in a language, None where it has no words.

    Mathematics, code, digits, single letters and names of functions count for no language. Each Chinese character and
    each kana counts as a word. The chain of thought is what stands before </think>, the whole where there is none.

    Args:
        language: two-letter code (ISO 639-1), "zh" or "en" for instance; None: there is none to hold it to.

    Raises:
        ValueError: the language is none of SCRIPTS.

    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.3.2.
    """
    if language is None:
        return None
    target = language.lower().partition("-")[0]
    if target not in _SCRIPT_OF:
        raise ValueError(f'"{language}" is no language that is told apart; known are {", ".join(_SCRIPT_OF)}')
    counts = count_words(chain_of_thought(completion), target)
    return counts[target] / counts.total() if counts else None


def chain_of_thought(completion: str) -> str:
    """Return what stands in <think>…</think>; the opening tag may be the prompt's; without tags the whole."""
    head, closed, _ = completion.partition("</think>")
    _, opened, inside = head.partition("<think>")
    return inside if opened else head if closed else completion


def count_words(text: str, target: str) -> Counter[str]:
    """Return how many words of a text are in each language; what cannot be told is in `target` where the script is."""
    by_script: dict[str, list[list[str]]] = {}
    for sentence in _SENTENCE_END.split(_NO_PROSE.sub(" ", text)):
        words: dict[str, list[str]] = {}
        for match in _WORD.finditer(sentence):
            if match.group().lower() not in _FUNCTIONS:
                words.setdefault(str(match.lastgroup), []).append(match.group())
        if "kana" in words:  # the characters between kana are Japanese
            words["kana"] += words.pop("han", [])
        for script, found in words.items():
            by_script.setdefault(script, []).append(found)
    counts: Counter[str] = Counter()
    for script, sentences in by_script.items():
        languages = SCRIPTS[script]
        guess = target if target in languages else languages[0]
        guess = _identify(" ".join(word for found in sentences for word in found), languages, guess)
        for sentence_words in sentences:
            counts[_identify(" ".join(sentence_words), languages, guess)] += len(sentence_words)
    return counts


def _identify(text: str, languages: tuple[str, ...], guess: str) -> str:
    """Return the language of a text, `guess` where py3langid is not sure of another."""
    if len(languages) == 1:
        return guess
    language, probability = _identifier(languages).classify(text)
    return language if probability >= _SURE else guess


@cache
def _identifier(languages: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(languages)
    return identifier
