#!/usr/bin/env python3
"""pages: the guides as Doxygen is to read them (FILTER_PATTERNS). They are written for who reads them in the repository.

    pages.py FILE               prints FILE, line for line, with

  - links to files that are not among the pages as their paths, since nothing would be behind them;
  - the name of the page, and that of each heading as links to it have it, made Doxygen's: `page` and `page-heading`, since
    Doxygen has one space of names;
  - the info string of a block of code as the language alone.
"""
import os
import re
import sys

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"(#+) (.*)$")
_FENCE = re.compile(r"^```(\w+)\b.*$")


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def anchor(path, heading):
    """Doxygen's name for a heading of the page, or for the end of a link to it."""
    return f"{_stem(path)}-" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def page(path, text):
    """The page `path`, relative to the root of the tree."""
    here = os.path.dirname(path)

    def link(match):
        target = os.path.normpath(os.path.join(here, match.group(2))) if match.group(2) else path
        if match.group(3) and os.path.dirname(target) == here:
            return f"[{match.group(1)}](#{anchor(target, match.group(3))})"
        if target.startswith(here + os.sep) and target.endswith(".md"):
            return match.group()
        said = match.group(1).strip("`")
        return f"`{target}`" if said in (target, os.path.basename(target)) else f"{match.group(1)} (`{target}`)"

    lines, code = [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            code = not code
            lines.append(_FENCE.sub(lambda m: "```{." + m.group(1) + "}", line) if code else line)
        elif code:
            lines.append(line)
        else:
            heading = _HEADING.match(line)
            line = _LINK.sub(link, line)
            if heading and heading.group(1) != "#":
                line += f" {{#{anchor(path, heading.group(2))}}}"
            elif heading and _stem(path) != "README":  # that is the main page
                line += f" {{#{_stem(path)}}}"
            lines.append(line)
    return "\n".join(lines)


def main():
    path = os.path.relpath(sys.argv[1])
    with open(path, encoding="utf-8") as file:
        sys.stdout.write(page(path, file.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
