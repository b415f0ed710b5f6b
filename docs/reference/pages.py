#!/usr/bin/env python3
"""pages: the guides as Doxygen is to read them (FILTER_PATTERNS). They are written for who reads them in the repository.

    pages.py FILE               prints FILE, line for line, with

  - links to files that are not among the pages as their paths, since nothing would be behind them;
  - the info string of a block of code as the language alone.
"""
import os
import re
import sys

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")
_FENCE = re.compile(r"^```(\w+)\b.*$")


def page(path, text):
    """The page `path`, relative to the root of the tree."""
    here = os.path.dirname(path)

    def link(match):
        target = os.path.normpath(os.path.join(here, match.group(2)))
        if target.startswith(here + os.sep) and target.endswith(".md"):
            return match.group()
        said = match.group(1).strip("`")
        return f"`{target}`" if said in (target, os.path.basename(target)) else f"{match.group(1)} (`{target}`)"

    lines, code = [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            code = not code
            lines.append(_FENCE.sub(lambda m: "```{." + m.group(1) + "}", line) if code else line)
        else:
            lines.append(line if code else _LINK.sub(link, line))
    return "\n".join(lines)


def main():
    path = os.path.relpath(sys.argv[1])
    with open(path, encoding="utf-8") as file:
        sys.stdout.write(page(path, file.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
