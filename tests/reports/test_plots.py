"""The plots draw what the report counts, and nothing in a label can break them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from retract.model import Action, Disposition, Mode, State
from retract.reports import plots as plotting
from retract.reports.html import render_html
from retract.reports.plots import plots

NAMES = "http://www.w3.org/2000/svg"


def texts(svg: str) -> list[str]:
    """What one reads in a drawing; raises when it is not XML."""
    drawing = ET.fromstring(svg)  # noqa: S314 - drawn by ourselves
    return ["".join(text.itertext()) for text in drawing.iter(f"{{{NAMES}}}text")]


@pytest.mark.parametrize(
    "label",
    [
        "\x00\x1b[31m\ufffe",  # no XML character: the drawing library ends the whole process
        "😀" * 60,  # cut in the middle of one, it fails
        "W" * 500,
        "</text><script>alert(1)</script>",
        "${datum.x} \\ ' \" `",
        "\u0301" * 50,
        "",
    ],
)
def test_no_label_breaks_a_drawing(
    label: str, planned: Any, because: Any, make_plan: Any, report: Any
) -> None:
    copy = planned(1, reasons=(because(indicator=label, source=label),))
    made = plots(report(make_plan([copy])))
    for plot in made:
        assert texts(plot.svg)
        assert "<script" not in plot.svg


def test_the_numbers_of_each_plot(
    planned: Any, because: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    many = tuple(because(indicator=f"https://evil.example/{n}") for n in range(20))
    copies = [
        planned(1),
        planned(2, disposition=Disposition.SPAM, action=Action.JUNK, reasons=many),
        planned(50, reasons=(because(), because(observable="http://other.example/"))),
        planned(51),
    ]
    states = [State.DONE, State.DONE, State.DONE, State.FAILED]
    outcomes = [outcome(c, s) for c, s in zip(copies, states, strict=True)]
    results, days, delays, indicators = plots(report(make_plan(copies), outcomes))
    assert results.rows == (
        ("malicious", "failed", 1),
        ("malicious", "done", 2),
        ("spam", "done", 1),
    )
    assert days.rows[-1] == ("2026-03-10", 100, 2)
    assert [row[2] for row in days.rows] == [0] * 7 + [1, 0, 2]
    assert delays.rows == (
        ("1–6 h", "malicious", 1),
        ("1–6 h", "spam", 1),
        ("1–3 days", "malicious", 1),
    )
    assert len(indicators.rows) == 10
    assert indicators.rows[0] == ("1. hxxps://login[.]evil[.]example/", "openphish", 3)
    assert "malicious" in texts(results.svg)
    assert "1. hxxps://login[.]evil[.]example/" in texts(indicators.svg)


def test_preview_plots_say_would(planned: Any, make_plan: Any, report: Any) -> None:
    made = plots(report(make_plan([planned(30)], mode=Mode.PREVIEW)))
    assert made[0].title == "What would be retracted"
    assert "would retract" in texts(made[0].svg)
    assert made[1].rows[-2] == ("2026-03-09", 99, 1)
    assert made[2].rows == (("1–3 days", "malicious", 1),)


def test_there_is_no_plot_of_nothing(make_plan: Any, report: Any) -> None:
    assert plots(report(make_plan(), judged_by_day={})) == []


def test_a_plot_that_fails_does_not_cost_the_report(
    planned: Any, make_plan: Any, report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ValueError("no drawing today")

    monkeypatch.setattr(plotting.vl_convert, "vegalite_to_svg", fail)
    page = render_html(report(make_plan([planned(1)])))
    assert "<details open>" in page
    assert "<svg" not in page


def test_days_without_a_retraction_are_one_drawing(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copies = [planned(1)]
    quiet = next(p for p in plots(report(make_plan(copies), [])) if p.title == "Deliveries per day")
    busy = next(
        p
        for p in plots(report(make_plan(copies), [outcome(copies[0], State.DONE)]))
        if p.title == "Deliveries per day"
    )
    assert quiet.note.endswith("None was retracted.")
    assert ">retracted<" not in quiet.svg
    assert ">retracted<" in busy.svg
