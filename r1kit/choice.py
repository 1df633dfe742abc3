r"""Multiple choice: the letter of the option that a completion states as its answer.

What counts is the last \boxed{…} that holds a letter, else the last phrase that says what the answer is ("answer is
(B)", "Answer: B", "答案是B"), else a text that is nothing but an option ("B", "(B)", "B) 10 eV"). A capital elsewhere
is no answer, be it an article, a variable or an option that is weighed.

The phrases are those that openai/simple-evals (common.py) and lighteval (extractive_match_utils.py) look for. Unlike
them it takes the last one and not the first, no letter that begins a text ("Answer: A photon"), and none of several.
"""

import re
import unicodedata
from string import ascii_uppercase

LETTERS = ascii_uppercase  # of 26 options at most
LONGEST = 1000  # characters of a box, or of a text, that may be an option
BRACE = re.compile(r"(\\(?:boxed|fbox)\s*)?\{|\}")
JOINT = re.compile(r"\}(?:[\s$,、和或]|and|or)*\\(?:boxed|fbox)\s*\{")  # between boxes that are one answer
STYLED = re.compile(r"\\(?:text|math)(?:rm|bf|sf|tt|it|sc|up|normal)?\s*\{([^{}]*)\}")
MARKUP = re.compile(
    r"\*\*|__|[$`~\"“”‘’]|(?<!\w)'(?=\w')|(?<='\w)'"  # a quoted letter, but no B' and no B's
    r"|\\[()\[\],;:! ]|\\(?:left|right|bf|rm|it|displaystyle)(?![a-zA-Z])"
)

_OPEN, _CLOSE = r"[(\[<{]*\s*", r"[)\]>}]"
# after a letter that is an answer: a bracket, an end, or a reason; but no "A photon", "C. elegans", "A.5", "D = 5"
_AFTER = (
    rf"(?=\s*{_CLOSE}(?!\w)|\s*$|[ \t]*\n|\s*[,;:!。—–]|\.(?!\w)(?!\s+[a-z])|\s+-\s+[^\W\d]"
    r"|\s+(?:because|since|as|which|due|and|or|are)\b|\s*(?:因为|由于|选项|项|和|或|与|及|、))"
)
_LETTER = rf"{_OPEN}([A-Z])(?![\w']){_AFTER}"
_SMALL = r"(?:\(([a-z])\)|([a-z])\)|(?:(?<=:)|(?<=:\s))([a-z])\.?\s*\Z)"  # (b), b) or ": b" at the end, not "is a"
STATED = re.compile(rf"\s*(?:{_LETTER}|{_SMALL})")
SECOND = re.compile(
    rf"{_CLOSE}*\s*(?:,|/|&|;|、|\band\b|\bor\b|和|或|与|及)+\s*(?:(?:and|or|option|choice)\s+)*(?:选项)?"
    rf"{_OPEN}([A-Z])(?![\w']){_AFTER}"
)
ALL_LETTERS = re.compile(r"\s*[A-Z](?:\s*[A-Z]){1,3}\s*\Z")  # "AC"
FILLER = r"(?:\s*(?:therefore|thus|hence|clearly|indeed|probably|most likely|either|both|the|option|choice|letter)\b)*"
PHRASE = re.compile(
    rf"(\b(?i:if|whether)\s+(?:(?i:the|my|your)\s+)?)?(?i:(?:\b(?:final|correct|right|best)\s+){{0,3}}"
    rf"\b(?:answer|(?:correct|right|best)\s+(?:option|choice))"
    rf"(?:\s*(?::|=|->|→)|\s+(?:is|would\s+be|should\s+be|must\s+be|will\s+be)\b\s*:?){FILLER})"
    r"|(?:答案|正确的?选项)\s*(?:就|应该|应当|应|只能)?\s*(?:是|为|选|:)\s*:?\s*(?:选项?)?|故选\s*:?\s*(?:选项?)?"
)
HEAD = re.compile(  # how a text begins that is an option
    rf"\s*(?:(?i:option|choice|answer)(?:\s*:\s*|\s+)|选项?\s*)?{_OPEN}([A-Za-z])\s*(?:{_CLOSE}+[.:,]?|[.:,])?\s*"
)
OTHER = re.compile(r"(?<![\w'])[A-Z]\)|(?<!\w)\([A-Z]\)")
VERB = re.compile(r"(?:is|are|was|were|can|cannot|can't|does|doesn't|isn't|would|seems)\b")


def read_letter(gold: str, count: int) -> str | None:
    """Return the letter that a gold answer is, None where it is none of the first `count`."""
    letter = gold.strip().strip("().$").upper()
    return letter if len(letter) == 1 and letter in LETTERS[:count] else None


def extract_choice(text: str, count: int) -> str | None:
    """Return the letter of `count` options that a text states as its answer, None where it states none, or several.

    text: the part of a completion that states the answer (see r1kit.answer.answer_part).
    """
    letters = _boxed(text)
    if not letters:
        plain = _plain(text)
        letters = _phrased(plain) or (_whole(plain) if len(plain) <= LONGEST else "")
    return letters if len(letters) == 1 and letters in LETTERS[:count] else None


def _plain(text: str) -> str:
    """Return a text without markup of Markdown and LaTeX, in NFKC."""
    for _ in range(3):
        text = STYLED.sub(r"\1", text)
    plain = unicodedata.normalize("NFKC", MARKUP.sub("", text))
    return re.sub(r"\s+", lambda blanks: "\n" if "\n" in blanks.group() else " ", plain)


def _boxed(text: str) -> str:
    """Return the letters in the last box that holds any, "" where there is none."""
    opened: list[int | None] = []
    found = []
    for match in BRACE.finditer(text):
        if match.group() != "}":
            opened.append(match.end() if match.group(1) else None)
        elif opened and (start := opened.pop()) is not None and match.start() - start <= LONGEST:
            found.append((start, match.start()))
    letters, after = "", 0
    for start, end in reversed(found):
        if letters and not JOINT.fullmatch(text[end:after]):
            break
        letter = _whole(_plain(text[start:end]))
        letters, after = (letters if letter in letters else letter + letters), start
    return letters


def _phrased(text: str) -> str:
    """Return the letters after the last phrase that has some, "" where there is none."""
    letters = ""
    for phrase in PHRASE.finditer(text):
        if phrase.group(1) is None:
            letters = _stated_at(text, phrase.end()) or letters
    return letters


def _stated_at(text: str, start: int) -> str:
    """Return the letters that stand at a place of a text as an answer."""
    match = STATED.match(text, start)
    if match is None:
        return ""
    letter = next(filter(None, match.groups())).upper()
    second = SECOND.match(text, match.end())
    return letter if second is None or second.group(1) == letter else letter + second.group(1)


def _whole(text: str) -> str:
    """Return the letters that a text is, or the one of an option that it is, "" where it is something else."""
    text = text.strip()
    if ALL_LETTERS.match(text):
        return re.sub(r"\s", "", text)
    head = HEAD.match(text)
    if head is None:
        return ""
    letter, rest = head.group(1), text[head.end() :]
    if not rest:
        return letter.upper()
    if (letters := _stated_at(text, head.start(1))) and len(letters) > 1:
        return letters
    bracketed = ")" in head.group() or "]" in head.group() or ":" in head.group()[head.start(1) :]
    marked = bracketed or ("." in head.group() and not rest[0].islower())
    is_option = marked and "\n" not in rest and not OTHER.search(rest) and not VERB.match(rest)
    return letter.upper() if is_option and (letter.isupper() or bracketed) else ""
