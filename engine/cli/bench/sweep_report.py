"""The report of a sweep: one HTML file with its plots inside, to be read by somebody who chooses settings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from engine.cli.bench.sweep import Factor

_WIDTH, _HEIGHT = 460, 190  # of a plot, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 30
_LEAST_NOISE = 0.02  # below this nothing is called a difference, however well the repetitions agree

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 2rem auto;
  max-width: 1080px; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 0 0 .2rem }
p { margin: .3rem 0 .6rem; max-width: 60rem } .about { color: #57606a }
section { border-top: 1px solid #d0d7de; padding: 1rem 0 1.2rem }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { margin: 0; width: 460px }
figcaption { font-size: 13px; color: #57606a }
table { border-collapse: collapse; font-size: 13px; margin-top: .6rem; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .15rem .8rem .15rem 0 } th:first-child, td:first-child { text-align: left }
th { color: #57606a; font-weight: 600; border-bottom: 1px solid #d0d7de } tr.usual td { font-weight: 600 }
.verdict { background: #f6f8fa; border-left: 3px solid #0969da; padding: .35rem .7rem; display: inline-block }
svg text { font: 12px system-ui, sans-serif; fill: #57606a } svg .value { fill: #1b1f24 }
"""


class Point(NamedTuple):
    """One value of a setting: the middle of its repetitions, the least and the most."""

    label: str
    low: float
    middle: float
    high: float


def report(factors: Sequence[Factor], results: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """The whole page."""
    parts = []
    summary = []
    for factor in factors:
        found = [result for result in results if result["factor"] == factor.name]
        verdict = _verdict(factor, found)
        summary.append(f'<tr><td><a href="#{_anchor(factor)}">{escape(factor.name)}</a></td><td>{escape(factor.usual)}</td>'
                       f'<td style="text-align:left">{escape(verdict)}</td></tr>')  # fmt: skip
        parts.append(_section(factor, found, verdict))
    first = results[0]
    where = f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['server']}, {about['date']}"
    times = "once" if about["repeat"] == 1 else f"{about['repeat']} times"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>binlog-engine: what each setting does</title>
<style>{_STYLE}</style></head><body>
<h1>What each setting does</h1>
<p class="about">{escape(where)}; binlog-engine {escape(about["versions"]["binlog-engine"])}, {escape(about["profile"])} build</p>
<p>A whole engine streamed the same {first["rows"]:,} changes ({first["bytes"] / 1e6:,.0f} MB of binlog) from this server to a
consumer that acks, {times} for each value; every run delivered the same changes, by number and checksum. One
setting was varied at a time, the others kept their usual values. A dot is the run in the middle, the bar reaches from the
slowest to the fastest; the usual value is filled. Differences smaller than the bars mean nothing. Server, engine and consumer
shared this machine's cores: where they are not shared, more sinks may help where they don't here.</p>
<table><tr><th>setting</th><th>usual</th><th style="text-align:left">what was seen</th></tr>{"".join(summary)}</table>
{"".join(parts)}</body></html>
"""


def _anchor(factor: Factor) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in factor.name)


def _rates(result: dict[str, Any]) -> list[float]:
    return [result["rows"] / seconds for seconds in result["samples_s"]]


def _noise(result: dict[str, Any]) -> float:
    rates = _rates(result)
    return (max(rates) - min(rates)) / statistics.median(rates) / 2


def _verdict(factor: Factor, found: list[dict[str, Any]]) -> str:
    """What a person should take from it, in a sentence."""
    middle = {result["value"]: statistics.median(_rates(result)) for result in found}
    if min(len(result["samples_s"]) for result in found) < 2:
        return "measured once: what is noise can't be told; --repeat 3 tells it"
    noise = max(_LEAST_NOISE, *(_noise(result) for result in found))
    usual = middle[factor.usual]
    best = max(middle, key=lambda value: middle[value])
    worst = min(middle, key=lambda value: middle[value])
    if middle[best] / middle[worst] - 1 <= 2 * noise:
        return f"makes no difference that can be told from the noise (± {noise:.0%})"
    said = []
    if best != factor.usual and middle[best] / usual - 1 > noise:
        said.append(f"{best} is fastest, {middle[best] / usual - 1:.0%} above the usual {factor.usual}")
    else:
        said.append(f"the usual {factor.usual} is as fast as any")
    if 1 - middle[worst] / usual > noise:
        said.append(f"{worst} is slowest, {1 - middle[worst] / usual:.0%} below it")
    return "; ".join(said) + f" (noise ± {noise:.0%})"


def _section(factor: Factor, found: list[dict[str, Any]], verdict: str) -> str:
    rates = []
    for result in found:
        each = _rates(result)
        rates.append(Point(result["value"], min(each), statistics.median(each), max(each)))
    plots = [_figure(_plot(rates, factor.usual, "rows/s"), "rows/s to the consumer; more is better")]
    columns = ["value", "rows/s", "slowest", "fastest", "against the usual", "largest process, MB"]
    with_latency = all("latency" in result for result in found)
    if with_latency:
        delays = [result["latency"]["from_sent_us"] for result in found]
        points = [
            Point(result["value"], d["p50"], d["p50"], d["p99"]) for result, d in zip(found, delays, strict=True)
        ]  # fmt: skip
        rate = found[0]["latency"]["rate"]
        caption = f"µs from commit to consumer at {rate:,} commits/s: median, bar up to the 99th percentile; less is better"
        plots.append(_figure(_plot(points, factor.usual, "µs"), caption))
        columns += ["median µs", "p99 µs", "engine's cores then"]
    usual = next(point.middle for point in rates if point.label == factor.usual)
    rows = []
    for point, result in zip(rates, found, strict=True):
        cells = [
            escape(point.label), f"{point.middle:,.0f}", f"{point.low:,.0f}", f"{point.high:,.0f}",
            f"{point.middle / usual - 1:+.0%}", f"{max(result['peak_mb'].values()):.0f}",
        ]  # fmt: skip
        if with_latency:
            delay = result["latency"]["from_sent_us"]
            cores = sum(result["latency"]["cpu_percent"].values()) / 100
            cells += [f"{delay['p50']:,.0f}", f"{delay['p99']:,.0f}", f"{cores:.2f}"]
        mark = ' class="usual"' if point.label == factor.usual else ""
        rows.append(f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    key = f"{factor.table}: {factor.key}" if factor.key else factor.table
    return f"""<section id="{_anchor(factor)}"><h2>{escape(factor.name)}</h2>
<p class="about">{escape(factor.about)} <code>{escape(key)}</code></p><p class="verdict">{escape(verdict)}</p>
<div class="plots">{"".join(plots)}</div>
<table><tr>{"".join(f"<th>{escape(column)}</th>" for column in columns)}</tr>{"".join(rows)}</table></section>
"""


def _figure(plot: str, caption: str) -> str:
    return f"<figure>{plot}<figcaption>{escape(caption)}</figcaption></figure>"


def _plot(points: list[Point], usual: str, unit: str) -> str:
    """A dot and a bar for each point, from zero up, with a line through the dots."""
    top = _round_up(max(point.high for point in points))
    step = (_WIDTH - _LEFT - _RIGHT) / len(points)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top)

    drawn = []
    for tick in range(5):
        value = top * tick / 4
        drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#eaeef2"/>'
                     f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{_short(value)}</text>')  # fmt: skip
    places = [(_LEFT + step * (number + 0.5), point) for number, point in enumerate(points)]
    line = " ".join(f"{x:.1f},{y(point.middle):.1f}" for x, point in places)
    drawn.append(f'<polyline points="{line}" fill="none" stroke="#9ec5fe" stroke-width="1.5"/>')
    for x, point in places:
        fill = "#0969da" if point.label == usual else "#fff"
        title = f"{point.label}: {point.middle:,.0f} {unit}, {point.low:,.0f} to {point.high:,.0f}"
        drawn.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}" '
            'stroke="#0969da" stroke-width="2"/>'
            f'<circle cx="{x:.1f}" cy="{y(point.middle):.1f}" r="5" fill="{fill}" stroke="#0969da" stroke-width="2">'
            f"<title>{escape(title)}</title></circle>"
            f'<text class="value" x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(point.label)}</text>'
        )
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(drawn)}</svg>'


def _round_up(value: float) -> float:
    """The next number of 1, 2, 4 or 8 at the front that is not below."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(power * front for front in (1, 2, 4, 6, 8, 10) if power * front >= value)


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"
