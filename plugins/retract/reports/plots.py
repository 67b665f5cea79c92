"""The report's plots: Altair charts drawn to SVG text, without a browser or a network.

Every chart gets few, summed-up rows, and only text that is fit to show. Colours of axes and
text are left to the page's style sheet, so one drawing serves light and dark.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import altair as alt
import vl_convert

from retract.indicators.refresh_report import SourceReport
from retract.model import ACTIONABLE_DISPOSITIONS, Disposition
from retract.reports.model import CopyResult, Result, RunReport
from retract.reports.text import clipped, defanged, visible, words

log = logging.getLogger(__name__)

_WIDTH: Final = 440
_TOP: Final = 10
_LABEL: Final = 40
_YEAR: Final = 365

# Told apart by people who do not see red or green, on white and on black.
RESULT_COLOURS: Final = {
    Result.DONE: "#1f8a70",
    Result.WOULD_RETRACT: "#3b7dd8",
    Result.FAILED: "#d64545",
    Result.UNFINISHED: "#e08a1e",
    Result.ALREADY_THERE: "#7a8ba3",
    Result.GONE: "#a7b1c2",
    Result.RESTORED: "#9b6dd0",
    Result.SKIPPED: "#c2b280",
}
DISPOSITION_COLOURS: Final = {
    Disposition.MALICIOUS: "#c0392b",
    Disposition.SUSPICIOUS: "#e08a1e",
    Disposition.SPOOF: "#8e5bc0",
    Disposition.SPAM: "#3b7dd8",
    Disposition.BULK: "#7a8ba3",
}
_DELIVERED: Final = "#9fb3cc"
_INDICATOR_COLOURS: Final = {"in force": "#1f8a70", "held back": "#e08a1e"}

_DELAYS: Final = (
    ("< 1 h", timedelta(hours=1)),
    ("1–6 h", timedelta(hours=6)),
    ("6–24 h", timedelta(hours=24)),
    ("1–3 days", timedelta(days=3)),
    ("3–7 days", timedelta(days=7)),
    ("7–30 days", timedelta(days=30)),
    ("> 30 days", timedelta.max),
)

_BEYOND_BMP: Final = re.compile(r"[\U00010000-\U0010ffff]")

Row = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, and the same numbers as a table for those who cannot see it."""

    title: str
    note: str
    svg: str
    """Empty when it could not be drawn."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]


def plots(report: RunReport) -> list[Plot]:
    """Those of the four plots that there is something to draw for."""
    drawn = (_results(report), _days(report), _delays(report), _indicators(report))
    return [plot for plot in drawn if plot is not None]


def _results(report: RunReport) -> Plot | None:
    counts = Counter((c.disposition, c.result) for c in report.copies)
    present = [r for r in Result if any(result is r for _, result in counts)]
    rows: list[Row] = [
        {"disposition": d.value, "result": words(r), "copies": counts[d, r], "rank": i}
        for d in ACTIONABLE_DISPOSITIONS
        for i, r in enumerate(present)
        if counts[d, r]
    ]
    if not rows:
        return None
    chart = (
        alt.Chart(alt.InlineData(rows))
        .mark_bar(height=20)
        .encode(
            x=alt.X("copies:Q", title="copies", axis=_count_axis()),
            y=alt.Y("disposition:N", title=None, sort=[d.value for d in ACTIONABLE_DISPOSITIONS]),
            color=alt.Color(
                "result:N",
                title=None,
                scale=alt.Scale(
                    domain=[words(r) for r in present], range=[RESULT_COLOURS[r] for r in present]
                ),
                legend=_legend(),
            ),
            order=alt.Order("rank:Q"),
        )
        .properties(width=_WIDTH, height=alt.Step(34))
    )
    return Plot(
        title="What was retracted" if not report.preview else "What would be retracted",
        note="Copies by disposition and result.",
        svg=_svg(chart),
        columns=("disposition", "result", "copies"),
        rows=tuple((r["disposition"], r["result"], r["copies"]) for r in rows),
    )


def _days(report: RunReport) -> Plot | None:
    if not report.days:
        return None
    retracted = "that would be retracted" if report.preview else "retracted"
    numbers = [
        (day.day.isoformat(), day.judged, day.planned if report.preview else day.done)
        for day in report.days
    ]
    rows: list[Row] = [{"day": day, "judged": j, "retracted": r} for day, j, r in numbers]
    span = report.days[-1].day - report.days[0].day
    base = alt.Chart(alt.InlineData(rows)).encode(
        x=alt.X(
            "day:T",
            title=None,
            axis=alt.Axis(
                format="%b %Y" if span.days > _YEAR else "%d %b",
                labelOverlap=True,
                grid=False,
                tickCount=8,
            ),
            scale=alt.Scale(type="utc"),
        )
    )
    width = max(2, min(14, int(_WIDTH / len(rows)) - 2))
    delivered = (
        base.mark_bar(color=_DELIVERED, width=width)
        .encode(y=alt.Y("judged:Q", title="delivered", axis=_count_axis()))
        .properties(width=_WIDTH, height=92)
    )
    below = (
        base.mark_bar(color=DISPOSITION_COLOURS[Disposition.MALICIOUS], width=width)
        .encode(y=alt.Y("retracted:Q", title="retracted", axis=_count_axis()))
        .properties(width=_WIDTH, height=92)
    )
    any_retracted = any(number for _, _, number in numbers)
    note = "Copies judged by day of delivery (UTC)"
    note += (
        f", and below them those {retracted}, on a scale of their own."
        if any_retracted
        else f". None {'would be' if report.preview else 'was'} retracted."
    )
    return Plot(
        title="Deliveries per day",
        note=note,
        svg=_svg(
            alt.vconcat(delivered, below, spacing=14).resolve_scale(x="shared")
            if any_retracted
            else delivered
        ),
        columns=("day", "delivered", "retracted"),
        rows=tuple(numbers),
    )


def _delays(report: RunReport) -> Plot | None:
    done = [c for c in report.copies if c.result in (Result.DONE, Result.WOULD_RETRACT)]
    counts = Counter((_delay(report, copy), copy.disposition) for copy in done)
    rows: list[Row] = [
        {"delay": name, "disposition": d.value, "copies": counts[name, d], "rank": rank}
        for name, _ in _DELAYS
        for rank, d in enumerate(ACTIONABLE_DISPOSITIONS)
        if counts[name, d]
    ]
    if not rows:
        return None
    present = [d for d in ACTIONABLE_DISPOSITIONS if any(key[1] is d for key in counts)]
    chart = (
        alt.Chart(alt.InlineData(rows))
        .mark_bar(width={"band": 0.7})
        .encode(
            x=alt.X(
                "delay:N",
                title=None,
                sort=[name for name, _ in _DELAYS],
                scale=alt.Scale(domain=[name for name, _ in _DELAYS]),
                axis=alt.Axis(labelAngle=0, grid=False, labelOverlap=False),
            ),
            y=alt.Y("copies:Q", title="copies", axis=_count_axis()),
            color=alt.Color(
                "disposition:N",
                title=None,
                scale=alt.Scale(
                    domain=[d.value for d in present],
                    range=[DISPOSITION_COLOURS[d] for d in present],
                ),
                legend=_legend(),
            ),
            order=alt.Order("rank:Q"),
        )
        .properties(width=_WIDTH, height=150)
    )
    return Plot(
        title="Time from delivery to this run" if report.preview else "Time to retraction",
        note="How long copies had lain in their mailboxes"
        + (" when this preview was made." if report.preview else " when they were retracted."),
        svg=_svg(chart),
        columns=("time", "disposition", "copies"),
        rows=tuple((r["delay"], r["disposition"], r["copies"]) for r in rows),
    )


def _delay(report: RunReport, copy: CopyResult) -> str:
    length = copy.time_to_result or (report.run.started_at - copy.received_at)
    return next(name for name, limit in _DELAYS if length < limit)


def _indicators(report: RunReport) -> Plot | None:
    met = Counter(
        found for copy in report.copies for found in {(m.indicator, m.source) for m in copy.reasons}
    )
    # Not by most_common: it leaves the order of equals to chance.
    top = sorted(met.items(), key=lambda item: (-item[1], item[0]))[:_TOP]
    if not top:
        return None
    # Numbered, so that two indicators that look alike once clipped stay two bars.
    rows: list[Row] = [
        {
            "indicator": f"{rank}. {_label(defanged(indicator))}",
            "source": _label(visible(source)),
            "copies": copies,
        }
        for rank, ((indicator, source), copies) in enumerate(top, start=1)
    ]
    chart = (
        alt.Chart(alt.InlineData(rows))
        .mark_bar(height=14)
        .encode(
            x=alt.X("copies:Q", title="copies", axis=_count_axis()),
            y=alt.Y(
                "indicator:N",
                title=None,
                sort=[str(row["indicator"]) for row in rows],
                axis=alt.Axis(labelLimit=290),
            ),
            color=alt.Color(
                "source:N", title=None, legend=_legend(2), scale=alt.Scale(scheme="tableau10")
            ),
        )
        .properties(width=_WIDTH - 180, height=alt.Step(24))
    )
    return Plot(
        title="Top indicators",
        note=f"The {len(rows)} indicators met by most planned copies, by source.",
        svg=_svg(chart),
        columns=("indicator", "source", "copies"),
        rows=tuple((r["indicator"], r["source"], r["copies"]) for r in rows),
    )


def indicators_by_source(sources: Sequence[SourceReport]) -> Plot | None:
    """The indicators of each source after a refresh: in force, and held back."""
    shown = sorted(sources, key=lambda one: (-one.in_force - one.held_back, one.source))
    shown = [one for one in shown if one.in_force or one.held_back][:_TOP]
    rows: list[Row] = [
        {"source": _label(visible(one.source)), "what": what, "indicators": number}
        for one in shown
        for what, number in (("in force", one.in_force), ("held back", one.held_back))
    ]
    if not rows:
        return None
    names = [_label(visible(one.source)) for one in shown]
    what = alt.YOffset("what:N", sort=list(_INDICATOR_COLOURS))
    base = alt.Chart(alt.InlineData(rows)).encode(
        y=alt.Y("source:N", title=None, sort=names, axis=alt.Axis(labelLimit=150)), yOffset=what
    )
    # A list of ours has ten, a feed a million: a bar as long as ten would not be seen.
    length = alt.X("indicators:Q", title=None, axis=None, scale=alt.Scale(type="symlog"))
    bars = base.mark_bar(height=11).encode(
        x=length,
        color=alt.Color(
            "what:N",
            title=None,
            legend=_legend(),
            scale=alt.Scale(
                domain=list(_INDICATOR_COLOURS), range=list(_INDICATOR_COLOURS.values())
            ),
        ),
    )
    numbers = base.mark_text(align="left", dx=4, fontSize=11).encode(
        x=length, text=alt.Text("indicators:Q", format=",d")
    )
    more = f" The {_TOP} largest." if len(sources) > _TOP else ""
    return Plot(
        title="Indicators by source",
        note="In force and held back, on a logarithmic scale." + more,
        svg=_svg((bars + numbers).properties(width=_WIDTH - 120, height=alt.Step(15))),
        columns=("source", "in force", "held back"),
        rows=tuple((visible(one.source), one.in_force, one.held_back) for one in shown),
    )


def _label(shown: str) -> str:
    """Text fit for a drawing, from text fit to show.

    The drawing library cuts labels between UTF-16 units, and fails on half a character.
    """
    return clipped(_BEYOND_BMP.sub(lambda found: f"⟨U+{ord(found[0]):X}⟩", shown), _LABEL)


def _count_axis() -> alt.Axis:
    """Whole numbers only: there are no half copies."""
    return alt.Axis(format="d", tickMinStep=1, tickCount=5)


def _legend(columns: int = 5) -> alt.Legend:
    return alt.Legend(orient="top", direction="horizontal", columns=columns, labelLimit=110)


def _svg(chart: alt.Chart | alt.LayerChart | alt.VConcatChart) -> str:
    styled = (
        chart.configure(
            background="transparent", padding={"left": 16, "right": 16, "top": 4, "bottom": 4}
        )
        .configure_view(stroke=None)
        .configure_axis(domain=False, ticks=False, labelFontSize=11, titleFontSize=11)
    )
    try:
        # No address is allowed: a drawing may load nothing, whatever its labels say.
        return str(vl_convert.vegalite_to_svg(styled.to_dict(), allowed_base_urls=[]))
    except ValueError:
        log.exception("a plot could not be drawn; the report has its numbers")
        return ""
