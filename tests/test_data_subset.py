"""`fdetect data subset`: the same images in any order, whole groups, each content once; what is left out is said."""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pytest
from click.testing import CliRunner
from test_data_check import encoded, picture, put
from test_layouts import write

from fdetect.bench.data.subset import draw_subset, portable
from fdetect.bench.layouts import read_manifest
from fdetect.cli import cli
from fdetect.errors import DataError, ParameterError
from fdetect.types import records


@pytest.fixture
def tree(tmp_path):
    for i in range(12):
        put(tmp_path, f"fake/a/{i}.png", encoded(picture(i, 40)))
        put(tmp_path, f"real/x/{i}.png", encoded(picture(100 + i, 40)))
    for i in range(3):
        put(tmp_path, f"fake/b/{i}.png", encoded(picture(50 + i, 40)))
    return tmp_path


def names(subset):
    return Counter(r.generator or r.real_source for r in records(subset.manifest))


def test_so_many_of_each(tree):
    drawn = draw_subset(tree, per_generator=5)
    assert names(drawn) == {"a": 5, "b": 3, "x": 5}
    assert drawn.taken == {(0, "x", ""): 5, (1, "a", ""): 5, (1, "b", ""): 3}
    assert drawn.available == {(0, "x", ""): 12, (1, "a", ""): 12, (1, "b", ""): 3}
    assert (drawn.copies, drawn.conflicts, drawn.failures) == (0, 0, ())
    assert names(draw_subset(tree, per_generator=2, per_source=9)) == {"a": 2, "b": 2, "x": 9}
    table = read_manifest(tree)
    assert drawn.manifest.column_names == table.column_names
    paths = table["path"].to_pylist()
    assert drawn.manifest["path"].to_pylist() == [p for p in paths if p in set(drawn.manifest["path"].to_pylist())]


def test_order_and_names_change_nothing(tree, tmp_path_factory):
    """The choice is by content: other names, another order, the same pictures."""
    contents = lambda root, subset: {(root / path).read_bytes() for path in subset.manifest["path"].to_pylist()}
    table = read_manifest(tree)
    first = contents(tree, draw_subset(table, per_generator=4))
    shuffled = list(range(table.num_rows))
    random.Random(1).shuffle(shuffled)
    assert contents(tree, draw_subset(table.take(pa.array(shuffled)), per_generator=4)) == first
    other = tmp_path_factory.mktemp("other")
    for k, row in enumerate(records(table)):
        put(other, f"{'fake' if row.label else 'real'}/{row.generator or row.real_source}/{99 - k}.png",
            (tree / row.path).read_bytes())  # fmt: skip
    assert contents(other, draw_subset(other, per_generator=4)) == first
    assert contents(tree, draw_subset(table, per_generator=4, seed=1)) != first


def grouped(root, sizes):
    """A manifest of groups: name -> generators of its images, "" for a real one."""
    rows, k = ["path,label,generator,real_source,group"], 0
    for group, generators in sizes.items():
        for name in generators:
            put(root, f"{k}.png", encoded(picture(k, 40)))
            rows.append(f"{k}.png,{int(bool(name))},{name},{'' if name else 'x'},{group}")
            k += 1
    return write(root / "manifest.csv", "\n".join(rows) + "\n")


def test_groups_are_whole_or_absent(tmp_path):
    sizes = {f"g{k}": ["a", "a", "b", ""] for k in range(6)} | {"huge": ["c"] * 7, "small": ["c"] * 2}
    data = grouped(tmp_path, sizes)
    drawn = draw_subset(data, per_generator=5)
    taken: dict[str, int] = Counter(r.group for r in records(drawn.manifest))
    assert all(n == len(sizes[group]) for group, n in taken.items())
    assert names(drawn) == {"a": 4, "b": 2, "x": 2, "c": 2}  # never above 5, and "huge" never fits
    assert drawn.available[1, "c", ""] - drawn.taken[1, "c", ""] == 7


def test_nothing_to_take_is_refused(tmp_path):
    data = grouped(tmp_path, {"video": ["c"] * 4, "film": [""] * 4})
    with pytest.raises(DataError, match="every group has more than 3 images of a generator, or more than 3 of a real"):
        draw_subset(data, per_generator=3)
    for k in range(8):
        put(tmp_path, f"{k}.png", f"no picture {k}".encode())
    with pytest.raises(DataError, match="no image can be drawn: all are unreadable"):
        draw_subset(data, per_generator=4)


def test_the_scarcest_chooses_first(tmp_path):
    """Groups of two generators: the one with few images would find them full, if the other chose first."""
    sizes = {f"a{k}": ["a"] for k in range(30)} | {f"both{k}": ["a", "rare"] for k in range(4)}
    for seed in range(3):
        assert names(draw_subset(grouped(tmp_path, sizes), per_generator=4, seed=seed))["rare"] == 4


def test_splits_are_drawn_apart(tmp_path):
    for split in ("train", "test"):
        for i in range(4):
            put(tmp_path, f"{split}/real/{i}.png", encoded(picture(i + 10 * len(split), 40)))
            put(tmp_path, f"{split}/fake/g/{i}.png", encoded(picture(i + 100 * len(split), 40)))
    drawn = draw_subset(tmp_path, per_generator=2)
    assert drawn.taken == {(0, "", "test"): 2, (0, "", "train"): 2, (1, "g", "test"): 2, (1, "g", "train"): 2}


def test_copies_once_conflicts_never_and_unreadable_ones_replaced(tree):
    put(tree, "real/x/copy.png", (tree / "real/x/0.png").read_bytes())
    put(tree, "fake/b/wrong.png", (tree / "real/x/1.png").read_bytes())
    bad = [name for name in ("0", "1") for _ in [put(tree, f"fake/b/{name}.png", b"no picture " + name.encode())]]
    drawn = draw_subset(tree, per_generator=12)
    paths = set(drawn.manifest["path"].to_pylist())
    assert names(drawn) == {"a": 12, "b": 1, "x": 11}
    assert "real/x/0.png" in paths
    assert not paths & {"real/x/copy.png", "real/x/1.png", "fake/b/wrong.png"}
    assert (drawn.copies, drawn.conflicts) == (1, 2)
    assert {one.path for one in drawn.failures} == {f"fake/b/{name}.png" for name in bad}
    with pytest.raises(ParameterError, match="per_generator is 0"):
        draw_subset(tree, per_generator=0)


def test_written_manifest_reads_back(tree, tmp_path_factory):
    drawn = draw_subset(tree, per_generator=1)
    inside, root = portable(drawn.manifest, tree.parent / "part.csv")
    assert root == ""
    assert all((tree.parent / path).is_file() for path in inside["path"].to_pylist())
    away, root = portable(drawn.manifest, tmp_path_factory.mktemp("away") / "part.csv")
    assert root == str(tree)
    assert away.equals(drawn.manifest)
    there = drawn.manifest.replace_schema_metadata({"fdetect.root": "memory://bucket/set"})
    assert portable(there, tree.parent / "part.csv") == (there, "memory://bucket/set")


def test_command(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "part.csv"
    put(tree, "fake/b/bad.png", b"no picture")
    arguments = ["data", "subset", str(tree), "--per-generator", "4", "--workers", "0", "-o"]
    done = CliRunner().invoke(cli, [*arguments, str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"11 images: {out}; read it with --root {tree}" in done.output
    assert "1 image left out: unreadable" in done.output
    assert names(draw_subset(out, root=tree, per_generator=99)) == {"a": 4, "b": 3, "x": 4}
    again = CliRunner().invoke(cli, [*arguments, str(tree / "part.parquet"), "--strict"], catch_exceptions=False)
    assert again.exit_code == 3
    assert read_manifest(tree / "part.parquet").num_rows == 11
    same = CliRunner().invoke(cli, ["data", "subset", str(out), *arguments[3:], str(out)])
    assert isinstance(same.exception, ParameterError)
    assert "nothing was written" in str(same.exception)


def test_nothing_of_others_is_written_over(tree):
    manifest = tree / "manifest.csv"
    rows = ["path,label,generator", *(f"fake/b/{i}.png,1,b" for i in range(3))]
    write(manifest, "\n".join(rows) + "\n")
    text = manifest.read_text()
    arguments = ["--per-generator", "2", "--workers", "0", "-o"]
    for data in (tree, manifest):
        done = CliRunner().invoke(cli, ["data", "subset", str(data), "--layout", "manifest", *arguments, str(manifest)])
        assert "nothing was written" in str(done.exception)
        assert manifest.read_text() == text
    notes = write(tree.parent / "notes.csv", "my,notes\n1,2\n")
    for command in (["subset", str(manifest), *arguments], ["check", str(manifest), "--workers", "0", "-o"]):
        done = CliRunner().invoke(cli, ["data", *command, str(notes)])
        assert "is no output of fdetect data" in str(done.exception)
        assert notes.read_text() == "my,notes\n1,2\n"
    for name in ("part.csv", "part.parquet"):
        for _ in range(2):  # its own output is written again
            done = CliRunner().invoke(cli, ["data", "subset", str(manifest), *arguments, str(tree.parent / name)])
            assert done.exit_code == 0


def test_names_of_generators_do_not_decide_ties(tmp_path):
    """Two generators of as many images, in shared groups of which one fits: the same whatever they are called."""
    for seed in range(4):
        found = []
        for names in (("a", "z"), ("z", "a")):
            root = tmp_path / f"{seed}{names[0]}"
            one, other = names
            groups = {"g0": [one, other, other], "g1": [other, one, one], "g2": [one], "g3": [other]}
            drawn = draw_subset(grouped(root, groups), per_generator=2, seed=seed)
            found.append(drawn.manifest["path"].to_pylist())
        assert found[0] == found[1]


def test_of_copies_the_one_in_the_test(tmp_path):
    for name in ("0.png", "9.png"):
        put(tmp_path, name, encoded(picture(1, 40)))
    data = write(tmp_path / "m.csv", "path,label,split\n0.png,1,train\n9.png,1,test\n")
    assert draw_subset(data, per_generator=3).manifest["path"].to_pylist() == ["9.png"]


def test_a_generator_of_which_nothing_is_taken_is_said(tmp_path, capsys):
    """One whose groups are all shared with others, and these are full."""
    rows = [("", 0, f"r{i}", f"r{i}") for i in range(4)]
    rows += [("a", 1, f"a{i}", "one" if i < 2 else f"a{i}") for i in range(3)]
    rows += [(name, 1, f"{name}{i}", "one") for name in ("b",) for i in range(3)]
    for k, (_, label, name, _) in enumerate(rows):
        put(tmp_path, f"{name}.png", encoded(picture(k + 10 * label, 40)))
    write(tmp_path / "m.csv", "path,label,generator,group\n" + "".join(
        f"{name}.png,{label},{generator},{group}\n" for generator, label, name, group in rows))  # fmt: skip
    found = CliRunner().invoke(cli, ["data", "subset", str(tmp_path / "m.csv"), "--per-generator", "2", "-o",
                                     str(tmp_path / "part.csv"), "--workers", "0"])  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "not one image was taken of b: groups are taken whole" in found.stderr
    assert "of a" not in found.stderr
