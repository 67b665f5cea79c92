"""STIX patterns that are a choice of equalities, as values to index.

The grammar's own parser reads some 5,500 patterns a second. Most published patterns are one
equality, or some that are joined by OR or AND alone: these are read by a regular expression that
agrees with the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from antlr4 import ParserRuleContext
from stix2patterns.exceptions import ParseException
from stix2patterns.v21.grammars.STIXPatternParser import STIXPatternParser as Grammar
from stix2patterns.v21.pattern import Pattern

from retract.model import ObservableType
from retract.observables.written import AnyType

LONGEST_PATTERN: Final = 256 * 1024

_PATHS: Final[dict[str, AnyType]] = {
    "url:value": ObservableType.URL,
    "domain-name:value": ObservableType.DOMAIN,
    "email-addr:value": ObservableType.EMAIL_ADDRESS,
    "email-message:from_ref.value": ObservableType.EMAIL_ADDRESS,
    "email-message:sender_ref.value": ObservableType.EMAIL_ADDRESS,
    "email-message:reply_to_refs[*].value": ObservableType.EMAIL_ADDRESS,
    "ipv4-addr:value": ObservableType.IP_ADDRESS,
    "ipv6-addr:value": ObservableType.IP_ADDRESS,
    "network-traffic:src_ref.value": "auto",
    "network-traffic:dst_ref.value": "auto",
    "file:hashes.md5": ObservableType.MD5,
    "file:hashes.sha1": ObservableType.SHA1,
    "file:hashes.sha256": ObservableType.SHA256,
}
_HASHES: Final = ("file:hashes.md5", "file:hashes.sha1", "file:hashes.sha256")
"""The surer one later."""
_DESCRIBING: Final = frozenset(
    {
        *("file:name", "file:size", "network-traffic:dst_ref.type", "network-traffic:src_ref.type"),
        *(f"file:hashes.{name}" for name in ("sha512", "ssdeep", "tlsh", "imphash")),
    }
)
"""What feeds write beside a hash or an address."""
_NOT_IN_MAIL: Final = "cannot be matched with mail"
_REASONS: Final = {
    "email-message:subject": "subjects are for campaign rules",
    "email-message:from_ref.display_name": "display names are for campaign rules",
    "email-message:sender_ref.display_name": "display names are for campaign rules",
    "email-addr:display_name": "display names are for campaign rules",
    "file:name": "a file name alone says too little",
    "email-message:to_refs[*].value": "recipients are not what is bad about a mail",
}

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_BLANK = r"[ \t\r\n]*"
_EQUALITY = re.compile(
    rf"{_BLANK}(?P<path>[a-z0-9-]+:[A-Za-z0-9_.*\[\]'-]+){_BLANK}==?"
    rf"{_BLANK}(?:'(?P<text>[^'\\]*)'|[0-9]+){_BLANK}(?P<end>(?:OR|AND)(?=[ \t\r\n])|\]{_BLANK}\Z)"
)
_HASH_NAME = re.compile(r"(?P<file>\S+:hashes\.)(?P<quote>'?)(?P<name>[A-Za-z0-9-]+)(?P=quote)")

Equality = tuple[AnyType, str]


class Unsupported(Exception):
    """The pattern says more, or something else, than that a value is one of several."""


def equalities(pattern: str) -> tuple[list[Equality], list[str]]:
    """The values any of which fulfils the pattern, and why parts of an OR are left out.

    Of a file that is described by a hash and more, the hash is enough. Raises Unsupported when
    nothing in it can be indexed.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise Unsupported(f"the pattern is longer than {LONGEST_PATTERN} characters")
    if (plain := _plainly(pattern)) is not None:
        return plain, []
    return _parsed(pattern)


def _plainly(pattern: str) -> list[Equality] | None:
    """``[path = 'value' OR …]``, or AND, of known paths without escapes; None for all else.

    One thing counts that the grammar refuses, as feeds write it: ``file:hashes.SHA-256`` without
    quotes.
    """
    text = pattern.lstrip(" \t\r\n")
    if not text.startswith("["):
        return None
    tests: list[_Test] = []
    joined_by: set[str] = set()
    position = 1
    while one := _EQUALITY.match(text, position):
        path, value = _plain_path(one["path"]), one["text"]
        kind = _PATHS.get(path)
        if (kind is None or value is None) and path not in _DESCRIBING:
            return None
        tests.append(_Test(path, kind, () if value is None else (value,), "", True))
        position = one.end()
        if one["end"] in ("OR", "AND"):
            joined_by.add(one["end"])
            continue
        if joined_by == {"AND"}:
            tests = _named_by([[test] for test in tests]) or []
        if not tests or len(joined_by) > 1 or any(test.kind is None for test in tests):
            return None
        return [(test.kind, test.texts[0]) for test in tests if test.kind is not None]
    return None


def _parsed(pattern: str) -> tuple[list[Equality], list[str]]:
    """What the grammar's own parser makes of it. Raises Unsupported."""
    try:
        tests: list[_Test] = Pattern(pattern).visit(_Visitor())
    except ParseException as error:
        raise Unsupported(f"the pattern cannot be parsed: {str(error)[:200]}") from error
    except RecursionError as error:
        raise Unsupported("the pattern is nested too deeply") from error
    found = [(test.kind, text) for test in tests if test.kind for text in test.texts]
    reasons = [test.reason for test in tests if test.reason]
    if not found:
        raise Unsupported(reasons[0])
    return found, reasons


class _Test(NamedTuple):
    """One comparison: of a path with values that can be indexed, or with the reason why not."""

    path: str
    kind: AnyType | None
    """None where there is nothing to index."""
    texts: tuple[str, ...]
    reason: str
    is_equality: bool
    """Whether it names values, so that it can describe what another test names."""


class _Visitor:
    """Turns a parse tree into its tests."""

    def visit(self, tree: Any) -> list[_Test]:
        return _tests(tree)


def _tests(ctx: Any) -> list[_Test]:
    """The tests any of which is enough. Raises Unsupported for more than a choice of them."""
    match ctx:
        case Grammar.PropTestParenContext():
            return _tests(ctx.comparisonExpression())
        case Grammar.PropTestEqualContext() if ctx.EQ() and not ctx.NOT():
            return [_equality(ctx, [ctx.primitiveLiteral()])]
        case Grammar.PropTestSetContext() if not ctx.NOT():
            return [_equality(ctx, ctx.setLiteral().primitiveLiteral())]
        case Grammar.PropTestIsSubsetContext() if not ctx.NOT():
            return [_equality(ctx, [ctx.StringLiteral()], within=True)]
        case Grammar.PropTestContext():
            return [_other(ctx)]
        case Grammar.ComparisonExpressionAndContext() if ctx.AND():
            if (named := _named_by(list(_parts(ctx)))) is None:
                raise _narrowing("AND")
            return named
        case Grammar.ObservationExpressionAndContext() if ctx.AND():
            raise _narrowing("AND")
        case Grammar.ObservationExpressionsContext() if ctx.FOLLOWEDBY():
            raise _narrowing("FOLLOWEDBY")
        case (
            Grammar.StartStopQualifierContext()
            | Grammar.WithinQualifierContext()
            | Grammar.RepeatedQualifierContext()
        ):
            raise _narrowing(ctx.getChild(0).getText())
    rules = (child for child in ctx.getChildren() if isinstance(child, ParserRuleContext))
    return [test for rule in rules for test in _tests(rule)]


def _narrowing(word: str) -> Unsupported:
    return Unsupported(f"the pattern holds {word}: only a choice of equalities can be indexed")


def _equality(ctx: Any, literals: list[Any], within: bool = False) -> _Test:
    path = _path(ctx)
    kind = _PATHS.get(path)
    texts = tuple(
        _ESCAPE.sub(r"\1", text[1:-1])
        for text in (one.getText() for one in literals)
        if text.startswith("'")
    )
    if kind is None or (within and kind not in (ObservableType.IP_ADDRESS, "auto")):
        return _Test(path, None, (), _reason(path), not within)
    if not texts:
        return _Test(path, None, (), f"{_shown(path)}: not compared with a text", True)
    return _Test(path, kind, texts, "", True)


def _other(ctx: Any) -> _Test:
    path = _path(ctx)
    if path not in _PATHS:
        return _Test(path, None, (), _reason(path), False)
    return _Test(path, None, (), f"{_shown(path)}: only equality can be indexed", False)


def _reason(path: str) -> str:
    if path.startswith("file:hashes."):
        return f"{_shown(path)}: only MD5, SHA-1 and SHA-256 of an attachment can be computed"
    return f"{_shown(path)}: {_REASONS.get(path, _NOT_IN_MAIL)}"


def _shown(path: str) -> str:
    return path if len(path) <= 60 else path[:59] + "…"


def _parts(ctx: Any) -> Iterator[list[_Test]]:
    """What an AND joins, however many."""
    for side in ctx.comparisonExpressionAnd():
        if side.AND():
            yield from _parts(side)
        else:
            yield _tests(side)


def _named_by(parts: list[list[_Test]]) -> list[_Test] | None:
    """What fulfils all parts: one of them, if the others only describe what it names."""
    for named in parts:
        if all(_describes(more, named) for more in parts if more is not named):
            return named
    return None


def _describes(more: list[_Test], named: list[_Test]) -> bool:
    """Whether a part of an AND only says more of what the other part names for certain.

    As feeds write it: a file's name and size beside its hash, a weaker hash beside a surer one,
    and ``x_ref.type`` beside ``x_ref.value``.
    """
    if not all(test.is_equality for test in more) or not all(test.kind for test in named):
        return False
    paths = {test.path for test in named}
    if paths <= set(_HASHES):
        sure = min(_HASHES.index(path) for path in paths)
        surer = _HASHES[sure:]
        return all(test.path.startswith("file:") and test.path not in surer for test in more)
    return {path.removesuffix(".value") + ".type" for path in paths} == {test.path for test in more}


def _path(ctx: Any) -> str:
    return _plain_path(str(ctx.objectPath().getText()))


def _plain_path(text: str) -> str:
    """``file:hashes.'SHA-256'`` and its other spellings as ``file:hashes.sha256``."""
    if ":hashes." not in text or not (found := _HASH_NAME.fullmatch(text)):
        return text
    return found["file"] + found["name"].replace("-", "").lower()
