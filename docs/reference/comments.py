#!/usr/bin/env python3
"""comments: gort's plain comments as Doxygen's. Doxygen runs it on each public header (FILTER_PATTERNS).

    comments.py FILE            prints what Doxygen is to read instead of FILE, line for line, so that its complaints
                                name lines of FILE

The headers are written for those who open them: `//` above a declaration says what it is, and what every reader knows
already is not said again. Doxygen wants a comment of its own kind at each name. So here

  - the comment that opens a file becomes the file's page, a comment above a declaration that declaration's text, and one
    behind it, on its last line, too;
  - text that is indented by four more is code; `  word  what it means` is an item of a list;
  - an overload without a comment has that of the one before it, if no empty line stands between them; after "All of
    these" or "Both of these" so has every declaration of the paragraph;
  - in a class whose comment says "The contract of std::name", "Members as in name" or "Otherwise as name", what has no
    comment is as there;
  - an item `  name(...)  what it means` of the opening comment is also the text of a function of that name without one,
    and the opening sentence is that of a namespace of the header's own;
  - a specialisation is as its template, and what is specialised in std is not shown;
  - what is copied, moved, destroyed or empty as everybody expects says so.

What then has no text is what Doxygen complains about. Namespaces called detail, and what is private, stay as they are.
"""
import os
import re
import sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "tidy"))

from source import Source, closing  # noqa: E402: behind the path to it

_SCOPES = ("namespace", "class", "struct", "union", "enum")
_ACCESS = ("public", "private", "protected")
_NO_FUNCTION = ("alignas", "decltype", "requires", "explicit", "noexcept", "__attribute__", "static_assert")
_MODEL = re.compile(r"(?:[Tt]he contract of|[Mm]embers as in|[Oo]therwise as) ([\w:]*\w)")
_PARAGRAPH = re.compile(r"(All|Both) of these\b")
_ITEM = re.compile(r"  (\w+\([^)]*\)(?= )|\S.*?(?=  )) +(\S.*)$")


@dataclass
class Scope:
    kind: str  # namespace, class, struct, union or enum
    name: str
    hidden: bool  # detail, or private where we are
    model: str = ""  # what its members are like


@dataclass
class Declaration:
    tokens: list  # up to its body, or its semicolon
    end: int  # its last line, or that of the { of a scope
    scope: Scope
    hidden: bool
    name: str
    kind: str  # function, scope, forward (a scope without its inside), value
    text: list = field(default_factory=list)  # its comment without the //
    last: int = 0  # of a scope: the line of its }

    @property
    def line(self):
        return self.tokens[0].line


# ---- What a header declares ----------------------------------------------------------------------------


def _outside_of_brackets(tokens):
    """(index, token); a bracket stands for itself and what it holds, and template arguments are left out."""
    i, angles = 0, 0
    while i < len(tokens):
        t = tokens[i]
        if t.text == "<" and i and tokens[i - 1].kind == "word" and tokens[i - 1].text != "operator":
            angles += 1
        elif t.text == ">" and angles:
            angles -= 1
        elif not angles:
            yield i, t
        i = closing(tokens, i) + 1 if t.text in ("(", "[", "{") else i + 1


def _function(tokens):
    """The name of the function that these tokens declare, or None."""
    if tokens[0].text in ("using", "typedef", "static_assert"):
        return None
    for i, t in _outside_of_brackets(tokens):
        if t.text == "operator":
            end = next(k for k in range(i + 2, len(tokens)) if tokens[k].text == "(")
            return "".join(x.text for x in tokens[i:end])
        if t.text == "=":
            return None
        if t.text == "(" and i and tokens[i - 1].kind == "word" and tokens[i - 1].text not in _NO_FUNCTION:
            return ("~" if i > 1 and tokens[i - 2].text == "~" else "") + tokens[i - 1].text
    return None


def _scope(tokens):
    """(kind, name) if these tokens name a namespace, class or enum; else None."""
    top = [t for _, t in _outside_of_brackets(tokens)]
    at = next((i for i, t in enumerate(top) if t.text in _SCOPES), None)
    if at is None or any(t.text in ("=", "operator") for t in top) or _function(tokens):
        return None
    name = ""
    for t in top[at + 1 :]:
        if t.text == ":":
            break
        if t.text == "::" or (t.kind == "word" and t.text not in ("class", "struct", "final", "GORT_API")):
            name += t.text
    return top[at].text, name


def _value(tokens):
    """The name of what these tokens declare, neither function nor scope."""
    name = ""
    for _, t in _outside_of_brackets(tokens):
        if t.text in ("=", "{") or (t.text == "[" and name):
            break
        name = t.text if t.kind == "word" else name
    return name


def _opens_body(tokens):
    """Whether { behind these tokens, which declare a function, is its body, and not a member's first value."""
    in_list = any(t.text == ":" for _, t in _outside_of_brackets(tokens))
    return not (in_list and (tokens[-1].kind == "word" or tokens[-1].text == ">"))


def _comment_above(source, line):
    """The lines of the comment that ends above `line`: (number, text behind the //)."""
    lines, at = [], line - 1
    while at >= 1 and re.match(r"\s*//", source.lines[at - 1]):
        if "NOLINT" not in source.lines[at - 1]:
            lines.insert(0, (at, re.sub(r"^\s*// ?", "", source.lines[at - 1]).rstrip()))
        at -= 1
    return lines if lines and lines[0][0] > 1 else []  # the opening comment belongs to the file


def _is_detail(namespace):
    return namespace.split("::")[-1] == "detail"


class _Walk:
    """Through a header, from declaration to declaration."""

    def __init__(self, source):
        self.source, self.tokens = source, source.code()
        self.scopes = [Scope("namespace", "", False)]
        self.found = []

    def declare(self, start, head_end, end, kind=None, name=None):
        head = self.tokens[start:head_end]
        function = None if kind else _function(head)
        declared = Declaration(
            head,
            self.tokens[min(end, len(self.tokens) - 1)].last_line,
            self.scopes[-1],
            any(s.hidden for s in self.scopes),
            name or function or _value(head),
            kind or ("function" if function else "forward" if _scope(head) else "value"),
        )
        declared.text = [text for _, text in _comment_above(self.source, declared.line)]
        self.found.append(declared)
        return declared

    def open(self, start, i, kind, name):
        declared = self.declare(start, i, i, "scope", name)
        declared.last = self.tokens[min(closing(self.tokens, i), len(self.tokens) - 1)].last_line
        if kind != "namespace":
            self.as_the_template(declared)
        hidden = _is_detail(name) if kind == "namespace" else kind == "class" or name.startswith("std::")
        model = _MODEL.search(" ".join(declared.text))
        self.scopes.append(Scope(kind, name, hidden, model.group(1) if model and kind != "namespace" else ""))

    def as_the_template(self, declared):
        """A specialisation without a comment is as what it specialises."""
        for d in self.found:
            if d.kind == "scope" and d.name == declared.name and d.text and not declared.text:
                declared.text = d.text

    def between(self, i):
        """At a token that begins no declaration: the next index, or None if it does begin one."""
        t = self.tokens[i]
        if t.text == "}":
            self.scopes.pop()
        elif t.text in _ACCESS and self.tokens[i + 1].text == ":":
            self.scopes[-1].hidden = t.text != "public"
            return i + 2
        elif t.text not in (";", ","):
            return None
        return i + 1

    def run(self):
        i = start = 0
        while i < len(self.tokens):
            t = self.tokens[i]
            if start == i:
                after = self.between(i)
                if after is not None:
                    i = start = after
                    continue
            if t.text in ("(", "["):
                i = closing(self.tokens, i)
            elif self.scopes[-1].kind == "enum" and t.text in (",", "}"):
                self.declare(start, i, i if t.text == "," else i - 1)
                start = i
                continue
            elif t.text == ";":
                self.declare(start, i, i)
                start = i + 1
            elif t.text == "{":
                head = self.tokens[start:i]
                scope = _scope(head)
                if scope:
                    self.open(start, i, *scope)
                    start = i + 1
                else:
                    end = closing(self.tokens, i)
                    if _function(head) and _opens_body(head):
                        self.declare(start, i, end)
                        start = end + 1
                    i = end
            i += 1
        return self.found


def declarations(source):
    """What the header declares outside of functions, in order."""
    return _Walk(source).run()


# ---- Text ----------------------------------------------------------------------------------------------


def prose(text):
    """Text as Doxygen has to be told, so that it finds no command, tag or emphasis in it. `Code` stays."""
    parts = re.split(r"(`[^`]*`)", text)
    for i in range(0, len(parts), 2):
        part = re.sub(r"[&<>]", lambda m: {"&": "&amp;", "<": "&lt;", ">": "&gt;"}[m.group()], parts[i])
        part = re.sub(r"[@\\#%]|(?<=;)::", lambda m: "\\" + m.group(), part)
        parts[i] = re.sub(r"(?<!\w)[*_](?=\w)", lambda m: f"<span>{m.group()}</span>", part)
    return "".join(parts)


def _item(match):
    term = f"<code>{prose(match.group(1))}</code>" if re.search(r"[(_]", match.group(1)) else f"**{prose(match.group(1))}**"
    return f"- {term}: {prose(match.group(2))}"


def block(lines):
    """A comment's lines, without the //, as Doxygen's, as many."""
    out, code, item = [], False, False
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        match = _ITEM.match(line) if not code and indent == 2 else None
        if not line.strip():
            after = next((x for x in lines[i:] if x.strip()), "")
            goes_on = len(after) - len(after.lstrip()) >= 4
            if code and not goes_on:
                out.append("@endcode")
                code = False
            elif not code and goes_on and not item:
                out.append("@code{.cpp}")
                code = True
            else:
                out.append("")
            item = item and goes_on
        elif code:
            out.append(line[4:] if i + 1 < len(lines) else line[4:] + " @endcode")
        elif match:
            out.append(_item(match))
            item = True
        elif item and indent > 2:
            out.append("  " + prose(line.strip()))
        else:
            out.append(prose(line))
            item = False
    return out


def in_one_line(lines):
    """The same without its code, for a second name."""
    text = [x for x in lines if not x.startswith("    ")]
    return " ".join(prose(x.strip()) if x.strip() else "<p>" for x in text).removesuffix(" <p>")


# ---- What has no comment -------------------------------------------------------------------------------


def _special(declared):
    """What there is to say of a copy, a move and an end."""
    words = [t.text for t in declared.tokens]
    own = declared.scope.name
    if declared.name == "~" + own:
        return "Ends it."
    if declared.name not in (own, "operator=") or "(" not in words:
        return ""
    opening = next(i for i, t in _outside_of_brackets(declared.tokens) if t.text == "(")
    arguments = [w for w in words[opening + 1 : closing(declared.tokens, opening)]]
    if own not in arguments[:2] or not ({"&", "&&"} & set(arguments[1:3]) or declared.name == "operator="):
        return ""
    if words[-1] == "delete":
        return "Cannot be moved." if "&&" in arguments else "Cannot be copied."
    return "Moves." if "&&" in arguments else "Copies."


def _opening_lines(source):
    """The comment that opens the file, without the //."""
    lines = []
    while source.lines[len(lines)].startswith("//"):
        lines.append(re.sub(r"^// ?", "", source.lines[len(lines)]).rstrip())
    return lines


def _items(lines):
    """{name: text} of the items `  name(...)  text`."""
    found, name = {}, None
    for line in lines:
        match = _ITEM.match(line) if re.match(r"  \S", line) else None
        if match:
            call = re.match(r"(\w+)\(", match.group(1))
            name = call.group(1) if call else None
            found[name] = [match.group(2)]
        elif re.match(r"   +\S", line) and name:
            found[name].append(line.strip())
        else:
            name = None
    return found


def _inherited(declared, before, items):
    """The text of one without a comment; `before` is the declaration before it in its scope."""
    special = _special(declared)
    if special:
        return [special]
    if before is not None and before.text and before.kind != "scope" and declared.line == before.end + 1:
        if before.name == declared.name or _PARAGRAPH.match(before.text[0]):
            return before.text
    if declared.scope.model:
        call = "()" if declared.kind == "function" else ""
        return [f"As {declared.scope.model}::{declared.name}{call}."]
    if declared.name == declared.scope.name and declared.tokens[-1].text == "default":
        return ["An empty one."]
    return items.get(declared.name, []) if declared.kind == "function" else []


def documented(path, text):
    """The header `path` as Doxygen is to read it."""
    return "\n".join(_converted(Source(path, text))[0])


def without_text(path, text):
    """(line, name) of everything public that nothing is said of."""
    for d in _converted(Source(path, text))[1]:
        if d.kind != "forward" and d.tokens[0].text not in ("namespace", "static_assert") and not (d.hidden or d.text):
            yield d.line, d.name


def _converted(source):
    """The lines for Doxygen, and the declarations with their texts."""
    lines, declared_here = list(source.lines), declarations(source)
    opening, before = _opening_lines(source), {}  # the latter by scope
    _page(opening, lines)
    for macro in source.directives():
        if macro.text.startswith("#define"):
            _above(source, macro.line, lines)
    for declared in declared_here:
        if not declared.hidden:
            _above(source, declared.line, lines)
            if declared.kind in ("function", "value"):
                _of_itself(source, declared, _inherited(declared, before.get(id(declared.scope)), _items(opening)), lines)
            elif declared.name.startswith("std::"):
                declared.hidden = True
                lines[declared.line - 1 : declared.last] = [""] * (declared.last - declared.line + 1)
            elif not _comment_above(source, declared.line):
                _put(lines, declared.line, _text_of_scope(declared, opening))
        before[id(declared.scope)] = declared
    return lines, declared_here


def _text_of_scope(declared, opening):
    """The text of one without a comment: that of the template, or of the header whose namespace it is."""
    if declared.tokens[0].text != "namespace":
        return declared.text
    return opening[:1] if "::" in declared.name and not _is_detail(declared.name) else []


def _above(source, line, lines):
    above = _comment_above(source, line)
    for (number, _), converted in zip(above, block([text for _, text in above])):
        lines[number - 1] = f"/// {converted}".rstrip()


def _put(lines, number, text):
    if not text:
        return
    head = re.match(r"\s*", lines[number - 1]).group()
    lines[number - 1] = f"{head}/** {in_one_line(text)} */ {lines[number - 1][len(head):]}"


def _of_itself(source, declared, inherited, lines):
    """What stands behind a declaration, or goes without saying."""
    behind = [c for c in source.comments_on.get(declared.end, []) if not c.alone and c.text.startswith("//")]
    if behind:
        comment = behind[-1].text
        said = comment.removeprefix("//").strip()
        lines[declared.end - 1] = lines[declared.end - 1].replace(comment, f"///< {prose(said)}")
        declared.text = declared.text + [said]
    elif not declared.text and declared.tokens[0].text != "static_assert":
        declared.text = inherited
        _put(lines, declared.line, inherited)


def _page(opening, lines):
    """The opening comment as that of the file; it takes the line of #pragma once, which nobody misses."""
    if opening and lines[len(opening)].startswith("#pragma once"):
        lines[: len(opening) + 1] = ["/// @file"] + [f"/// {x}".rstrip() for x in block(opening)]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(documented(sys.argv[1], file.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
