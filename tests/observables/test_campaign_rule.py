"""Campaign rules: what they mean, what is no rule, and that no text makes them slow."""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retract.observables.address import canonical_name
from retract.observables.campaign_rule import (
    MAX_LENGTH,
    MAX_WILDCARDS,
    as_regex,
    canonical_rule,
    longest_piece,
    problem_with,
    rule_matches,
)


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        # the whole text, from end to end
        ("your mailbox is full", "Your mailbox is full", True),
        ("your mailbox is full", "RE: Your mailbox is full", False),
        ("your mailbox is full", "Your mailbox is full!", False),
        ("*your mailbox is full*", "[EXTERNAL] Re: Your mailbox is full (2)", True),
        # a star is any run, also none
        ("invoice*overdue", "invoice overdue", True),
        ("invoice*overdue", "invoiceoverdue", True),
        ("invoice*overdue", "Invoice 7 of May, now 30 days\noverdue", True),
        ("*is overdue", "is overdue", True),
        # a question mark is one character, whatever it is
        ("invoice?overdue", "invoice-overdue", True),
        ("invoice?overdue", "invoiceoverdue", False),
        ("invoice?overdue", "invoice  overdue", True),
        ("invoice?overdue", "invoice🙂overdue", True),
        # digits
        ("invoice # is due", "Invoice 4711 is due", True),
        ("invoice # is due", "Invoice 7 is due", True),
        ("invoice # is due", "Invoice ４７１１ is due", True),
        ("invoice # is due", "Invoice  is due", False),
        ("invoice # is due", "Invoice 47a11 is due", False),
        ("invoice ## is due", "Invoice 7 is due", False),
        ("invoice #? is due", "Invoice 71 is due", True),
        ("invoice #*# is due", "Invoice 7-1 is due", True),
        # literal signs
        (r"payments \#\* \? \\", r"Payments #* ? \ ", True),
        (r"payments \#\* \? \\", r"Payments 1x ! \ ", False),
        ("payment $1.00 (now)", "Payment $1.00 (now)", True),
        ("payment $1.00 (now)", "Payment $1x00 (now)", False),
        # compared as people read it
        ("IT Service Desk", "ⅠT  ＳＥＲＶＩＣＥ\u00a0desk", True),
        ("IT Service Desk", "IT Ser\u200bvice\u00ad De\u2060sk\u202e", True),
        ("Rechnung für Straße", "RECHNUNG FÜR STRASSE", True),
    ],
)
def test_what_a_rule_describes(rule: str, text: str, expected: bool) -> None:
    assert problem_with(rule) == ""
    canonical = canonical_rule(rule)
    assert rule_matches(canonical, text) is expected
    assert in_polars(canonical, text) is expected


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  Your   INVOICE  * ", "your invoice *"),
        ("***invoices***", "*invoices*"),
        (r"*\**invoices", r"*\**invoices"),
        ("ＩＮＶＯＩＣＥＳ＊", "invoices*"),
        ("in\u200bvoices", "invoices"),
    ],
)
def test_a_rule_has_one_form(text: str, canonical: str) -> None:
    assert canonical_rule(text) == canonical
    assert canonical_rule(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "fewer than 8 letters"),
        ("*", "fewer than 8 letters"),
        ("*invoice*", "fewer than 8 letters"),
        ("*re: (!!) .... ,,,, *", "fewer than 8 letters"),
        ("a*b*c*d*e*f*g*hi", "no 4 characters"),
        ("abc?def?ghi", "no 4 characters"),
        ("*".join(["word"] * (MAX_WILDCARDS + 2)), "more than 8 wildcards"),
        ("your invoice " + "x" * MAX_LENGTH, "longer than 200 characters"),
        ("your order #4711", "beside a digit"),
        ("your order 4711#", "beside a digit"),
        (r"CONTOSO\administrator", "backslash"),
        ("your invoice\\", "backslash"),
        ("your in\x00voice", "unprintable"),
        ("your in\ud800voice", "unprintable"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_reason(text: str, reason: str) -> None:
    assert reason in problem_with(text)
    assert canonical_rule(text) == ""
    assert not rule_matches(canonical_rule(text), text)


def in_polars(rule: str, text: str) -> bool:
    """What the match does with a rule and a text."""
    normal = pl.Series([canonical_name(text)])
    found = bool(normal.str.contains(as_regex(rule)).item())
    assert not found or longest_piece(rule) in normal.item()
    return found


LITERALS = ["a", "b", "é", "ß", "İ", "7", " ", "(", "[", "^", "$", ".", "|", "\\\\", r"\*", r"\#"]
TOKENS = st.sampled_from(["*", "?", "#", *LITERALS])


@st.composite
def rules_and_texts(draw: st.DrawFn) -> tuple[str, str]:
    """A rule, and a text it may describe: its wildcards filled, and sometimes one thing wrong."""
    body = draw(st.lists(TOKENS, max_size=12))
    at = draw(st.integers(0, len(body)))
    tokens = [*body[:at], *"invoices", *body[at:]]
    fillings = {
        "*": st.text("ab 7\n(", max_size=4),
        "?": st.sampled_from("ab7é.\n"),
        "#": st.text("07", min_size=1, max_size=3),
    }
    text = "".join(draw(fillings[t]) if t in fillings else t[-1] for t in tokens)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(text)))
        text = text[:cut] + draw(st.sampled_from(["", "x", "7", " "])) + text[cut + 1 :]
    return "".join(tokens), text


@given(rules_and_texts())
@example(("invoices *?#", "invoices 1"))
@example(("invoices *?#", "invoices 12"))
def test_the_regex_says_what_the_definition_says(pair: tuple[str, str]) -> None:
    rule = canonical_rule(pair[0])
    if rule:
        assert in_polars(rule, pair[1]) is rule_matches(rule, pair[1])
        assert canonical_rule(rule) == rule


@given(st.text(), st.text())
def test_any_text_is_a_rule_or_has_a_problem(text: str, other: str) -> None:
    rule = canonical_rule(text)
    assert bool(rule) is not bool(problem_with(text))
    rule_matches(rule, other)


@given(st.text())
def test_a_text_with_its_signs_escaped_describes_itself(text: str) -> None:
    rule = canonical_rule("".join("\\" + c if c in "*?#\\" else c for c in canonical_name(text)))
    assert not rule or rule_matches(rule, text)


# What backtracking engines choke on, and the texts that make them.
SLOW_RULES = [
    "*a*a*a*a*aaaaaaaa*b",
    "*aaaa*aaaa*aaaa*aaaa*aaaa*aaaa*b",
    "a*aaaaaaaa*?*?*?b",
    "####aaaaaaaa####",
    "#*#*#*#*aaaaaaaab",
    "*????aaaaaaaa???",
]
SLOW_TEXTS = ["a", "1", "a1", "aaaaaaaab "]


def seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


@pytest.mark.parametrize("rule", SLOW_RULES)
@pytest.mark.parametrize("unit", SLOW_TEXTS)
def test_no_text_makes_a_rule_slow(rule: str, unit: str) -> None:
    canonical = canonical_rule(rule)
    assert canonical, problem_with(rule)
    text = (unit * 10_000)[:10_000]

    def by_definition(length: int) -> float:
        return seconds(lambda: rule_matches(canonical, text[:length]))

    def in_bulk(length: int) -> float:
        texts = pl.Series([text[:length]] * 20)
        return seconds(lambda: texts.str.contains(as_regex(canonical)))

    for measure in (by_definition, in_bulk):
        short, long = measure(1_000), measure(10_000)
        # Ten times the text: about ten times the time, where a quadratic way takes a hundred.
        assert long < 40 * short + 0.05
    assert in_bulk(10_000) < 1.0
