"""STIX patterns that are a choice of equalities, as values to index."""

from __future__ import annotations

import re
from typing import Any, Final

from stix2patterns.exceptions import ParseException  # type: ignore[import-untyped]
from stix2patterns.v21.grammars.STIXPatternListener import STIXPatternListener  # type: ignore[import-untyped]
from stix2patterns.v21.grammars.STIXPatternParser import STIXPatternParser as Grammar  # type: ignore[import-untyped]
from stix2patterns.v21.pattern import Pattern  # type: ignore[import-untyped]

from retract.model import ObservableType
from retract.observables.written import AnyType

LONGEST_PATTERN: Final = 256 * 1024

_PATHS: Final[dict[str, AnyType]] = {
    "url:value": ObservableType.URL,
    "domain-name:value": ObservableType.DOMAIN,
    "email-addr:value": ObservableType.EMAIL_ADDRESS,
    "email-message:from_ref.value": ObservableType.EMAIL_ADDRESS,
    "email-message:sender_ref.value": ObservableType.EMAIL_ADDRESS,
    "ipv4-addr:value": ObservableType.IP_ADDRESS,
    "ipv6-addr:value": ObservableType.IP_ADDRESS,
    "network-traffic:dst_ref.value": "auto",
    "file:hashes.md5": ObservableType.MD5,
    "file:hashes.sha1": ObservableType.SHA1,
    "file:hashes.sha256": ObservableType.SHA256,
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

Equality = tuple[AnyType, str]


class Unsupported(Exception):
    """The pattern says more, or something else, than that a value is one of several."""


def equalities(pattern: str) -> tuple[list[Equality], list[str]]:
    """The values any of which fulfils the pattern, and why parts of an OR are left out.

    Raises Unsupported when nothing in it can be indexed.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise Unsupported(f"the pattern is longer than {LONGEST_PATTERN} characters")
    listener = _Listener()
    try:
        Pattern(pattern).walk(listener)
    except ParseException as error:
        raise Unsupported(f"the pattern cannot be parsed: {error}") from error
    except RecursionError as error:
        raise Unsupported("the pattern is nested too deeply") from error
    if listener.narrowing:
        word = min(listener.narrowing)
        raise Unsupported(f"the pattern holds {word}: only a choice of equalities can be indexed")
    if not listener.found:
        raise Unsupported(listener.unsupported[0])
    return listener.found, listener.unsupported


class _Listener(STIXPatternListener):  # type: ignore[misc]
    """Collects equalities, and the words that make a pattern more than a choice of them."""

    def __init__(self) -> None:
        self.found: list[Equality] = []
        self.unsupported: list[str] = []
        self.narrowing: set[str] = set()

    def exitEveryRule(self, ctx: Any) -> None:  # noqa: N802 - the parser generator's name
        match ctx:
            case Grammar.PropTestEqualContext() if ctx.EQ() and not ctx.NOT():
                self._equal(ctx, [ctx.primitiveLiteral()])
            case Grammar.PropTestSetContext() if not ctx.NOT():
                self._equal(ctx, ctx.setLiteral().primitiveLiteral())
            case Grammar.PropTestParenContext():
                pass
            case Grammar.PropTestContext():
                self._leave_out(ctx)
            case (
                Grammar.ComparisonExpressionAndContext() | Grammar.ObservationExpressionAndContext()
            ):
                if ctx.AND():
                    self.narrowing.add("AND")
            case Grammar.ObservationExpressionsContext() if ctx.FOLLOWEDBY():
                self.narrowing.add("FOLLOWEDBY")
            case (
                Grammar.StartStopQualifierContext()
                | Grammar.WithinQualifierContext()
                | Grammar.RepeatedQualifierContext()
            ):
                self.narrowing.add(ctx.getText()[:20])

    def _equal(self, ctx: Any, literals: list[Any]) -> None:
        kind = _PATHS.get(_path(ctx))
        strings = [text for text in (one.getText() for one in literals) if text.startswith("'")]
        if kind is None or not strings:
            self._leave_out(ctx)
        else:
            self.found += [(kind, _ESCAPE.sub(r"\1", text[1:-1])) for text in strings]

    def _leave_out(self, ctx: Any) -> None:
        self.unsupported.append(f"{ctx.getText()[:100]} cannot be matched with mail")


def _path(ctx: Any) -> str:
    """``file:hashes.'SHA-256'`` and its other spellings as ``file:hashes.sha256``."""
    text = ctx.objectPath().getText()
    head, _, hash_name = text.partition(":hashes.")
    if not hash_name:
        return str(text)
    return f"{head}:hashes.{hash_name.strip(chr(39)).replace('-', '').lower()}"
