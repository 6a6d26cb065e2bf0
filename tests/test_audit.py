"""The audit: a planted bias is found and marked, and nothing is found where nothing was planted."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from fdetect.bench.audit import BIASED, HISTORY, LABEL_PROBES, Audit, Probe, audit, audited_rows, placebo_rows
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import samples_of
from fdetect.bench.report.tables import audit_grids, audit_mark, verdict_line
from fdetect.bench.run import audit_only
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.types import MANIFEST_COLUMNS, FeatureTable

SIDE = 88  # of the planted images: the smallest that the crop of 64 px lets shift by more than the margin of 8
PLANTED = 45  # images of each class

Row = dict[str, object]


def picture(rng: np.random.Generator, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A smooth random picture with some grain: of no class."""
    small = Image.fromarray(rng.integers(40, 216, (6, 6, 3), dtype=np.uint8))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)
    return np.clip(large + rng.normal(0, 3, large.shape), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


def audited(folder: Path, files: list[tuple[bytes, Row]], conditions: tuple[str, ...] = ("native", "matched")) -> Audit:
    """Write the images and a manifest, and do what `fdetect audit` does."""
    rows = []
    for k, (data, row) in enumerate(files):
        name = f"{k:04d}.{'jpg' if data[:2] == bytes((255, 216)) else 'png'}"
        (folder / name).write_bytes(data)
        rows.append({"path": name, "generator": "gan" if row["label"] else "", "group": name, **row})
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return audit_only(judged(folder / "manifest.csv", conditions), store=Store(folder / "store"))


def judged(data: Path, conditions: tuple[str, ...], **flags: object) -> RunConfig:
    settings = {"data.path": str(data), "conditions.names": conditions, "conditions.crop": 64, "metrics.replicates": 50}
    return override(RunConfig(), {**settings, **flags})


def planted(folder: Path, make, conditions: tuple[str, ...] = ("native", "matched")) -> Audit:
    rng = np.random.default_rng(0)
    files = [(make(rng, label), {"label": label}) for label in (0, 1) for _ in range(PLANTED)]
    return audited(folder, files, conditions)


def marks(found: Audit, condition: str) -> set[str]:
    return set(found.biased_by[condition])


def one(found: Audit, name: str, condition: str = "native") -> Probe:
    return next(p for p in found.probes if (p.condition, p.probe) == (condition, name))


# -- planted biases -------------------------------------------------------------------------------------------------


def test_dimensions_are_found_in_the_stored_files_and_gone_when_matched(tmp_path):
    def make(rng, label):
        return encoded(picture(rng, SIDE + 8 * int(rng.integers(0, 3)), SIDE if label else SIDE + 16))

    found = planted(tmp_path, make)
    assert "dimensions" in marks(found, "native")
    assert not marks(found, "native") & {"container", "tables_exif"}
    assert not marks(found, "matched") & {"dimensions", "container", "tables_exif"}
    probe = one(found, "dimensions")
    assert probe.auroc > 0.99
    assert probe.balanced_accuracy > 0.95
    assert (probe.n_real, probe.n_fake) == (PLANTED, PLANTED)
    assert probe.low <= probe.auroc <= probe.high


def test_container_and_tables_are_found(tmp_path):
    def make(rng, label):
        return encoded(picture(rng)) if label else encoded(picture(rng), "JPEG", quality=92, subsampling=2)

    found = planted(tmp_path, make)
    assert {"container", "tables_exif", "file_bytes"} <= marks(found, "native")
    assert "dimensions" not in marks(found, "native")
    assert not marks(found, "matched") & {"dimensions", "container", "tables_exif"}


def test_quantisation_tables_alone_are_found(tmp_path):
    def make(rng, label):
        return encoded(picture(rng), "JPEG", quality=(90, 88)[label], subsampling=2)

    found = planted(tmp_path, make, ("native",))
    assert "tables_exif" in marks(found, "native")
    assert not marks(found, "native") & {"dimensions", "container"}


def test_bytes_alone_are_found(tmp_path):
    def make(rng, label):
        return encoded(picture(rng), compress_level=(9, 1)[label])

    found = planted(tmp_path, make)
    assert marks(found, "native") - {"thumbnail"} == {"file_bytes"}
    assert one(found, "file_bytes").auroc > 0.99
    assert one(found, "file_bytes", "matched").auroc < 0.75  # what is left is chance, among 90 images
    assert not marks(found, "matched") & {"dimensions", "container", "tables_exif"}


def test_content_is_found_by_the_thumbnail_under_every_condition(tmp_path):
    def make(rng, label):
        return encoded(np.clip(picture(rng).astype(int) + 40 * label, 0, 255).astype(np.uint8))

    found = planted(tmp_path, make)
    assert "thumbnail" in marks(found, "native") & marks(found, "matched")


def test_nothing_is_marked_where_labels_are_drawn_by_lot(tmp_path):
    """280 images of one kind: balanced accuracy has a standard deviation of 0.03, 0.60 is more than three away."""
    rng = np.random.default_rng(1)
    files = [(encoded(picture(rng), "JPEG", quality=90), {"label": int(rng.integers(0, 2))}) for _ in range(280)]
    found = audited(tmp_path, files, ("native",))
    assert found.biased_by == found.unmeasured == {"native": ()}
    assert audit_mark(found.as_json(), "native") == ""
    assert [(p.condition, p.probe) for p in found.probes] == [("native", name) for name in LABEL_PROBES]
    for probe in found.probes:
        assert 0.35 < probe.auroc < 0.65
        assert probe.biased == (probe.balanced_accuracy > BIASED) is False


def test_pictures_of_one_group_do_not_give_each_other_away(tmp_path):
    """Forty scenes, each shown five times, labels by scene and by lot: told apart only by who knows the scene."""
    rng = np.random.default_rng(2)
    files = []
    for scene in range(40):
        label, base = scene % 2, picture(rng).astype(int)
        for _ in range(5):
            pixels = np.clip(base + rng.integers(-2, 3, base.shape), 0, 255).astype(np.uint8)
            files.append((encoded(pixels), {"label": label, "group": f"scene {scene}"}))
    found = audited(tmp_path, files, ("native",))
    probe = one(found, "thumbnail")
    assert probe.auroc < 0.7
    assert probe.high - probe.low > 0.15  # 40 scenes, not 200 pictures


# -- JPEG history ---------------------------------------------------------------------------------------------------

PHOTOGRAPHS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "ihc.png", "motorcycle_left.png",
               "brick.png", "gravel.png", "grass.png")  # fmt: skip


def crops(side: int = SIDE, each: int = 11) -> list[tuple[np.ndarray, str]]:
    """Crops of photographs that are installed with scikit-image as PNG."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    rng, found = np.random.default_rng(3), []
    for name in PHOTOGRAPHS:
        file = Path(spec.origin).parent / "data" / name
        if not file.exists():
            continue
        photo = np.asarray(Image.open(file).convert("RGB"))
        for _ in range(each):
            top, left = (int(rng.integers(0, length - side)) for length in photo.shape[:2])
            found.append((photo[top : top + side, left : left + side], name))
    return found


def test_one_jpeg_pass_is_read_natively_and_hardly_after_a_shifted_crop(tmp_path):
    files = [(encoded(pixels), {"label": 0, "group": f"{name} {k // 2}"}) for k, (pixels, name) in enumerate(crops())]
    files += [(encoded(pixels), {"label": 1}) for pixels, _ in crops(each=2)]
    found = audited(tmp_path, files)
    native, matched = (next(h for h in found.history if h.condition == c) for c in ("native", "matched"))
    assert native.kind == matched.kind == "placebo: half of the reals with one extra JPEG pass"
    assert native.auroc > 0.9
    assert 0.3 < matched.auroc < native.auroc - 0.1
    assert native.low <= native.auroc <= native.high
    assert native.n_with + native.n_without == sum(row["label"] == 0 for _, row in files)
    assert min(native.n_with, native.n_without) > 0.35 * (native.n_with + native.n_without)


def test_stored_png_and_jpeg_are_told_apart_within_the_fakes_on_unseen_generators(tmp_path):
    files: list[tuple[bytes, Row]] = [(encoded(pixels), {"label": 0}) for pixels, _ in crops(each=2)]
    for k, (pixels, _) in enumerate(crops(each=12)):
        generator, stored = (("a", "PNG"), ("b", "PNG"), ("c", "JPEG"), ("d", "JPEG"))[k % 4]
        settings = {"quality": 85} if stored == "JPEG" else {}
        files.append((encoded(pixels, stored, **settings), {"label": 1, "generator": generator}))
    found = audited(tmp_path, files, ("native",))
    fake, placebo = found.history
    assert (fake.images, fake.kind) == ("fake", "stored as PNG or JPEG, on unseen generators")
    assert fake.auroc > 0.8
    assert (fake.n_without, fake.n_with) == (54, 54)
    assert placebo.images == "real"


def tables(values: np.ndarray) -> dict[tuple[str, str], FeatureTable]:
    """Made-up history features beside label probes that know nothing, under native."""
    ids = tuple(f"{k:032x}" for k in range(len(values)))
    nothing = FeatureTable(ids, ids, ("x",), np.zeros((len(values), 1), np.float32))
    history = FeatureTable(ids, ids, tuple(f"h{k}" for k in range(values.shape[1])), values)
    return {**{("native", name): nothing for name in LABEL_PROBES}, ("native", HISTORY): history}


def given(rows: list[Row], values: np.ndarray, stored_as: list[str]) -> Audit:
    """The audit of made-up history features; the placebo is the reals as they are."""
    filled = [{**dict.fromkeys(MANIFEST_COLUMNS, ""), "path": str(k), **row} for k, row in enumerate(rows)]
    samples = samples_of(pa.Table.from_pylist(filled))
    made = tables(values.astype(np.float32))
    extra = placebo_rows(samples, made["native", HISTORY].ids)
    again = FeatureTable((), (), made["native", HISTORY].columns, values[extra].astype(np.float32))
    return audit(samples, stored_as, made, {"native": (extra, again)}, conditions=("native",), replicates=20)


def test_a_prompt_shared_by_generators_is_not_learnt_by_the_history_probe():
    """The features name the prompt and nothing else; prompts of a and b were stored as PNG, of c and d as JPEG."""
    rng = np.random.default_rng(4)
    rows: list[Row] = [{"label": 0} for _ in range(40)]
    values, stored = [rng.normal(size=8) for _ in rows], ["PNG"] * 40
    for pair, kind in (("ab", "PNG"), ("cd", "JPEG")):
        for k in range(60):
            prompt = rng.normal(size=8)
            for generator in pair if k % 2 else pair[k // 2 % 2]:
                rows.append({"label": 1, "generator": generator, "group": f"{pair} {k}"})
                values.append(prompt)
                stored.append(kind)
    found = given(rows, np.array(values), stored).history[0]
    assert found.images == "fake"
    assert abs(found.auroc - 0.5) < 0.13


def test_without_two_generators_of_each_kind_there_is_the_placebo_alone():
    rng = np.random.default_rng(5)
    rows: list[Row] = [{"label": 0} for _ in range(40)]
    rows += [{"label": 1, "generator": name} for name in "abc" for _ in range(10)]
    stored = ["PNG"] * 40 + ["PNG"] * 20 + ["JPEG"] * 10
    found = given(rows, rng.normal(size=(70, 4)), stored)
    assert [h.images for h in found.history] == ["real"]
    assert abs(found.history[0].auroc - 0.5) < 0.25  # the placebo of these features is no change at all


def test_too_few_images_give_no_figure_and_no_mark():
    rng = np.random.default_rng(6)
    rows: list[Row] = [{"label": 0} for _ in range(4)] + [{"label": 1, "generator": "a"} for _ in range(4)]
    found = given(rows, rng.normal(size=(8, 4)), ["PNG"] * 8)
    assert all(np.isnan(p.auroc) and np.isnan(p.balanced_accuracy) and not p.biased for p in found.probes)
    assert [np.isnan(h.auroc) for h in found.history] == [True]
    assert found.biased_by == {"native": ()}
    assert found.unmeasured == {"native": LABEL_PROBES}
    assert set(found.as_json()) == {"threshold", "images", "of", "biased_by", "unmeasured", "probes", "history"}
    probes, history = audit_grids(found.as_json())
    assert {row[-1] for row in probes.rows} == {"too few images (4 real, 4 fake)"}
    assert {row[3] for row in history.rows} == {"too few images"}
    assert audit_mark(found.as_json(), "native") == "not audited: too few images"


def test_images_that_failed_are_left_out_and_not_counted():
    rng = np.random.default_rng(7)
    rows: list[Row] = [{"label": k % 2, "generator": "a" if k % 2 else ""} for k in range(80)]
    values = rng.normal(size=(80, 4)) + 3 * np.array([[row["label"]] for row in rows])
    samples = samples_of(
        pa.Table.from_pylist([{**dict.fromkeys(MANIFEST_COLUMNS, ""), "path": str(k), **r} for k, r in enumerate(rows)])
    )
    holed = values.astype(np.float32)
    holed[:10] = np.nan
    made = tables(holed)
    made["native", "thumbnail"] = made["native", HISTORY]
    extra = placebo_rows(samples, made["native", HISTORY].ids)
    again = FeatureTable((), (), made["native", HISTORY].columns, holed[extra])
    found = audit(samples, ["PNG"] * 80, made, {"native": (extra, again)}, conditions=("native",), replicates=20)
    thumbnail = one(found, "thumbnail")
    assert (thumbnail.n_real, thumbnail.n_fake) == (35, 35)
    assert thumbnail.biased
    assert found.unmeasured == {"native": ()}
    holed[2:] = np.nan
    nearly_all = audit(samples, ["PNG"] * 80, made, {"native": (extra, again)}, conditions=("native",), replicates=20)
    assert nearly_all.unmeasured == {"native": ("thumbnail",)}
    mark = audit_mark(nearly_all.as_json(), "native")
    assert mark == "too few images for thumbnail"
    assert found.history[0].n_with + found.history[0].n_without == 35


def test_the_placebo_is_given_to_about_half_of_the_reals_whatever_their_order():
    rows = [{**dict.fromkeys(MANIFEST_COLUMNS, ""), "path": str(k), "label": k % 2} for k in range(400)]
    samples = samples_of(pa.Table.from_pylist(rows))
    ids = [f"{k:032x}" for k in range(400)]
    chosen = placebo_rows(samples, ids)
    assert 70 < len(chosen) < 130
    assert (samples.label[chosen] == 0).all()
    turned = placebo_rows(samples_of(pa.Table.from_pylist(rows[::-1])), ids[::-1])
    assert sorted(399 - turned) == chosen.tolist()


def test_images_that_the_probes_could_not_read_are_named(tmp_path):
    rng = np.random.default_rng(8)
    files = [(encoded(picture(rng)), {"label": k % 2}) for k in range(24)] + [(b"no image", {"label": 1})]
    found = audited(tmp_path, files, ("native",))
    assert {(failure.path, failure.stage) for failure in found.failures} == {("0024.png", "decode")}
    assert found.unmeasured == {"native": ()}


# -- a sample -------------------------------------------------------------------------------------------------------


def test_of_many_images_only_a_sample_is_read_and_every_output_says_so(tmp_path, monkeypatch):
    def make(rng, label):
        return encoded(picture(rng, SIDE + 8 * int(rng.integers(0, 3)), SIDE if label else SIDE + 16))

    everything = planted(tmp_path, make, ("native",))
    monkeypatch.setattr("fdetect.bench.audit.AUDITED", 60)
    manifest = read_manifest(tmp_path / "manifest.csv")
    rows = audited_rows(samples_of(manifest)).tolist()
    for row, path in enumerate(manifest["path"].to_pylist()):
        if row not in rows:
            (tmp_path / path).unlink()
    found = audit_only(judged(tmp_path / "manifest.csv", ("native",)), store=Store(tmp_path / "again"))
    assert (found.failures, found.images, found.of) == ((), len(rows), 2 * PLANTED)
    assert 55 <= found.images <= 65
    assert {probe.n_real + probe.n_fake for probe in found.probes} == {found.images}
    assert "dimensions" in marks(found, "native")
    said = f"Looked at {found.images} of {2 * PLANTED} images, whole groups."
    assert verdict_line(found.as_json()).endswith(said)
    assert [grid.note.endswith(said) for grid in audit_grids(found.as_json())] == [True, False]
    assert (everything.images, everything.of) == (2 * PLANTED, 2 * PLANTED)
    assert "Looked at" not in verdict_line(everything.as_json()) + audit_grids(everything.as_json())[0].note


def test_of_many_images_that_are_computed_anyway_a_sample_is_judged(monkeypatch):
    monkeypatch.setattr("fdetect.bench.audit.AUDITED", 40)
    rows: list[Row] = [{"label": k % 2, "generator": "a" if k % 2 else ""} for k in range(80)]
    found = given(rows, np.random.default_rng(9).normal(size=(80, 4)), ["PNG"] * 80)
    assert found.of == 80
    assert 36 <= found.images <= 44
    assert {probe.n_real + probe.n_fake for probe in found.probes} == {found.images}
    assert found.history[0].n_without + found.history[0].n_with == found.probes[0].n_real


# -- real images ----------------------------------------------------------------------------------------------------


def test_real_images_of_eight_generators_are_told_apart_by_their_dimensions(shared_data, tmp_path):
    taken: Counter[tuple[str, str]] = Counter()
    rows = []
    with (shared_data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if taken[row["generator"], row["real_source"]] < 16:
                taken[row["generator"], row["real_source"]] += 1
                rows.append(row)
    with (tmp_path / "some.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    flags = {"data.root": str(shared_data), "conditions.crop": 224}
    found = audit_only(judged(tmp_path / "some.csv", ("native",), **flags), store=Store(tmp_path / "store"))
    probes = {p.probe: p for p in found.probes}
    assert probes["dimensions"].auroc > 0.95
    assert {"dimensions", "file_bytes", "container"} <= marks(found, "native")
    assert probes["dimensions"].n_real + probes["dimensions"].n_fake == len(rows) == 200
