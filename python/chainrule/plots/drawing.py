# SPDX-License-Identifier: MIT
"""A drawing: shapes in units of one pixel, y downwards; and its SVG."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

Point = tuple[float, float]

INK, GREY, WHITE = "#222222", "#777777", "#ffffff"
NEGATIVE, POSITIVE = "#2166ac", "#b2182b"  # the ends of the map RdBu: told apart with any colour vision


class Line(NamedTuple):
    """Through the points; `curved` leaves and reaches each of them vertically."""

    points: Sequence[Point]
    colour: str = GREY
    width: float = 1.0
    opacity: float = 1.0
    curved: bool = False
    arrow: bool = False


class Circle(NamedTuple):
    """Around (x, y)."""

    x: float
    y: float
    radius: float
    fill: str = WHITE


class Box(NamedTuple):
    """From its upper left corner (x, y), the corners rounded."""

    x: float
    y: float
    width: float
    height: float
    fill: str = WHITE
    dashed: bool = False


class Text(NamedTuple):
    """Centred at x, standing on the line y."""

    x: float
    y: float
    text: str
    size: float = 12.0
    bold: bool = False
    colour: str = INK
    anchor: str = "middle"


Shape = Line | Circle | Box | Text


class Drawing(NamedTuple):
    """Shapes, from the back to the front, and what the picture is called."""

    width: float
    height: float
    title: str
    shapes: list[Shape]


def clipped(text: str, longest: int = 26) -> str:
    """A name in one line: what cannot be printed becomes a replacement character, what is too long ends in an ellipsis."""
    line = "".join("\ufffd" if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" else c for c in text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def text_width(text: str, size: float) -> float:
    """About how wide a text is; fonts differ by a tenth."""
    return 0.58 * size * len(text)


def arrow_head(line: Line) -> list[Point]:
    """The triangle at the end of a line."""
    (x0, y0), (x1, y1) = line.points[-2:]
    dx, dy = (0.0, 1.0) if line.curved else (x1 - x0, y1 - y0)
    length = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    dx, dy = 7 * dx / length, 7 * dy / length
    return [(x1, y1), (x1 - dx - dy / 2, y1 - dy + dx / 2), (x1 - dx + dy / 2, y1 - dy - dx / 2)]


def bends(line: Line) -> list[tuple[Point, Point, Point]]:
    """For each piece of a curved line: its two control points and its end."""
    pieces = []
    for (x0, y0), (x1, y1) in zip(line.points[:-1], line.points[1:], strict=True):
        middle = (y0 + y1) / 2
        pieces.append(((x0, middle), (x1, middle), (x1, y1)))
    return pieces


def _number(x: float) -> str:
    return f"{x:.1f}".removesuffix(".0")


def _at(*points: Point) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _line(s: Line) -> str:
    rest = [f"C{_at(*piece)}" for piece in bends(s)] if s.curved else [f"L{_at(*s.points[1:])}"]
    faint = f' stroke-opacity="{s.opacity:.2f}"' if s.opacity < 1 else ""
    path = f'<path d="M{_at(s.points[0])}{"".join(rest)}" fill="none" stroke="{s.colour}" stroke-width="{s.width:.2g}"{faint}/>'
    return path + (f'<polygon points="{_at(*arrow_head(s))}" fill="{s.colour}"/>' if s.arrow else "")


def _shape(s: Shape) -> str:
    if isinstance(s, Line):
        return _line(s)
    if isinstance(s, Circle):
        return f'<circle cx="{_number(s.x)}" cy="{_number(s.y)}" r="{_number(s.radius)}" fill="{s.fill}" stroke="{INK}"/>'
    if isinstance(s, Box):
        dashes = ' stroke-dasharray="4 3"' if s.dashed else ""
        size = f'width="{_number(s.width)}" height="{_number(s.height)}"'
        return f'<rect x="{_number(s.x)}" y="{_number(s.y)}" {size} rx="5" fill="{s.fill}" stroke="{INK}"{dashes}/>'
    bold = ' font-weight="bold"' if s.bold else ""
    place = f'x="{_number(s.x)}" y="{_number(s.y)}" text-anchor="{s.anchor}" font-size="{_number(s.size)}"'
    return f'<text {place} fill="{s.colour}"{bold}>{escape(s.text)}</text>'


def svg(drawing: Drawing) -> str:
    """The drawing as one SVG element: no script, no style sheet, no reference to anything outside; every text escaped."""
    size = f'viewBox="0 0 {_number(drawing.width)} {_number(drawing.height)}" width="{_number(drawing.width)}" height="{_number(drawing.height)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" role="img" style="max-width:100%;height:auto">'
    back = f'<title>{escape(drawing.title)}</title><rect width="100%" height="100%" fill="{WHITE}"/>'
    return "\n".join([head, back, *map(_shape, drawing.shapes), "</svg>"])
