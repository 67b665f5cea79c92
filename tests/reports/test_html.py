"""The page says what the report says, and nothing an attacker wrote is more than text on it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser

from retract.model import Action, Disposition, Mode, ObservableType, Place, Provider, State
from retract.reevaluation.held_back import HeldBackHit, HeldBackHits
from retract.reports import html, page
from retract.reports.html import headline, render_html
from retract.reports.model import SourceFacts, Where
from retract.reports.text import visible
from retract.retraction.plan import SkipReason

MARKUP = [
    "<script>alert(1)</script>",
    "</title></style><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</table></body><iframe src=//evil.example>",
    "{{ 7*7 }}{% include 'report.css' %}",
    "<a href=javascript:alert(1)>x</a>",
    "<!--<style>*{display:none}",
    "&lt;b&gt; &#60;script&#62;",
    "<meta http-equiv=refresh content=0;url=http://evil.example>",
    "]]><![CDATA[<script>",
]
INVISIBLE = ["\u202egpj.exe", "a\u2066b", "x\x00y\x1b[31m", "zero\u200bwidth", "two\nlines\x85"]
LINKS = ["http://evil.example/x", "HTTPS://EVIL.EXAMPLE", "www.evil.example", "eve@evil.example"]
HOSTILE = MARKUP + INVISIBLE + LINKS

# Elements of the page, of tables and of drawings. No a, img, script, iframe, form, link, use.
ALLOWED_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section"),
    *("h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "div", "span", "b", "br", "bdi", "code"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "figure", "figcaption"),
    *("svg", "g", "path", "line", "rect", "text"),
}


def page_of_hostile_text(
    payload: str,
    planned: Any,
    skipped: Any,
    because: Any,
    overruled: Any,
    make_plan: Any,
    outcome: Any,
    report: Any,
) -> LexborHTMLParser:
    # A source's name is ours: shown as it is, and still only text.
    source = "our-list" if "evil.example" in payload.lower() else payload
    said = because(
        observable=payload, indicator=payload, source=source, campaign=payload, reference=payload
    )
    # Unlike its observable, so that both are shown.
    other = because(indicator="x" + payload)
    # What a feed lists and a mail holds, too; a rule is the policy's.
    ours = {"source": source, "rule": payload, "rule_reason": source}
    beaten = overruled(indicator=payload, observable="x" + payload, **ours)
    fields = {
        "subject": payload,
        "sender": payload,
        "reasons": (said, other),
        "overruled": (beaten,),
    }
    held_back = HeldBackHit(
        type=ObservableType.DOMAIN,
        value=payload,
        reason=payload,
        sources=(source,),
        disposition=Disposition.SPAM,
        copies=9,
    )
    copy = planned(1, **fields)
    failed = outcome(copy, State.FAILED, reason=payload)
    made = report(
        make_plan([copy, planned(2, **fields)], [skipped(3, **fields)]),
        [failed],
        problems=[payload],
        mailbox_problems={copy.mailbox: payload},
        sources=[SourceFacts(source=source)],
        held_back=HeldBackHits(values=1, top=(held_back,)),
    )
    return LexborHTMLParser(render_html(made))


@pytest.fixture
def hostile_page(
    planned: Any,
    skipped: Any,
    because: Any,
    overruled: Any,
    make_plan: Any,
    outcome: Any,
    report: Any,
) -> Any:
    return lambda payload: page_of_hostile_text(
        payload, planned, skipped, because, overruled, make_plan, outcome, report
    )


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_text_stays_text(payload: str, hostile_page: Any) -> None:
    page = hostile_page(payload)
    plain = hostile_page("harmless")
    nodes = page.css("*")
    assert {node.tag for node in nodes} <= ALLOWED_TAGS
    # The same elements as for harmless text: nothing was opened, closed or swallowed.
    assert Counter(node.tag for node in nodes if not _drawn(node)) == Counter(
        node.tag for node in plain.css("*") if not _drawn(node)
    )
    for node in nodes:
        for name, value in node.attributes.items():
            assert not name.startswith("on")
            assert name not in ("href", "src", "style", "action", "srcset", "xlink:href")
            assert name.startswith("xmlns") or "http:" not in (value or "").lower()


def _drawn(node: Any) -> bool:
    while node is not None:
        if node.tag == "svg":
            return True
        node = node.parent
    return False


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_text_is_visible_and_no_link(payload: str, hostile_page: Any) -> None:
    text = hostile_page(payload).body.text()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", text)
    assert not re.search(r"https?:", text, re.IGNORECASE)
    assert "evil.example" not in text.lower()


@pytest.mark.parametrize("payload", MARKUP + INVISIBLE)
def test_a_mailbox_is_shown_as_it_is_and_still_only_text(
    payload: str, planned: Any, make_plan: Any, report: Any
) -> None:
    made = report(make_plan([planned(1, mailbox=payload)]), mailbox_problems={payload: "away"})
    page = LexborHTMLParser(render_html(made))
    assert {node.tag for node in page.css("*")} <= ALLOWED_TAGS
    assert page.css_first("#mailboxes ~ .sheet tbody th").text() == visible(payload)


def test_subject_and_indicator_are_there_to_read(hostile_page: Any) -> None:
    text = hostile_page("<b>pay</b> http://evil.example/\u202e").body.text()
    assert "<b>pay</b> hxxp://evil[.]example/⟨U+202E⟩" in text


def test_the_page_loads_and_runs_nothing(planned: Any, make_plan: Any, report: Any) -> None:
    page = render_html(report(make_plan([planned(1)])))
    tree = LexborHTMLParser(page)
    policy = tree.css_first("meta[http-equiv=Content-Security-Policy]").attributes["content"]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    # The policy allows one style sheet and no style attribute, so none may be relied on.
    assert not tree.css("[style]")
    assert re.findall(r"https?://[^\s\"'<]+", page) == re.findall(
        r"http://www\.w3\.org/[^\s\"'<]+", page
    )


def test_the_page_names_itself_and_is_readable_without_sight(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copy = planned(1)
    tree = LexborHTMLParser(render_html(report(make_plan([copy]), [outcome(copy)])))
    assert tree.css_first("html").attributes["lang"] == "en"
    assert len(tree.css("h1")) == 1
    for figure in tree.css("figure"):
        assert figure.css_first("[role=img]").attributes["aria-label"]
        assert figure.css("table td")
    for heading in tree.css("th"):
        assert heading.attributes.get("scope") in ("col", "row")
    ids = {node.attributes["id"] for node in tree.css("[id]")}
    labels = {node.attributes["aria-labelledby"] for node in tree.css("[aria-labelledby]")}
    assert labels <= ids
    assert len(tree.css("figure")) == 4


def test_preview_says_would_and_never_that_it_did(
    planned: Any, make_plan: Any, report: Any
) -> None:
    page = LexborHTMLParser(render_html(report(make_plan([planned(1)], mode=Mode.PREVIEW))))
    text = page.body.text()
    assert page.css_first("title").text().startswith("Preview: ")
    assert page.css_first("h1").text() == "Would retract 1 of 1,000 copies"
    assert "Nothing was touched" in text
    assert "would retract" in text
    assert "retracted, verified" not in text


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], "Nothing to retract: 1,000 copies judged"),
        ([State.DONE], "Retracted 1 of 1,000 copies"),
        ([State.GONE], "Retracted 0 of 1,000 copies"),
        (
            [State.DONE, State.FAILED, State.PLANNED],
            "Retracted 1 of 1,000 copies; 2 still in need of attention",
        ),
    ],
)
def test_the_headline(
    states: list[State], said: str, planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copies = [planned(number) for number in range(len(states))]
    outcomes = [outcome(c, s) for c, s in zip(copies, states, strict=True)]
    assert headline(report(make_plan(copies), outcomes)) == said


def test_failures_come_first(planned: Any, make_plan: Any, outcome: Any, report: Any) -> None:
    copies = [planned(1), planned(2, disposition=Disposition.SPAM, action=Action.JUNK)]
    outcomes = [outcome(copies[0]), outcome(copies[1], State.FAILED, reason="access denied")]
    page = LexborHTMLParser(render_html(report(make_plan(copies), outcomes)))
    first = page.css_first("[aria-labelledby=copies] tbody tr").text()
    assert "failed" in first
    assert "access denied" in first
    assert "needs attention" in page.css_first(".banner.bad").text()


def test_a_big_run_is_cut_and_says_so(
    planned: Any, make_plan: Any, report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "MAX_ROWS", 3)
    monkeypatch.setattr(html, "MAX_REASONS", 2)
    page = LexborHTMLParser(render_html(report(make_plan([planned(n) for n in range(7)]))))
    assert len(page.css("[aria-labelledby=copies] tbody tr")) == 3
    assert "first 3 of 7" in page.body.text()
    assert "the CSV file beside this page has all" in page.body.text()


def test_an_allowed_copy_tells_what_the_rule_beat_and_why(
    planned: Any, skipped: Any, overruled: Any, make_plan: Any, report: Any
) -> None:
    left = skipped(1, SkipReason.ALLOWED, reasons=(), overruled=(overruled(),))
    acted_on = planned(2, overruled=(overruled(indicator="https://login.evil.example/b"),))
    page = LexborHTMLParser(render_html(report(make_plan([acted_on], [left]))))

    row = _words(page.css_first("[aria-labelledby=skipped] tbody tr"))
    assert "allowed malicious soft delete" in row
    assert "Does not count: url hxxps://login[.]evil[.]example/ malicious by openphish" in row
    assert "Allowed by hxxps://login[.]evil[.]example/ : our own training page" in row
    assert "at delivery" not in row
    row = _words(page.css_first("[aria-labelledby=copies] tbody tr"))
    assert row.index("confidence 90") < row.index("Does not count")
    rule = _words(page.css_first("[aria-labelledby=rules] tbody tr"))
    assert rule.startswith(
        "hxxps://login[.]evil[.]example/ our own training page url hxxps://login"
    )
    assert rule.endswith("1 copy 2 1")
    assert "allowed: 1" in page.body.text()


def test_a_copy_judged_at_delivery_says_so_beside_what_was_overruled(
    planned: Any, overruled: Any, make_plan: Any, report: Any
) -> None:
    copy = planned(1, reasons=(), delivered_disposition="spam", overruled=(overruled(),))
    page = LexborHTMLParser(render_html(report(make_plan([copy]))))
    row = _words(page.css_first("[aria-labelledby=copies] tbody tr"))
    assert row.index("Judged spam at delivery.") < row.index("Does not count")


def test_what_was_held_back_is_shown_with_why_and_how_much_it_would_have_met(
    make_plan: Any, report: Any
) -> None:
    hits = [
        HeldBackHit(
            type=ObservableType.DOMAIN,
            value=f"host{number}.example",
            reason="shared host: good mail names it too",
            sources=("a", "b"),
            disposition=Disposition.MALICIOUS,
            copies=4321 - number,
        )
        for number in range(html.MAX_HELD_BACK + 1)
    ]
    found = HeldBackHits(values=3000, top=tuple(hits))
    page = LexborHTMLParser(render_html(report(make_plan(), held_back=found)))
    rows = page.css("[aria-labelledby=held-back] tbody tr")
    assert len(rows) == html.MAX_HELD_BACK
    assert _words(rows[0]) == (
        "domain host0[.]example shared host: good mail names it too a, b malicious 4,321"
    )
    assert "the 50 with the most copies of 3,000" in page.body.text()


def _words(node: Any) -> str:
    return " ".join(node.text(separator=" ").split())


def test_an_empty_run_has_a_page(make_plan: Any, report: Any) -> None:
    page = LexborHTMLParser(render_html(report(make_plan(judged=0), judged_by_day={})))
    assert not page.css("#rules, #held-back")
    assert "No copy needed an action" in page.body.text()
    assert not page.css("figure")


@pytest.mark.parametrize(
    ("provider", "place", "folder", "shown"),
    [
        (Provider.GOOGLE_WORKSPACE, Place.INBOX, "CATEGORY_UPDATES, INBOX, UNREAD", "inbox"),
        (Provider.GOOGLE_WORKSPACE, Place.INBOX, "STARRED, INBOX", "inbox (STARRED)"),
        (Provider.GOOGLE_WORKSPACE, Place.INBOX, "A, INBOX, B", "inbox (A, B)"),
        (Provider.MICROSOFT365, Place.INBOX, "Inbox", "inbox"),
        (Provider.MICROSOFT365, Place.INBOX, "IMPORTANT", "inbox (IMPORTANT)"),
        (Provider.MICROSOFT365, Place.TRASH, "Deleted Items", "trash"),
        (Provider.MICROSOFT365, Place.TRASH, "", "trash"),
        (Provider.MICROSOFT365, Place.TRASH, "Inbox", "trash (Inbox)"),
        (Provider.MICROSOFT365, Place.PURGED, "DiscoveryHolds", "purged (DiscoveryHolds)"),
    ],
)
def test_a_place_is_told_once_and_without_labels_that_say_nothing(
    provider: Provider, place: Place, folder: str, shown: str
) -> None:
    assert page._where(Where(place=place, folder=folder), provider) == shown
    assert page._where(None, provider) == "–"


def test_what_the_service_does_not_offer_is_told_with_what_was_done_and_what_to_do(
    report: Any, make_plan: Any, planned: Any, skipped: Any
) -> None:
    done = planned(1, action=Action.SOFT_DELETE, instead_of=Action.HARD_DELETE)
    left = skipped(2, SkipReason.ACTION_MISSING, action=Action.HARD_DELETE)
    both = render_html(report(make_plan([done], [left, skipped(3, SkipReason.SENT)])))
    text = " ".join(LexborHTMLParser(both).text(separator=" ").split())
    assert "in place of hard delete, which the service does not offer" in text
    assert "hard_delete_fallback" in text
    assert "sent_copies" in text

    quiet = render_html(report(make_plan([planned(1)], [skipped(2)])))
    assert "in place of" not in quiet
    assert "hard_delete_fallback" not in quiet
    assert "sent_copies" not in quiet
