"""
How does the table look? A bar for each row and proxy on a common scale, as SVG written by hand: no library to install.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.report import BASE, Results
from benchmarks.rows import Row

WIDTH: Final = 900
LEFT: Final = 400
RIGHT: Final = 60
TOP: Final = 56
BAR: Final = 11
GAP: Final = 14
COLOURS: Final = ("#2b6cb0", "#c9822b", "#6b7a8f")
TITLE: Final = "Cost for the same work, as a share of nginx (less is better)"
CEILING: Final = 2.5
"""Shares above this are cut off, and told by their figure."""


def picture(rows: Sequence[Row], proxies: Sequence[str], results: Results) -> str:
    """
    @param proxies: the base is drawn as a line, the others as bars.
    @return: the SVG document.
    """
    others = [each for each in proxies if each != BASE]
    shares = {(row.name, each): results.ratio(row.name, each) for row in rows for each in others}
    known = [share for share in shares.values() if share is not None]
    most = min(CEILING, max([1.2, *known, *(row.must for row in rows)]))
    step = BAR * len(others) + GAP
    height = TOP + step * len(rows) + 16

    def across(share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(share, most) / most

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="20" font-size="14" font-weight="600">{TITLE}</text>',
    ]
    at = 12
    for proxy, colour in zip(others, COLOURS, strict=False):
        drawn.append(f'<rect x="{at}" y="30" width="10" height="10" fill="{colour}"/>')
        drawn.append(f'<text x="{at + 15}" y="39">{escape(proxy)}</text>')
        at += 100
    drawn.append(
        f'<path d="M{at} 30v10" stroke="#b00020" stroke-width="2"/><text x="{at + 8}" y="39">the bar to reach</text>'
    )
    for number, row in enumerate(rows):
        top = TOP + step * number
        drawn.append(
            f'<text x="{LEFT - 8}" y="{top + (step - GAP) / 2 + 4:g}" text-anchor="end">{escape(row.title)}</text>'
        )
        for place, (proxy, colour) in enumerate(zip(others, COLOURS, strict=False)):
            share = shares[row.name, proxy]
            y = top + BAR * place
            if share is None:
                drawn.append(f'<text x="{LEFT + 4}" y="{y + 9}" fill="#888888">no figure</text>')
                continue
            end = across(share)
            drawn.append(f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR - 1}" fill="{colour}"/>')
            drawn.append(f'<text x="{end + 4:.1f}" y="{y + 9}" font-size="10">{share:.2f}</text>')
        x = across(row.must)
        drawn.append(f'<path d="M{x:.1f} {top - 2}V{top + step - GAP + 2}" stroke="#b00020" stroke-width="2"/>')
    line = across(1.0)
    drawn.append(f'<path d="M{line:.1f} {TOP - 6}V{height - 12}" stroke="#333333" stroke-dasharray="4 3"/>')
    drawn.append(f'<text x="{line:.1f}" y="{TOP - 9}" text-anchor="middle" font-size="10">{BASE}</text>')
    drawn.append("</svg>\n")
    return "\n".join(drawn)
