"""The report as one page for a browser: no script, no request to anywhere, readable in light and in dark."""

from __future__ import annotations

from html import escape
from typing import Any

from scheduler.cli.report import duration, percent, size
from scheduler.report import Group, Report

STYLE = """
:root { color-scheme: light dark; --page: #f7f7f5; --card: #ffffff; --ink: #1c1c1a; --soft: #5c5b57; --line: #dddcd6;
  --good: #2a78d6; --bad: #d03b3b; --missed: #c77f00; --track: #eceae4; }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --card: #20201f; --ink: #f1f0ec; --soft: #b0aea7;
  --line: #3a3936; --good: #5b9df0; --bad: #ec6f6f; --missed: #e5a52b; --track: #31302d; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 64rem; margin: 0 auto; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
.soft { color: var(--soft); } header { margin-bottom: 1.5rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.25rem;
  margin-bottom: 1rem; overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1rem; margin-bottom: 1rem; }
.tiles section { margin: 0; } .tiles b { display: block; font-size: 1.7rem; line-height: 1.25; font-weight: 650; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: .87rem; } tr:last-child td { border-bottom: 0; }
th.t, td.t { text-align: left; } td.w { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
td.n { white-space: normal; min-width: 9rem; max-width: 14rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg.chart { min-width: 40rem; } svg text { fill: var(--soft); font-size: 12px; }
svg .value { fill: var(--ink); } .grid { stroke: var(--line); stroke-width: 1; }
.published { fill: var(--good); background: var(--good); } .failed { fill: var(--bad); background: var(--bad); }
.missed { fill: var(--missed); background: var(--missed); } .track { fill: var(--track); }
.legend { display: flex; gap: 1.25rem; margin: 0 0 .5rem; padding: 0; list-style: none; font-size: .87rem;
  color: var(--soft); }
.legend i { display: inline-block; width: .75rem; height: .75rem; border-radius: 3px; margin-right: .4rem; }
"""
KINDS = ("published", "failed", "missed")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 240, 44, 28, 10


def page(made: Report) -> str:
    """The page."""
    total = made.total
    late = next((one for one in made.lateness if one["name"] == "all"), None)
    tiles = [
        ("published", f"{total.published}", f"of {total.ended} that ended"),
        ("success", percent(total.success), f"{total.failed} failed, {total.missed} missed"),
        ("lateness, p95", duration(late["p95"]) if late else "-", f"median {duration(late['p50'])}" if late else ""),
        ("need a person", f"{total.held}", "held until somebody looks"),
        ("retries", f"{total.retries}", f"{percent(total.error_rate)} of {total.attempts} attempts not accepted"),
    ]
    if made.costs:
        tiles.append(("cost, estimate", f"${sum(one['dollars'] for one in made.costs):.2f}", "by X's price list"))
    parts = [
        _tiles(tiles),
        _card(f"Posts by {made.step}", _legend() + _series(made)),
        _card("By platform", _groups(made.platforms)),
        _card("By account", _groups(made.accounts)),
        _card("How late (request sent minus due)", _buckets(made) + _lateness(made)) if late else "",
        _card("Why not", _reasons(made)) if made.reasons else "",
        _card("Media", _media(made.media)) if made.media["files"] else "",
        _card("Cost, estimate in US dollars", _costs(made)) if made.costs else "",
    ]
    test = f" {made.test_posts} of these posts went to test addresses." if made.test_posts else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        ' content="width=device-width, initial-scale=1"><title>SchedulerX report</title>'
        f"<style>{STYLE}</style></head><body><main><header><h1>SchedulerX report</h1>"
        f'<div class="soft">{made.since:%Y-%m-%d %H:%M} to {made.until:%Y-%m-%d %H:%M} UTC.{test}</div></header>'
        f"{''.join(parts)}</main></body></html>\n"
    )


def _card(title: str, inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inside}</section>"


def _tiles(tiles: list[tuple[str, str, str]]) -> str:
    cells = (
        f'<section><span class="soft">{escape(name)}</span><b>{escape(value)}</b>'
        f'<span class="soft">{escape(note)}</span></section>'
        for name, value, note in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _legend() -> str:
    return '<ul class="legend">' + "".join(f'<li><i class="{kind}"></i>{kind}</li>' for kind in KINDS) + "</ul>"


def _series(made: Report) -> str:
    """Stacked columns over time."""
    points = made.series
    top = _round_up(max((sum(point[kind] for kind in KINDS) for point in points), default=0))
    high, wide = HEIGHT - BOTTOM - TOP, WIDTH - LEFT
    step = wide / max(len(points), 1)
    drawn = []
    for share in (0, 0.5, 1):
        y = TOP + high * (1 - share)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{top * share:g}</text>')
    form = "%H:%M" if made.step == "hour" else "%b %d"
    every = max(1, -(-len(points) // 10))
    for place, point in enumerate(points):
        x, base = LEFT + place * step + step * 0.14, TOP + high
        for kind in KINDS:
            tall = high * point[kind] / top
            if tall:
                base -= tall
                drawn.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{base:.1f}" width="{step * 0.72:.1f}" height="{tall:.1f}"'
                    f' rx="1.5"><title>{point["at"]:%Y-%m-%d %H:%M}: {point[kind]} {kind}</title></rect>'
                )
        if place % every == 0:
            middle = LEFT + place * step + step / 2
            drawn.append(
                f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{point["at"].strftime(form)}</text>'
            )
    return _svg(HEIGHT, f"Posts published, failed and missed by {made.step}", "".join(drawn))


def _round_up(count: int) -> int:
    """An even end for an axis."""
    size_ = 1
    while True:
        for step in (2, 4, 10):
            if count <= step * size_:
                return step * size_
        size_ *= 10


def _groups(groups: list[Group]) -> str:
    heads = ("", "published", "failed", "missed", "held", "canceled", "retries", "errors", "success", "")
    rows = []
    for one in groups:
        counts = (one.published, one.failed, one.missed, one.held, one.canceled, one.retries)
        cells = "".join(f"<td>{count}</td>" for count in counts)
        rows.append(
            f'<tr><td class="t n">{escape(one.name)}</td>{cells}<td>{percent(one.error_rate)}</td>'
            f'<td>{percent(one.success)}</td><td class="t">{_shares(one)}</td></tr>'
        )
    return _table(heads, rows, left=(0, 9))


def _shares(one: Group) -> str:
    """One bar: what came of the posts that ended."""
    x, drawn = 0.0, []
    for kind in KINDS:
        wide = 120 * getattr(one, kind) / one.ended if one.ended else 0
        if wide:
            drawn.append(f'<rect class="{kind}" x="{x:.1f}" y="0" width="{wide:.1f}" height="12"/>')
            x += wide
    label = f"{one.published} published, {one.failed} failed, {one.missed} missed"
    return (
        f'<svg viewBox="0 0 120 12" style="width:120px" role="img" aria-label="{label}">'
        f'<title>{label}</title><rect class="track" width="120" height="12" rx="3"/>{"".join(drawn)}</svg>'
    )


def _buckets(made: Report) -> str:
    """Horizontal bars: how many posts were how late."""
    most = max((count for _, count in made.late_buckets), default=0) or 1
    drawn = []
    for place, (name, count) in enumerate(made.late_buckets):
        y = place * 26
        wide = (WIDTH - 200) * count / most
        drawn.append(
            f'<text x="92" y="{y + 16}" text-anchor="end">{name}</text>'
            f'<rect class="published" x="104" y="{y + 4}" width="{wide:.1f}" height="16" rx="3"/>'
            f'<text class="value" x="{112 + wide:.1f}" y="{y + 16}">{count}</text>'
        )
    return _svg(26 * len(made.late_buckets) + 8, "Posts by lateness", "".join(drawn))


def _lateness(made: Report) -> str:
    names = ("p50", "p90", "p95", "p99", "max")
    rows = [
        f'<tr><td class="t">{escape(one["name"])}</td><td>{one["posts"]}</td>'
        + "".join(f"<td>{duration(one[name])}</td>" for name in names)
        + "</tr>"
        for one in made.lateness
    ]
    return _table(("", "posts", "median", "p90", "p95", "p99", "worst"), rows)


def _reasons(made: Report) -> str:
    rows = [
        f'<tr><td class="t">{one["status"]}</td><td class="t">{escape(one["code"])}</td>'
        f'<td class="t">{escape(one["platform"])}</td><td>{one["posts"]}</td>'
        f'<td class="t w">{escape(str(one["example"] or ""))}</td></tr>'
        for one in made.reasons
    ]
    return _table(("status", "reason", "platform", "posts", "an example"), rows, left=(0, 1, 2, 4))


def _media(media: dict[str, Any]) -> str:
    did = ", ".join(f"{one['name']} {one['files']} times" for one in media["actions"]) or "nothing"
    return (
        f"<p>{media['files']} files: {size(media['original_bytes'])} became {size(media['sent_bytes'])}"
        f" ({percent(media['saved_share'])} saved). {media['unchanged']} stayed as they were.</p>"
        f'<p class="soft">Done to them: {escape(did)}.</p>'
    )


def _costs(made: Report) -> str:
    rows = [
        f'<tr><td class="t">{escape(cost["platform"])}: {escape(part["what"])}</td><td>{part["count"]}</td>'
        f"<td>{part['each']:.3f}</td><td>{part['each'] * part['count']:.2f}</td></tr>"
        for cost in made.costs
        for part in cost["parts"]
    ]
    sources = "; ".join(sorted({f"{cost['platform']}: {cost['source']}" for cost in made.costs}))
    return _table(("", "count", "each", "together"), rows) + f'<p class="soft">{escape(sources)}</p>'


def _table(heads: tuple[str, ...], rows: list[str], *, left: tuple[int, ...] = (0,)) -> str:
    kinds = (' class="t"' if place in left else "" for place in range(len(heads)))
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, heads, strict=True))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _svg(high: int, label: str, inside: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {high}" role="img" aria-label="{escape(label)}">{inside}</svg>'
