"""Campaign rules: what the subjects or display names of one campaign have in common.

A rule is a text with wildcards: ``*`` any run of characters, also none; ``?`` one character;
``#`` one or more digits (0–9). A backslash takes a wildcard, or itself, literally. Rule and text
are compared as `canonical_name` gives them, and always whole: nothing is stripped, also no
``Re:``, so a rule for replies starts with ``*``.

Rules are bounded, and there is nothing in them that a matcher could backtrack over for long:
`rule_matches` is the definition, `as_regex` the same for an engine of linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Final

from retract.observables.address import canonical_name

MAX_LENGTH: Final = 200
MAX_WILDCARDS: Final = 8
FEWEST_LITERALS: Final = 8
"""Letters and digits that a rule names: ``*invoice*`` alone would meet half the mail."""
SHORTEST_PIECE: Final = 4
"""Characters of a rule's longest piece without a wildcard."""

_REGEX_OF: Final = {"*": ".*", "?": ".", "#": "[0-9]+"}
_TOKEN = re.compile(r"\\[*?#\\]|.", re.DOTALL)


def canonical_rule(text: str) -> str:
    """The rule in its one form; empty when it is none, for which `problem_with` has the reason."""
    tokens = _tokens(text)
    return "" if _problem(tokens) else "".join(tokens)


def problem_with(text: str) -> str:
    """What is wrong with a rule and what to do about it; empty when nothing is."""
    return _problem(_tokens(text))


def rule_matches(rule: str, text: str) -> bool:
    """Whether a canonical rule describes the whole of a text: the definition.

    Takes at most len(rule) × len(text) steps.
    """
    tokens = _tokens(rule)
    reached = set(_past_stars(tokens, 0))
    for character in canonical_name(text):
        reached = {
            beyond
            for at in reached
            for after in _after(tokens, at, character)
            for beyond in _past_stars(tokens, after)
        }
    return bool(tokens) and len(tokens) in reached


def as_regex(rule: str) -> str:
    """A canonical rule for Rust's regex engine, to be searched for in `canonical_name` texts."""
    body = "".join(_REGEX_OF.get(token) or re.escape(token[-1]) for token in _tokens(rule))
    return f"^(?s:{body})$"


def longest_piece(rule: str) -> str:
    """A text that everything a canonical rule matches holds."""
    return max(_pieces(_tokens(rule)), key=len, default="")


def _tokens(text: str) -> list[str]:
    """Wildcards, and characters as written: one that is escaped with its backslash."""
    tokens = _TOKEN.findall(canonical_name(text))
    return [token for before, token in pairwise(["", *tokens]) if not before == token == "*"]


def _pieces(tokens: list[str]) -> Iterator[str]:
    """The literal texts between the wildcards."""
    for is_wildcard, piece in groupby(tokens, key=_REGEX_OF.__contains__):
        if not is_wildcard:
            yield "".join(token[-1] for token in piece)


def _after(tokens: list[str], at: int, character: str) -> tuple[int, ...]:
    """Where in the rule one may be once a character was read there."""
    match tokens[at] if at < len(tokens) else "":
        case "*":
            return (at,)
        case "#":
            return (at, at + 1) if character in "0123456789" else ()
        case "?":
            return (at + 1,)
        case token:
            return (at + 1,) if token[-1:] == character else ()


def _past_stars(tokens: list[str], at: int) -> Iterator[int]:
    """Here, and what follows the stars here: they may stand for nothing."""
    yield at
    while tokens[at : at + 1] == ["*"]:
        at += 1
        yield at


def _problem(tokens: list[str]) -> str:
    pieces = list(_pieces(tokens))
    if sum(len(token) for token in tokens) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters: keep what the campaign's texts have in common"
    if not "".join(pieces).isprintable():
        return "unprintable characters: put ? or * in their place"
    if "\\" in tokens:
        return r"a backslash takes only *, ?, # and \ literally: write \\ for a backslash"
    if any("#" in pair and any(map(str.isdecimal, pair)) for pair in pairwise(tokens)):
        return r"# beside a digit: # stands for digits, so leave the digit out, or write \#"
    if sum(token in _REGEX_OF for token in tokens) > MAX_WILDCARDS:
        return f"more than {MAX_WILDCARDS} wildcards: join some of them into one *"
    if sum(map(str.isalnum, "".join(pieces))) < FEWEST_LITERALS:
        return f"fewer than {FEWEST_LITERALS} letters or digits: it would match too much"
    if max(map(len, pieces)) < SHORTEST_PIECE:
        return f"no {SHORTEST_PIECE} characters without a wildcard: it would match too much"
    return ""
