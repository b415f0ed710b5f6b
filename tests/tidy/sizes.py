"""sizes: lines of files and functions. What is too long today may get shorter only."""
import re

from source import closing
from tree import Finding

RULE = "sizes"
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

_NOT_A_FUNCTION = {"alignas", "__attribute__", "decltype", "noexcept", "requires", "explicit", "asm"}
_MACRO = re.compile(r"[A-Z][A-Z0-9_]+$")  # an attribute, as GORT_API
_SCOPES = {"namespace", "class", "struct", "union", "enum", "extern"}


def _name(head):
    """The name of the function that these tokens declare, or None if they declare none."""
    i = 0
    while i < len(head):
        t = head[i]
        if t.text == "=" and not (i and head[i - 1].text == "operator"):
            return None
        if t.text == "operator":
            end = next((k for k in range(i + 2, len(head)) if head[k].text == "("), None)
            return "".join(x.text for x in head[i:end])
        if t.text == "(" and i:
            before = head[i - 1]
            if before.text.startswith("TEST"):
                return "".join(x.text for x in head[i - 1 : closing(head, i) + 1])
            if before.kind == "word" and before.text not in _NOT_A_FUNCTION and not _MACRO.match(before.text):
                start = i - 1
                while start >= 2 and head[start - 1].text in ("::", "~"):
                    start -= 2 if head[start - 1].text == "::" else 1
                return "".join(x.text for x in head[start:i])
            i = closing(head, i)
        i += 1
    return None


def _initialises_a_member(head):
    """Whether a { behind these tokens begins `member_{...}` in a constructor's list."""
    in_list = any(a.text in (")", "noexcept") and b.text == ":" for a, b in zip(head, head[1:]))
    return in_list and (head[-1].kind == "word" or head[-1].text == ">")


def functions(source):
    """(name, first line, lines) of each function with a body, lambdas and local classes not counted."""
    tokens, head, i = source.code(), [], 0
    while i < len(tokens):
        t = tokens[i]
        if t.text in (";", "}"):
            head = []
        elif t.text == "{":
            words = {x.text for x in head}
            name = _name(head) if head else None
            if name and _initialises_a_member(head):
                end = closing(tokens, i)
                head += tokens[i : end + 1]
                i = end
            elif name and not (words & {"namespace"}):
                end = min(closing(tokens, i), len(tokens) - 1)
                yield name, head[0].line, tokens[end].line - head[0].line + 1
                head, i = [], end
            elif words & _SCOPES and "=" not in words:
                head = []  # its inside is read on
            else:
                end = closing(tokens, i)
                head += tokens[i : end + 1]
                i = end
        elif t.text == ":" and head and head[-1].text in ("public", "private", "protected"):
            head = []
        else:
            head.append(t)
        i += 1


def check(tree, counts):
    found, actual = [], {}
    for source in tree.sources("include", "src", "tests", "examples", "bench"):
        sized = [((source.path,), 1, source.text.count("\n"), FILE_LINES_MAX, "this file")]
        longest = {}
        for name, line, lines in functions(source):
            if lines > longest.get(name, (0, 0))[1]:
                longest[name] = (line, lines)
        for name, (line, lines) in longest.items():
            sized.append(((source.path, name), line, lines, FUNCTION_LINES_MAX, name))
        for key, line, lines, most, name in sized:
            if lines <= most:
                continue
            actual[key] = lines
            allowed = counts.number(*key)
            if allowed is None:
                text = f"{name} has {lines} lines, more than {most}; divide it by what its parts do"
            elif lines > allowed:
                text = f"{name} has grown to {lines} lines from {allowed}; it may only shrink, so divide it"
            else:
                continue
            found.append(Finding(source.path, line, RULE, text))
    return found + counts.compare(actual)
