"""What happened in a training, written out: a table of its steps, and a picture of loss and validation.

The picture is SVG of a few shapes and words; nothing is loaded, and its bytes depend on the record alone.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from fdetect.files import write_atomic
from fdetect.nets.schedule import TrainingRecord

__all__ = ["write_curve", "write_log"]

_LEFT, _TOP, _WIDTH, _HEIGHT = 64, 50, 520, 240  # px: where the curves are drawn
_POINTS = 260  # of the loss at most: means of steps side by side
_LOSS, _VALIDATION = "#0b4f9c", "#b3490a"  # told apart with every common colour blindness

Point = tuple[float, float]


def write_log(record: TrainingRecord, path: Path) -> None:
    """Write step, loss, rate, validation as .csv: one row a step, counted from 1; validation is empty where none was.

    Numbers are the shortest that read back as the same.  Raises DataError where the file cannot be written.
    """
    validations = dict(record.validations)
    rows = ["step,loss,rate,validation\n"]
    for step, (loss, rate) in enumerate(zip(record.losses, record.rates, strict=True), 1):
        rows.append(f"{step},{loss!r},{rate!r},{validations.get(step, '')!s}\n")
    write_atomic(path, lambda temporary: temporary.write_text("".join(rows), encoding="utf-8"))


def write_curve(record: TrainingRecord, path: Path, *, title: str = "", measure: str = "validation AUROC") -> None:
    """Draw loss (left axis) and validation (right axis) over the steps, with a ring at the best, as .svg.

    title     above the picture
    measure   what the validation is called

    Raises DataError where the file cannot be written.
    """
    losses = _smoothed(record.losses)
    steps = max(len(record.losses), 1)
    parts = [_text(_LEFT, 18, title, size=14)] if title else []
    parts += _axis(losses, steps, _LEFT, "end", "loss", _LOSS)
    if record.validations:
        parts += _axis(record.validations, steps, _LEFT + _WIDTH, "start", measure, _VALIDATION)
        best = [point for point in record.validations if point[0] == record.best_step]
        parts += [
            f'<circle cx="{_number(x)}" cy="{_number(y)}" r="5" fill="none" stroke="{_VALIDATION}" stroke-width="2">'
            f"<title>best: {value:.4g} after {step} steps</title></circle>"
            for (step, value), (x, y) in zip(best, _placed(best, steps, *_range(record.validations)), strict=True)
        ]
    base = _TOP + _HEIGHT
    parts.append(f'<path d="M{_LEFT} {base}h{_WIDTH}" stroke="#777777"/>')
    parts += [_text(_LEFT + share * _WIDTH, base + 18, f"{share * steps:g}", "middle") for share in (0, 0.5, 1)]
    end = "steps, stopped early" if record.stopped_early else "steps"
    parts.append(_text(_LEFT + _WIDTH / 2, base + 36, end, "middle"))
    width, height = 2 * _LEFT + _WIDTH, base + 46
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif" role="img" aria-label="{html.escape(title or "training")}">'
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>')  # fmt: skip
    text = head + "\n".join(parts) + "</svg>\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _smoothed(losses: Sequence[float]) -> list[Point]:
    """Return (step, loss), each the means of as many steps as make it _POINTS at most."""
    size = -(-len(losses) // _POINTS) or 1
    blocks = [losses[k : k + size] for k in range(0, len(losses), size)]
    return [(k * size + (len(block) + 1) / 2, sum(block) / len(block)) for k, block in enumerate(blocks)]


def _axis(points: Sequence[Point], steps: int, x: float, anchor: str, name: str, colour: str) -> list[str]:
    """Draw one curve with the numbers at its axis."""
    if not points:
        return []
    low, high = _range(points)
    away = x + (-8 if anchor == "end" else 8)
    ticks = [low, (low + high) / 2, high]
    places = _placed([(0, tick) for tick in ticks], steps, low, high)
    parts = [_text(away, y + 4, f"{tick:.3g}", anchor, colour) for tick, (_, y) in zip(ticks, places, strict=True)]
    parts.append(_text(x, _TOP - 8, name, "start" if anchor == "end" else "end", colour))
    line = " ".join(f"{_number(px)},{_number(py)}" for px, py in _placed(points, steps, low, high))
    dots = [f'<circle cx="{_number(px)}" cy="{_number(py)}" r="2" fill="{colour}"/>'
            for px, py in _placed(points, steps, low, high)]  # fmt: skip
    return [*parts, f'<polyline points="{line}" fill="none" stroke="{colour}"/>', *(dots if len(points) < 60 else [])]


def _range(points: Sequence[Point]) -> Point:
    """Return what an axis spans: all values, and a little more where they are equal."""
    low, high = min(value for _, value in points), max(value for _, value in points)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _placed(points: Sequence[Point], steps: int, low: float, high: float) -> list[Point]:
    """Steps and values -> px."""
    return [
        (_LEFT + _WIDTH * step / steps, _TOP + _HEIGHT * (1 - (value - low) / (high - low))) for step, value in points
    ]


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222222", *, size: int = 12) -> str:
    place = f'x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{html.escape(text)}</text>'


def _number(value: float) -> str:
    return f"{round(value, 1):g}"
