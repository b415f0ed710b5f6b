"""files: how a file begins, what a header must not do, no bool parameters, nothing left for later, and clang-tidy
silenced only by the check's name and with the reason.

A file opens with a comment. A .cpp whose header stands beside it may leave that to the header.
"""
import re

from tree import ALL_CODE, CODE, Finding

RULE = "files"
_LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
_SILENCED = re.compile(r"NOLINT(NEXTLINE)?\([a-z][\w.-]*(, ?[a-z][\w.-]*)*\): \S+ \S+ \S+")
_CONDITIONS = {"if", "for", "while", "switch", "catch", "sizeof", "static_assert", "decltype", "noexcept"}


def _opening(tree, source):
    first = source.comments[0] if source.comments else None
    header = source.path.rsplit(".", 1)[0] + ".hpp"
    if source.path.endswith(".cpp") and header in tree.texts:
        return  # its header's opening comment is for both
    if first is None or first.line != 1:
        yield Finding(source.path, 1, RULE, "a file opens with a comment that says what it is (`// stem: ...`)")
    elif len(first.text.strip("/* ").split()) < 3:
        yield Finding(source.path, 1, RULE, "the opening comment says too little; what is this file, who calls it?")


def _header(source):
    if not any(re.fullmatch(r"#\s*pragma\s+once", t.text) for t in source.directives()):
        yield Finding(source.path, 1, RULE, "a header has `#pragma once` behind its opening comment")
    tokens = source.code()
    for a, b in zip(tokens, tokens[1:]):
        if a.text == "using" and b.text == "namespace":
            text = "using namespace in a header reaches into who includes it; name what you use"
            yield Finding(source.path, a.line, RULE, text)


def _later(source):
    for c in source.comments:
        for offset, text in enumerate(c.text.split("\n")):
            match = _LATER.search(text)
            if match:
                text = f"{match.group(1)}: do it, or write what is true today and why"
                yield Finding(source.path, c.line + offset, RULE, text)


def _silenced(source):
    for c in source.comments:
        for offset, text in enumerate(c.text.split("\n")):
            if "NOLINT" in text and not _SILENCED.search(text):
                text = "a comment for clang-tidy names the check and the reason: `NOLINT(group-check): why it is none`"
                yield Finding(source.path, c.line + offset, RULE, text)


def bool_parameters(source):
    """(line, function) of each parameter of type bool, by value, of a function or function type."""
    tokens, open_ = source.code(), []
    for i, t in enumerate(tokens):
        if t.text in ("(", "{", "["):
            open_.append(i)
        elif t.text in (")", "}", "]"):
            if open_:
                open_.pop()
        elif t.text == "bool" and open_ and tokens[open_[-1]].text == "(":
            start = open_[-1]
            before = tokens[i - 1].text
            if before == "const":
                before = tokens[i - 2].text
            if before not in ("(", ","):
                continue
            name = tokens[start - 1].text if start else ""
            if name == ")" and start >= 2:  # `void (*name)(bool)`
                name = tokens[start - 2].text if tokens[start - 2].kind == "word" else "function-type"
            if name in _CONDITIONS:
                continue
            after = tokens[i + 1]
            follows = tokens[i + 2].text if after.kind == "word" else after.text
            if follows in (",", ")", "="):
                yield t.line, name


def check(tree, bools):
    found = []
    for source in tree.sources(*ALL_CODE):
        found += _opening(tree, source)
        found += _later(source)
        found += _silenced(source)
        if source.path.endswith((".hpp", ".h")):
            found += _header(source)
    for source in tree.sources(*CODE):
        for line, name in bool_parameters(source):
            if not bools.allows(source.path, name):
                text = f"{name}() takes a bool, and `{name}(true)` says nothing; take an enum class"
                found.append(Finding(source.path, line, RULE, text))
    for path, text in tree.pages():
        for number, line in enumerate(text.split("\n"), 1):
            if "`" not in line and _LATER.search(line):
                text = "nothing is left for later in the docs either: say what is true"
                found.append(Finding(path, number, RULE, text))
    return found + bools.findings()
