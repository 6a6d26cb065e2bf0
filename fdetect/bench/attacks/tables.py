"""What attacks came to, as figures, tables and files.

    attack.json     schema, detector, settings, figures, cautions, failures, attacks that were not run
    images.csv      one row a picture and attack: scores before and after, as they are and after a JPEG
    tables.md       the tables
    pictures/       attacked crops as PNG, where they are asked for: <content>_<attack>.png, draws one below the other
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from fdetect import __version__
from fdetect.bench.attacks.attacking import QUALITY, AttackedSet, AttackOn
from fdetect.bench.output import canonical_json
from fdetect.bench.report.grid import Grid, interval_text, markdown, printable
from fdetect.bench.report.svg import shortened
from fdetect.decide import exact_interval
from fdetect.errors import DataError
from fdetect.files import check_writable, write_atomic, write_table
from fdetect.images import decoder_id
from fdetect.metrics import TrialSample, evaluate, group_weights, interval
from fdetect.types import FAKE, REAL

__all__ = ["AS_THEY_ARE", "AttackRow", "attack_grids", "attack_rows", "check_folder", "write_attacks"]

AS_THEY_ARE = "as they are"
_SCHEMA = 1
_LONGEST = 80  # characters of a detector's name in a title


@dataclass(frozen=True)
class Called:
    """How many of n pictures of a class score above the frozen threshold; the exact 95 % interval of that rate."""

    k: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, scores: np.ndarray, threshold: float) -> Called:
        """Count scores, of which there is at least one."""
        k, n = int((scores > threshold).sum()), len(scores)
        return cls(k, n, *exact_interval(k, n))

    @property
    def text(self) -> str:
        """Count, rate and interval: "17 of 32 = 53 % (35 to 71)"."""
        return f"{self.k} of {self.n} = {100 * self.k / self.n:.0f} % ({100 * self.low:.0f} to {100 * self.high:.0f})"


@dataclass(frozen=True)
class AttackRow:
    """The figures of one attack, or of none, before or after the JPEG; NaN where something is not defined.

    fakes, reals    how many are called fake: found, and accused
    auroc           with its interval by group
    shift_fake, shift_real   mean change of a score by the attack and the JPEG
    psnr            dB of the attack's change, of the mean over pictures; NaN where nothing changed
    crossed_fake, crossed_real   attacked pictures whose answer was right and became wrong
    queries         median of the query at which it first did; NaN for the rows after the JPEG
    """

    pictures: str
    sent: bool
    fakes: Called
    reals: Called
    auroc: float
    low: float
    high: float
    shift_fake: float
    shift_real: float
    psnr: float
    crossed_fake: int
    crossed_real: int
    queries: float


def attack_rows(done: AttackedSet) -> tuple[AttackRow, ...]:
    """Return the figures: the pictures as they are, then each attack, each before and after the JPEG."""
    rows = [_row(done, AS_THEY_ARE, done.scores, None, sent=False), _row(done, AS_THEY_ARE, done.sent, None, sent=True)]
    for name, one in done.attacks.items():
        rows += [_row(done, name, one.scores, one, sent=False), _row(done, name, one.sent, one, sent=True)]
    return tuple(rows)


def _row(done: AttackedSet, name: str, scores: np.ndarray, one: AttackOn | None, *, sent: bool) -> AttackRow:
    label, threshold, ok = done.label, done.judge.threshold.value, np.isfinite(scores)
    group = np.array([image.group or id for image, id in zip(done.images, done.ids, strict=True)])
    unknown = np.full(int(ok.sum()), np.nan)
    trial = TrialSample(label[ok], scores[ok], unknown, unknown, group[ok])
    weights = group_weights(list(group), seed=done.seed)
    auroc = evaluate([trial], ["auroc"], weights)["auroc"]
    low, high = interval(auroc.replicates)
    fake, real = (ok & (label == value) for value in (FAKE, REAL))
    crossed = _crossed(done, scores)
    first = np.full(0, np.nan) if one is None or sent else _first(done, one)
    shift = scores - done.scores
    return AttackRow(
        name, sent, Called.of(scores[fake], threshold), Called.of(scores[real], threshold), auroc.value, low, high,
        float(shift[fake].mean()), float(shift[real].mean()), _psnr(one), int((crossed & fake).sum()),
        int((crossed & real).sum()), float(np.median(first)) if len(first) else math.nan,
    )  # fmt: skip


def _crossed(done: AttackedSet, scores: np.ndarray) -> np.ndarray:
    """(N,) bool: right before, wrong with these scores."""
    fake, threshold = done.label == FAKE, done.judge.threshold.value
    right = (done.scores > threshold) == fake
    return np.asarray(right & np.isfinite(scores) & ((scores > threshold) != fake))


def _first(done: AttackedSet, one: AttackOn) -> np.ndarray:
    """Return the query at which each picture that crossed the threshold did so."""
    here = _crossed(done, one.scores)
    wrong = (one.trail[here] > done.judge.threshold.value) != (done.label[here] == FAKE)[:, None]
    return np.asarray(wrong.argmax(axis=1))


def _psnr(one: AttackOn | None) -> float:
    change = 0.0 if one is None else float(one.change.mean())
    return 10 * math.log10(255**2 / change) if change else math.nan


def attack_grids(done: AttackedSet) -> list[Grid]:
    """Return the tables as they are shown and written."""
    rows = [
        (row.pictures + (f" + JPEG Q{QUALITY}" if row.sent else ""), row.fakes.text, row.reals.text,
         interval_text(row.auroc, row.low, row.high), _shift(row, row.shift_fake), _shift(row, row.shift_real),
         _number(row.psnr), _number(row.queries, 0))
        for row in attack_rows(done)
    ]  # fmt: skip
    columns = ("pictures", "fakes found", "reals accused", "AUROC", "change of fakes' score",
               "change of reals' score", "PSNR dB", "queries to cross")  # fmt: skip
    note = (f"Condition {done.judge.condition}; threshold {done.judge.threshold.text}, frozen, 5 % FPR promised. Fakes "
            "are attacked downwards, reals upwards. Rates have exact 95 % intervals, AUROC one by group; changes "
            "of scores are means. Queries to cross: median over pictures whose answer became wrong."
            + "".join(f" {one[:1].upper()}{one[1:]}." for one in done.cautions))  # fmt: skip
    called = shortened(done.judge.name, longest=_LONGEST)  # a head on many features has all their names
    whole = "" if called == printable(done.judge.name) else f" The detector is {done.judge.name}."
    made = [Grid(f"Attacks on {called}", columns, tuple(rows), note.rstrip() + whole)]
    settings = {name: ", ".join(f"{key}={value}" for key, value in one.settings.items())
                for name, one in done.attacks.items()}  # fmt: skip
    settings |= {name: f"not run: {why}" for name, why in done.not_run.items()}
    made.append(Grid("Attacks", ("attack", "settings"), tuple(settings.items())))
    if done.failures:
        lost = tuple((one.path, one.stage, one.reason) for one in done.failures)
        made.append(Grid("Failures", ("image", "stage", "reason"), lost, "They count in no figure of their row."))
    return made


def check_folder(out: Path) -> None:
    """Raise DataError for a folder with something in it, or one that cannot be written: before the work."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not empty; give a new folder, nothing was written")
    check_writable(out)


def write_attacks(done: AttackedSet, out: Path, *, images: bool = False) -> None:
    """Write every file, attack.json last: where it stands, the folder is complete."""
    write_table(_images(done), out / "images.csv")
    _text(out / "tables.md", markdown(attack_grids(done)))
    for name, one in done.attacks.items() if images else ():
        plain = re.sub(r"[^\w.+-]+", "_", name)[:80]
        for id, pixels in zip(done.ids, one.pixels, strict=True):
            picture = Image.fromarray(pixels)
            write_atomic(out / "pictures" / f"{id}_{plain}.png", partial(picture.save, format="PNG"))
    judge = done.judge
    whole: dict[str, Any] = {
        "schema": _SCHEMA, "fdetect": __version__, "decoder": decoder_id(), "detector": judge.name,
        "condition": judge.condition, "crop": judge.crop, "draws": judge.draws, "threshold": asdict(judge.threshold),
        "seed": done.seed, "quality": QUALITY, "contents": done.ids,
        "attacks": {name: dict(one.settings) for name, one in done.attacks.items()},
        "rows": [asdict(row) for row in attack_rows(done)], "not_run": dict(done.not_run),
        "failures": [asdict(one) for one in done.failures], "cautions": done.cautions,
    }  # fmt: skip
    _text(out / "attack.json", canonical_json(whole))


def _images(done: AttackedSet) -> pa.Table:
    rows = []
    for name, one in done.attacks.items():
        for k, image in enumerate(done.images):
            rows.append({
                "id": done.ids[k], "path": image.path, "label": image.label, "generator": image.generator,
                "real_source": image.real_source, "group": image.group, "attack": name, "score": done.scores[k],
                "score_jpeg": done.sent[k], "attacked": one.scores[k], "attacked_jpeg": one.sent[k],
                "mean_squared_change": one.change[k],
            })  # fmt: skip
    return pa.Table.from_pylist(rows)


def _shift(row: AttackRow, value: float) -> str:
    return "–" if row.pictures == AS_THEY_ARE and not row.sent else f"{value:+.3f}"


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _text(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
