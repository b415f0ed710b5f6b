"""invariants: each has one name, one definition, somebody who relies on it, and a test.

A name is one or two capitals and a digit. It is defined by a comment line of the form `//   R1  The sentence`. It is
cited by a comment, a check's text or a page of docs/; a citation of a range (R1 to R3, R1..R3) cites each.

A test names an invariant, in a comment, a string or its own name, where it would fail if the invariant were broken.
There a range is no proof: it says what a file is about.

"modelled in NAME", which excuses an order from the mutants of other models, names one that tries them: TEST(NAME, Mutants).
"""
import re
from dataclasses import dataclass

from tree import Finding

RULE = "invariants"
INDEX = "docs/invariants.md"
_NAME = r"(?<![\w.\-/])([A-Z]{1,2})(\d)(?![\w])"
_DEFINITION = re.compile(r"//   ([A-Z]{1,2}\d)  (\S.*)$")
_CONTINUATION = re.compile(r"//       +(\S.*)$")
_RANGE = re.compile(_NAME + r"(?:\.\.| to )" + _NAME)
_SINGLE = re.compile(_NAME)
_CODE_SPAN = re.compile(r"`[^`]*`")
_MODELLED = re.compile(r"modelled in (\w+)")
_MUTANTS = re.compile(r"TEST\((\w+), Mutants\)")
# What looks like a name and is none.
_OTHER_WORDS = {"C2": "a compiler's", "O2": "of -O2"}


@dataclass(frozen=True)
class Definition:
    name: str
    path: str
    line: int
    text: str


def definitions(tree):
    for source in tree.sources("include", "src", "tests"):
        lines = [c for c in source.comments if c.alone]
        for i, comment in enumerate(lines):
            match = _DEFINITION.match(comment.text)
            if not match:
                continue
            text, k = [match.group(2)], i + 1
            while k < len(lines) and lines[k].line == lines[k - 1].line + 1:
                more = _CONTINUATION.match(lines[k].text)
                if not more:
                    break
                text.append(more.group(1))
                k += 1
            yield Definition(match.group(1), source.path, comment.line, " ".join(text))


def names_in(text):
    """Names that a text cites, those inside of its ranges too."""
    for a, first, b, last in _RANGE.findall(text):
        if a == b:
            for number in range(int(first), int(last) + 1):
                yield f"{a}{number}"
    for letters, number in _SINGLE.findall(text):
        yield letters + number


def single_names_in(text):
    for letters, number in _SINGLE.findall(_RANGE.sub("", text)):
        yield letters + number


def _cited_in_source(source):
    """(line, text) of what may cite: comments, and strings, which checks have."""
    for c in source.comments:
        for offset, text in enumerate(c.text.split("\n")):
            if not (c.alone and _DEFINITION.match(text)):
                yield c.line + offset, text
            else:
                yield c.line + offset, _DEFINITION.match(text).group(2)
    for t in source.code():
        if t.kind == "string":
            yield t.line, t.text


def _cited_in_page(text):
    for number, line in enumerate(text.split("\n"), 1):
        yield number, _CODE_SPAN.sub("", line)


def _named_by_tests(tree):
    for source in tree.sources("tests"):
        for _, text in _cited_in_source(source):
            yield from single_names_in(text)
        for t in source.code():
            if t.kind == "word":
                yield from re.findall(r"(?<![A-Za-z0-9])[A-Z]{1,2}\d(?![A-Za-z0-9])", t.text)


def _defined_twice(defined):
    first = {}
    for d in defined:
        other = first.setdefault(d.name, d)
        if other is not d:
            where = f"{other.path}:{other.line}"
            text = f"{d.name} is defined in {where}, too; one name, one meaning: rename this"
            yield Finding(d.path, d.line, RULE, text)


def _unknown(places, known):
    for path, line, text in places:
        for name in sorted(set(names_in(text)) - known - set(_OTHER_WORDS)):
            text = f"{name} is cited and defined nowhere; correct it, or state it where it holds (`//   {name}  ...`)"
            yield Finding(path, line, RULE, text)


def _modelled_nowhere(tree):
    there = {m for s in tree.sources("tests") for m in _MUTANTS.findall(tree.texts[s.path])}
    for source in tree.sources("include", "src"):
        for comment in source.comments:
            for name in set(_MODELLED.findall(comment.text)) - there:
                text = f"no test is TEST({name}, Mutants): name the model that tries the mutants of this, or say unmodelled"
                yield Finding(source.path, comment.line, RULE, text)


def check(tree, untested):
    defined = list(definitions(tree))
    known = {d.name for d in defined}
    found = list(_defined_twice(defined)) + list(_modelled_nowhere(tree))

    sources = tree.sources("include", "src", "tests")
    places = [(s.path, line, text) for s in sources for line, text in _cited_in_source(s)]
    pages = [(p, line, text) for p, page in tree.pages() if p != INDEX for line, text in _cited_in_page(page)]
    found += _unknown(places, known)
    found += _unknown([p for p in pages if p[0].startswith("docs/")], known)

    cited = {n for path, _, text in places + pages if not path.startswith("tests/") for n in names_in(text)}
    tested = set(_named_by_tests(tree))
    for d in defined:
        if d.path.startswith("tests/"):
            continue
        if d.name not in cited:
            text = f"nobody cites {d.name}: name it where the code relies on it or keeps it"
            found.append(Finding(d.path, d.line, RULE, text))
        if d.name in tested:
            continue
        if not untested.allows(d.name):
            text = f"no test names {d.name}: name it in the test that would fail without it, or write that test"
            found.append(Finding(d.path, d.line, RULE, text))
    if tree.texts.get(INDEX) != index(tree):
        text = "this index is not what the sources say; run tests/tidy/tidy.py --write-index"
        found.append(Finding(INDEX, 1, RULE, text))
    return found + untested.findings()


def _first_sentence(text):
    match = re.match(r"(.*?[^.][.:;])(?= [A-Z`a-z0-9(]|$)", text)
    sentence = match.group(1) if match else text
    return sentence.rstrip(".:;") + "."


def _order(d):
    return (d.path, d.name)


def index(tree):
    """docs/invariants.md as it should be."""
    lines = [
        "# Invariants",
        "",
        "Every invariant of the tree by its name, with the beginning of what it says. The whole text, and why it holds,",
        "stands in the comment that defines it. A name means one thing, so `grep -rnw R1 src include tests docs` finds who",
        "relies on it and which tests would fail without it. `tests/tidy/tidy.py --write-index` writes this page.",
        "",
        "| name | says | defined in |",
        "| --- | --- | --- |",
    ]
    for d in sorted(definitions(tree), key=_order):
        text = _first_sentence(d.text).replace("|", "\\|")
        lines.append(f"| {d.name} | {text} | [{d.path}](../{d.path}) |")
    return "\n".join(lines) + "\n"
