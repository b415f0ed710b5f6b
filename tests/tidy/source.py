"""source: a C++ file as tokens and comments with their lines. As much of the language as the rules need.

Macros are not expanded: a preprocessor line is one token, and what both branches of an #if hold is read.
"""
import re
from dataclasses import dataclass, field

# In this order: the first that matches wins.
_TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<raw>(?:u8|[uUL])?R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)")
    | (?P<string>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
    | (?P<char>(?:u8|[uUL])?'(?:\\.|[^'\\\n])+')
    | (?P<number>\.?\d(?:'?[\w.]|(?<=[eEpP])[+-])*)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<punctuation>::|->\*?|\+\+|--|<=>|<<=|&&|\|\||\.\.\.|[-+*/%&|^=!<>]=|<<|[^\s\w])
    """,
    re.VERBOSE | re.DOTALL,
)
_ACCESS = ("public", "private", "protected")
_DIRECTIVE = re.compile(r"[ \t]*#(?:[^\n\\/]|\\\n|\\.|/(?![/*]))*")


@dataclass(frozen=True)
class Token:
    kind: str  # word, number, string, char, punctuation, directive
    text: str
    line: int
    last_line: int


@dataclass(frozen=True)
class Comment:
    text: str  # with its // or /* */
    line: int
    last_line: int
    alone: bool  # no code before it on its line


@dataclass(frozen=True)
class Statement:
    """Tokens up to a semicolon or a brace; `head` if a brace follows, so it opens a block."""

    tokens: tuple
    first_line: int
    last_line: int
    head: bool


@dataclass
class Source:
    path: str  # from the root of the tree, with /
    text: str
    tokens: list = field(default_factory=list)
    comments: list = field(default_factory=list)

    def __post_init__(self):
        self.lines = self.text.split("\n")
        self._scan()
        self.comments_on = {}  # line: its comments
        for comment in self.comments:
            for line in range(comment.line, comment.last_line + 1):
                self.comments_on.setdefault(line, []).append(comment)

    def _scan(self):
        position, line, line_has_code, at_line_start = 0, 1, False, True
        text = self.text
        while position < len(text):
            c = text[position]
            if c == "\n":
                position, line, line_has_code, at_line_start = position + 1, line + 1, False, True
                continue
            if at_line_start:
                directive = _DIRECTIVE.match(text, position)
                if directive:
                    last = line + directive.group().count("\n")
                    self.tokens.append(Token("directive", directive.group().strip(), line, last))
                    position, line, line_has_code, at_line_start = directive.end(), last, True, False
                    continue
            if c in " \t\r\f\v":
                position += 1
                continue
            at_line_start = False
            match = _TOKEN.match(text, position)
            kind, piece = ("punctuation", c) if match is None else (match.lastgroup, match.group())
            last = line + piece.count("\n")
            if kind == "comment":
                self.comments.append(Comment(piece, line, last, not line_has_code))
            else:
                kind = "string" if kind in ("raw", "delimiter") else kind
                self.tokens.append(Token(kind, piece, line, last))
                line_has_code = True
            position, line = position + len(piece), last

    def code(self):
        """All tokens but preprocessor lines."""
        return [t for t in self.tokens if t.kind != "directive"]

    def directives(self):
        return [t for t in self.tokens if t.kind == "directive"]

    def includes(self):
        """(line, name, quoted) of each #include."""
        for t in self.directives():
            match = re.match(r'#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', t.text)
            if match:
                yield t.line, match.group(1) or match.group(2), match.group(1) is not None

    def statements(self):
        """The code in pieces between ; { and }. A ; inside parentheses, as a for has, ends none."""
        piece, depths = [], [0]  # the depth of parentheses in each open block
        for t in self.code():
            if t.text in ("{", "}") or (t.text == ";" and depths[-1] == 0):
                if piece:
                    yield Statement(tuple(piece), piece[0].line, t.line, t.text == "{")
                piece = []
                if t.text == "{":
                    depths.append(0)
                elif t.text == "}" and len(depths) > 1:
                    depths.pop()
                continue
            if t.text == ":" and len(piece) == 1 and piece[0].text in _ACCESS:
                piece = []
                continue
            if t.text == "(":
                depths[-1] += 1
            elif t.text == ")":
                depths[-1] = max(0, depths[-1] - 1)
            piece.append(t)
        if piece:
            yield Statement(tuple(piece), piece[0].line, piece[-1].last_line, False)


def closing(tokens, start):
    """The index of the bracket that closes the one at tokens[start]; len(tokens) if none does."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    opening, closer = tokens[start].text, pairs[tokens[start].text]
    depth = 0
    for i in range(start, len(tokens)):
        if tokens[i].text == opening:
            depth += 1
        elif tokens[i].text == closer:
            depth -= 1
            if depth == 0:
                return i
    return len(tokens)


def arguments(tokens, start):
    """The arguments of the call whose ( is tokens[start], each a list of tokens."""
    end, parts, depth = closing(tokens, start), [[]], 0
    for t in tokens[start + 1 : end]:
        if t.text in ("(", "{", "["):
            depth += 1
        elif t.text in (")", "}", "]"):
            depth -= 1
        if t.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(t)
    return [p for p in parts if p]
