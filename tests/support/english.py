"""The English of the package, counted: translated phrases in its docstrings, comments, messages and pages.

A kind of phrase is a regular expression. `python tests/support/english.py` prints how many there are of each kind, and
the lines of a kind whose name holds its argument.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]

UNIT = (
    "image|sample|pixel|step|second|minute|channel|class|file|row|batch|call|draw|command|subcommand|line|dimension|run"
    "|dim|label|part|stage|block|level|epoch|kind|layer|machine|recipe|folder|key|number|weight|parameter"
)
COUNTED = (
    "nats|bits|ms|milliseconds|seconds|minutes|images|steps|calls|rows|lines|files|columns|numbers|values|draws|labels"
    "|photons|entries|samples|bytes|one|one (?:file|row|line|column|call|number|value|label|test|picture|network call)"
    "|a (?:row|file|line|column|value|number|label|subfolder|folder|picture|test)"
)
PHRASES = {
    "speech for computation": r"\b(?:says?|said|tells?|told|judges?|judged|judging|speaks?|heeds?|heeded)\b",
    "lies and stands": r"(?<!must )\b(?:lies|lay|stands|stood|standing)\b(?! in [\[(])|\b(?:do|to|may|can|not) stand\b",
    "behind and in front of": r"\b(?:behind|in front of)\b",
    "a for per": rf"\b(?:{COUNTED}) an? (?:{UNIT})s?\b",
    "archaic": r"\b(?:afresh|anew|ado|thereof|therein|wherein|whence|hence|forgo|amiss)\b|\b(?<!a )lot\b(?! of)",
    "of its own": r"\bof (?:its|their|his|one's|your|our|my) own\b|\bfor (?:itself|themselves)\b|\bby itself\b",
    "negated nouns": r"\b(?<!there )(?:is|are|was|were) (?:no (?!longer|more|less|need|such|guidance)\w+|none)\b",
    "where for if": r"\bwhere there (?:is|are) (?:one|any|none|no)\b",
    "goes on": r"\b(?:goes|go|going|went) on\b|\bput back\b|\bgoes? (?:beside|into|under) it\b",
    "in order": r"\bin order\b(?! to| of|\.)|\bone another\b|\bthere already\b|\bof before\b|\bas before\b",
}
COMPILED = {name: re.compile(pattern) for name, pattern in PHRASES.items()}
CODE = re.compile(r"`[^`\n]*`|\"[^\"\n]*\"")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "noxfile.py", "docs/**/*.md", "src/**/*.md")


def prose() -> Iterator[tuple[str, str]]:
    """`file:line` and text of every line of prose in the package, its recipes and its pages."""
    for path in sorted(PROJECT.glob("src/**/*.py")):
        yield from ((f"{path.relative_to(PROJECT)}:{line}", text) for line, text in in_python(path.read_text("utf-8")))
    for path in sorted(PROJECT.glob("recipes/**/*.yaml")):
        lines = enumerate(path.read_text("utf-8").splitlines(), 1)
        yield from ((f"{path.relative_to(PROJECT)}:{n}", text) for n, line in lines if (text := line.partition("#")[2]))
    for pattern in PAGES:
        for path in sorted(PROJECT.glob(pattern)):
            yield from ((f"{path.relative_to(PROJECT)}:{n}", text) for n, text in in_markdown(path.read_text("utf-8")))


def in_python(source: str) -> list[tuple[int, str]]:
    """The lines of docstrings, comments and of texts with a space in them, by number."""
    found = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            found += [(node.lineno + i, line) for i, line in enumerate(node.value.splitlines())]
    return sorted(found)


def in_markdown(page: str) -> Iterator[tuple[int, str]]:
    """The lines outside of code blocks, by number."""
    inside = False
    for number, line in enumerate(page.splitlines(), 1):
        inside ^= line.startswith("```")
        if not inside:
            yield number, line


def offences(text: str, kind: str) -> int:
    """How often a kind of phrase is in a text, what is quoted as code left out."""
    return len(COMPILED[kind].findall(CODE.sub("``", text)))


def found(kind: str) -> list[str]:
    """The lines with a phrase of that kind, `file:line: text`."""
    return [f"{place}: {text.strip()}" for place, text in prose() for _ in range(offences(text, kind))]


def main() -> None:
    wanted = " ".join(sys.argv[1:])
    total = 0
    for kind in PHRASES:
        lines = found(kind)
        total += len(lines)
        print(f"{len(lines):5d}  {kind}")
        if wanted and wanted in kind:
            print(*(f"       {line}" for line in lines), sep="\n")
    print(f"{total:5d}  together")


if __name__ == "__main__":
    main()
