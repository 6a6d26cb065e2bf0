"""fdetect inspect at the command: exit codes, errors of one sentence, JSON, files, and whatever files claim or hold."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from metadata_files import chunk, exif, segment, written, xmp
from PIL import Image

from fdetect.bench.inspecting import inspector as inspecting
from fdetect.bench.inspecting import of_file
from fdetect.bench.inspecting.inspection import Inspection
from fdetect.bench.inspecting.placing import placed
from fdetect.bench.inspecting.references import FILE, References
from fdetect.bench.inspecting.shown import outputs
from fdetect.bench.inspecting.shown.as_json import schema
from fdetect.bench.inspecting.verdict import no_verdict
from fdetect.bench.inspecting.views import DRAWS, OTHER
from fdetect.classifiers.model_folder import CARD, digest_of, signed
from fdetect.classifiers.shipped import MODEL
from fdetect.cli import main
from fdetect.images import decode
from fdetect.metadata import read_metadata
from fdetect.metadata.manifest_bytes import manifest_size

SCRIPT, LINK = "<script>alert(1)</script>", "javascript:alert(2)"
IMAGE = f"'\"><img src=x onerror={LINK}>"
XMP_KEY, XMP_SEGMENT = b"XML:com.adobe.xmp", b"http://ns.adobe.com/xap/1.0/\0"
PROMPT = f"a cat {SCRIPT}\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: sd_xl"
WORKFLOW = json.dumps({"nodes": [{"id": 1, "type": "KSampler"}], "links": [], "version": 0.4})
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})
ENTITIES = "".join(f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
LAUGHS = f"<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY a 'lol'>{ENTITIES}]><x>&i;</x>".encode()
OUTSIDE = b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>"
NAMES = ("it's \"quoted\" & <b>.png", "one\ntwo.png", f"{SCRIPT.replace('/', '')}.png", "\u202egnp.exe.png",
         "x" * 240 + ".png", "-o.png", "図 é.png")  # fmt: skip
NO_UTF8 = "\udcff\udcfe.png"

Run = Callable[..., "Ran"]


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))

    @property
    def image(self) -> dict[str, Any]:
        """The only image of the JSON on stdout, which is as its schema says."""
        valid(self.json)
        (one,) = self.json["images"]
        return dict(one)

    @property
    def sentence(self) -> str:
        """What stderr says, which is one line."""
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of this module are; commands run in it."""
    folder = tmp_path_factory.mktemp("inspect")
    for name, data in (
        ("plain.png", plain()),
        ("claims.png", claiming()),
        ("hostile.jpg", hostile()),
        ("bomb.png", bomb()),
    ):
        (folder / name).write_bytes(data)
    (folder / "bad.jpg").write_bytes(b"no image")
    (folder / "text.txt").write_text("some text")
    return folder


@pytest.fixture(scope="module")
def inspect(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run `fdetect inspect` in this process, with a store that the tests of this module share."""
    base = tmp_path_factory.getbasetemp()

    def run(*arguments: object, columns: int = 100) -> Ran:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        code = 0
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (("FDETECT_CACHE", base / "store"), ("HF_HUB_CACHE", base / "no-hub"),
                                ("FDETECT_WEIGHTS", base / "no-weights"), ("COLUMNS", columns)):  # fmt: skip
                patch.setenv(name, str(value))
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["fdetect", "inspect", "--workers", "0", *map(str, arguments)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            try:
                main()
            except SystemExit as exit_:
                code = exit_.code if isinstance(exit_.code, int) else 1
        return Ran(code, *(one.buffer.getvalue().decode("utf-8") for one in (out, err)))

    return run


@pytest.fixture(scope="module")
def claimed(inspect: Run, folder: Path) -> Ran:
    """All of one picture that claims and holds much, with every kind of file and JSON on stdout."""
    out = [word for ending in ("html", "json", "csv", "parquet") for word in ("-o", f"out/claims.{ending}")]
    return inspect("claims.png", "--json", *out)


def pixels() -> np.ndarray:
    down, across = np.mgrid[0:336, 0:344]
    smooth = np.stack([across * 0.6, down * 0.7, (np.sin(across / 9) + np.cos(down / 13)) * 60 + 128], axis=-1)
    return np.clip(smooth + np.random.default_rng(0).normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def plain() -> bytes:
    return written(Image.fromarray(pixels()), "PNG")


def claiming() -> bytes:
    """The picture of `plain` with settings of generators, and XMP that attacks."""
    texts = {"parameters": PROMPT, "workflow": WORKFLOW, "prompt": GRAPH, "Software": f"Editor {LINK}"}
    chunks = [chunk(b"tEXt", f"{key}\0{text}".encode()) for key, text in texts.items()]
    return with_chunks(*chunks, *(chunk(b"iTXt", XMP_KEY + b"\0\0\0\0\0" + packet) for packet in (LAUGHS, OUTSIDE)))


def bomb() -> bytes:
    """The picture of `plain` with a text of 50 MB in 50 kB, and 50 MB of attributes in XMP."""
    many = b"<x " + b'a="1" ' * 9_000_000 + b"/>"
    return with_chunks(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 1)),
                       chunk(b"iTXt", XMP_KEY + b"\0\1\0\0\0" + zlib.compress(many, 1)))  # fmt: skip


def with_chunks(*chunks: bytes) -> bytes:
    data = plain()
    return data[:33] + b"".join(chunks) + data[33:]


def hostile() -> bytes:
    """A JPEG of the same picture whose EXIF and XMP hold script, links and signs that steer a terminal."""
    data = written(Image.fromarray(pixels()), "JPEG", quality=92)
    told = exif(Make=SCRIPT, Model=LINK, Software="Adobe Photoshop\x1b[31m", ImageDescription=IMAGE)
    packet = xmp(**{"xmp:CreatorTool": f"Midjourney \u202e{SCRIPT.replace('<', '&lt;')}"})
    segments = segment(0xE1, b"Exif\0\0" + told.removeprefix(b"Exif\0\0")), segment(0xE1, XMP_SEGMENT + packet)
    return data[:2] + b"".join(segments) + data[2:]


def held(path: Path, *, photographs: float, generated: float) -> Path:
    """Write references of the detector that ships: every view of a photograph has one score, of others another."""
    ships = References.shipped()
    real = {name: np.full(199, photographs) for name in ships.real}
    fake = {name: np.full(200, generated) for name in ships.generated}
    sources, generators = np.full(199, "mine", object), np.full(200, "theirs", object)
    about = {**ships.about, "digest": digest_of(MODEL)}
    References(real, fake, sources, generators, ships.profile[:0], ships.weight, about).save(path)
    return path


class _Page(HTMLParser):
    """Elements of a page and its text outside script and style."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words, self._inside = "", ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.words += "" if self._inside in ("script", "style") else data


def page_of(path: Path) -> _Page:
    """Read a page and check that nothing in it runs or is loaded but what every page has."""
    source = path.read_text(encoding="utf-8")
    page = _Page(source)
    assert [tag for tag, _ in page.elements].count("script") == 1
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("href", "src"):
            assert re.match(r"#|data:image/(png|jpeg);base64,|[\w./%-]+\.html$|$", attributes.get(name) or ""), (
                attributes
            )
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", source)
    return page


def valid(document: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install fdetect[test]")
    assert [error.message for error in jsonschema.Draft202012Validator(schema()).iter_errors(document)] == []


def test_one_image_is_a_document_on_stdout_and_every_file_is_written(claimed: Ran, folder: Path) -> None:
    assert claimed.code == 0, claimed.err
    assert claimed.json["schema"] == 1
    assert claimed.image["verdict"]["score"] is not None
    assert (folder / "out/claims.json").read_text() == claimed.out
    for table in (
        pyarrow.csv.read_csv(folder / "out/claims.csv"),
        pyarrow.parquet.read_table(folder / "out/claims.parquet"),
    ):
        assert table.num_rows == 1
        assert table.column("verdict").to_pylist() == [claimed.image["verdict"]["word"]]
        assert table.column("path").to_pylist() == ["claims.png"]
    assert claimed.image["verdict"]["word"] in page_of(folder / "out/claims.html").words


def test_claims_and_attacks_are_told_in_the_json(claimed: Ran) -> None:
    metadata = claimed.image["metadata"]
    generated = {claim["name"]: claim["value"] for claim in metadata["claims"] if claim["meaning"] == "generated"}
    assert SCRIPT in generated["parameters"]
    assert "KSampler" in generated["workflow"]
    assert "KSampler" in generated["prompt"]
    problems = " ".join(metadata["problems"])
    assert "document type or entities" in problems
    assert "root:" not in claimed.out  # /etc/passwd
    assert "lollol" not in claimed.out


def test_claims_are_on_the_page_and_make_no_element(claimed: Ran, folder: Path) -> None:
    words = " ".join(page_of(folder / "out/claims.html").words.split())
    assert claimed.code == 0
    assert "claims: made by a generator" in words
    assert "a cat <script>alert(1)</script> Negative prompt: dog" in words
    assert "Nothing below entered the verdict" in words
    assert "declares a document type or entities, as attacks do" in words


def test_claims_are_on_the_terminal(inspect: Run, claimed: Ran) -> None:
    ran = inspect("claims.png", "--quick")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == f"{claimed.image['verdict']['word'].upper()}: claims.png"
    assert any(re.match(r"    generator  PNG text parameters +a cat <script>", line) for line in lines)
    assert any(line.startswith("    generator  PNG text workflow") for line in lines)
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100


def test_script_links_and_escapes_in_exif_and_xmp_stay_text(inspect: Run, folder: Path) -> None:
    ran = inspect("hostile.jpg", "--quick", "-o", "hostile.html", "-o", "hostile.json")
    assert (ran.code, ran.err) == (0, "")
    for line in ran.out.splitlines():
        assert line.isprintable(), line
    assert "edited     EXIF Software        Adobe Photoshop\\x1b[31m\n" in ran.out
    assert "generator  XMP xmp:CreatorTool  Midjourney \\u202e<script>" in ran.out
    words = page_of(folder / "hostile.html").words
    for text in (SCRIPT, LINK, f"Midjourney \\u202e{SCRIPT}", IMAGE):
        assert text in words
    document = json.loads((folder / "hostile.json").read_text())
    valid(document)
    (one,) = document["images"]
    claims = {(claim["source"], claim["name"]): claim for claim in one["metadata"]["claims"]}
    assert claims["EXIF", "Make"]["value"] == SCRIPT
    assert claims["XMP", "xmp:CreatorTool"]["meaning"] == "generated"


def test_a_signed_manifest_is_told_once_even_of_a_picture_too_small_to_be_scored(inspect: Run, folder: Path) -> None:
    pytest.importorskip("c2pa")
    import test_credentials

    (folder / "signed.png").write_bytes(test_credentials.signed("PNG"))
    ran = inspect("signed.png", "--json", "-o", "signed.html")
    assert ran.code == 2  # every image failed
    assert ran.image["failure"]["reason"]
    assert ran.image["credentials"]["status"] == "untrusted signer"
    assert [claim["name"] for claim in ran.image["credentials"]["claims"] if claim["meaning"]] == ["c2pa.created"]
    words = page_of(folder / "signed.html").words
    assert words.count("c2pa.created") == 2  # in the line under the verdict, and in its place
    assert "bytes of Content Credentials" not in words
    told = inspect("signed.png").out
    assert "; Content Credentials: untrusted signer" in " ".join(told.split())
    assert told.count("too small") == 1


def test_a_signer_is_valid_where_a_root_that_is_given_vouches(inspect: Run, folder: Path) -> None:
    pytest.importorskip("c2pa")
    import test_credentials

    (folder / "vouched.png").write_bytes(test_credentials.signed("PNG"))
    root, other = test_credentials.CHAIN[2], test_credentials.certificates()[2]
    for name, text in (("root", f"# mine, é\n{root}"), ("other", other), ("both", other + root)):
        (folder / f"{name}.pem").write_text(text, encoding="utf-8")
    wanted = {"root": "valid", "other": "untrusted signer", "both": "valid"}
    found = {name: inspect("vouched.png", "--json", "--quick", "--trust", f"{name}.pem").image for name in wanted}
    assert {name: one["credentials"]["status"] for name, one in found.items()} == wanted
    assert found["both"]["about"]["trusted for Content Credentials"].startswith("2 certificates, SHA-256 ")
    assert "; Content Credentials: valid" in " ".join(inspect("vouched.png", "--trust", "root.pem").out.split())
    lines = root.splitlines()
    lines[3] = lines[3][:20] + "!" + lines[3][21:]
    (folder / "damaged.pem").write_text(other + "\n".join(lines))
    (folder / "sign.pem").write_text("-----BEGIN CERTIFICATE-----\né\n-----END CERTIFICATE-----", encoding="utf-8")
    for name, said in (("text.txt", "there is no certificate in it"), ("damaged.pem", "a certificate in it is damaged"),
                       ("sign.pem", "a certificate in it is damaged")):  # fmt: skip
        ran = inspect("vouched.png", "--trust", name)
        assert (ran.code, ran.out) == (2, "")
        assert f"--trust {name}: {said}; give a PEM file of root certificates" in ran.sentence
    assert inspect("vouched.png", "--trust", "gone.pem").code == 2


def test_of_many_images_thumbnails_are_told_by_their_size(inspect: Run, folder: Path) -> None:
    picture = Image.fromarray(pixels())
    small = written(picture.resize((86, 84)), "JPEG")
    data = written(picture, "JPEG", quality=92)
    jfxx = segment(0xE0, b"JFXX\0\x10" + small)  # a thumbnail as JPEG
    for k in range(4):
        (folder / f"small{k}.jpg").write_bytes(data[:20] + jfxx + data[20:])
    ran = inspect(*(f"small{k}.jpg" for k in range(4)), "--json", "--reports", "small", "-o", "small.html")
    valid(ran.json)
    assert [[at["jpeg"] for at in one["thumbnails"]] for one in ran.json["images"]] == [[{"bytes": len(small)}]] * 4
    assert {one["pixels"] for one in ran.json["images"]} == {None}
    sources = [attributes["src"] for tag, attributes in page_of(folder / "small.html").elements if tag == "img"]
    assert len(sources) == 4
    assert len(list((folder / "small").iterdir())) == 4


def test_no_more_small_pictures_are_made_than_a_page_has_room_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int, int]] = []
    for k in range(50):
        Image.fromarray(pixels()[:64, :64]).save(folder / f"room{k:02d}.png")
    made = [Inspection(f"room{49 - k:02d}.png", "", None, no_verdict("", None)) for k in range(50)]
    assert len(outputs.thumbnails(made, str(folder), lambda *step: steps.append(step))) == 50
    assert steps[0][1:] == (20, 50)
    assert steps[-1][1:] == (50, 50)
    monkeypatch.setattr(outputs, "LIMIT", 1000)
    assert sorted(outputs.thumbnails(made, str(folder))) == [f"room{k}.png" for k in range(30, 50)]  # the first ones


def test_a_reader_that_raises_costs_its_part_alone(
    inspect: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_args: object, **_named: object) -> None:
        raise RecursionError("too deep")

    for name in ("read_metadata", "read_credentials", "jpeg_history", "embedded_thumbnails"):
        monkeypatch.setattr(of_file, name, raises)
    for name in ("scores_of_tiles", "evidence_of"):
        monkeypatch.setattr(inspecting, name, raises)
    ran = inspect("plain.png", "-o", "raises.html", "-o", "raises.json", "-o", "raises.csv")
    assert (ran.code, ran.err) == (0, "")
    document = json.loads((folder / "raises.json").read_text())
    valid(document)
    (one,) = document["images"]
    assert one["verdict"]["p_real"] is not None
    assert [one[name] for name in ("metadata", "credentials", "history", "thumbnails")] == [None, None, None, []]
    assert sum("could not be read: RecursionError: too deep" in line for line in one["notices"]) == 5
    assert one["tiles"]["reason"] == "it could not be scored by tiles: RecursionError: too deep"
    assert "it could not be scored by tiles: RecursionError: too deep" in page_of(folder / "raises.html").words
    assert "Tiles: it could not be scored by tiles" in " ".join(ran.out.split())


def test_the_same_pixels_are_seen_alike_whatever_a_file_claims() -> None:
    """Pixels decide what every view shows; what a file claims, and so the hash of its bytes, does not."""
    one, other = decode(plain()), decode(claiming())
    assert np.array_equal(one.pixels, other.pixels)
    for name, draws in (("matched", 4), *((name, DRAWS) for name, _ in OTHER.values())):
        for k in range(draws):
            view = placed(name, k)
            shown = [view(image, id, seed=0, crop=224).pixels for image, id in ((one, "ab" * 16), (other, "cd" * 16))]
            assert np.array_equal(*shown), view.name


def test_what_a_file_claims_never_moves_the_verdict(inspect: Run, claimed: Ran) -> None:
    without = inspect("plain.png", "--quick", "--json").image
    assert without["metadata"]["claims"] == []
    for name in ("word", "because", "meaning", "p_real", "p_generated"):
        assert without["verdict"][name] == claimed.image["verdict"][name]
    values = ([one["standing"]["value"] for one in document["views"]] for document in (without, claimed.image))
    assert next(values) == pytest.approx(next(values), abs=1e-4)


def test_another_model_has_no_references_and_says_so(inspect: Run, folder: Path) -> None:
    copy = shutil.copytree(MODEL, folder / "copy")
    card = json.loads((copy / CARD).read_text(encoding="utf-8"))
    kept = {name: value for name, value in card.items() if name not in ("files", "digest")}
    files = {name: (copy / name).read_bytes() for name in card["files"]}
    (copy / CARD).write_bytes(signed({**kept, "purpose": "mine"}, files))  # the same detector, by another digest
    ships = inspect("plain.png", "--quick", "--json").image["verdict"]
    ran = inspect("plain.png", "--quick", "--json", "--model", copy)
    assert ran.code == 0
    assert ran.image["verdict"]["word"] == "no verdict"
    assert "no references" in ran.image["verdict"]["because"][0]
    assert ran.image["verdict"]["p_real"] is None
    assert ran.image["verdict"]["score"] == pytest.approx(ships["score"], abs=1e-4)
    refused = inspect("plain.png", "--model", copy, "--references", FILE)
    assert refused.code == 2
    assert f"--references {FILE}: they belong to another detector" in refused.sentence


def test_bombs_are_told_within_bounds(inspect: Run) -> None:
    ran = inspect("bomb.png", "--quick", "--json")
    problems = " ".join(ran.image["metadata"]["problems"])
    assert problems.count("is cut: it unpacks to more than") == 2
    assert "not well-formed" in problems  # what was unpacked of the XMP ends early
    assert len(ran.out) < 20_000


PREVENT = {
    "a text that unpacks to 2 MB": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
    "a colour profile of 2 MB": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2_000_000))),
    "a text with a wrong checksum": chunk(b"tEXt", b"Comment\0hi")[:-1] + b"\0",
    "a text packed by an unknown method": chunk(b"zTXt", b"Comment\0\5" + zlib.compress(b"x")),
    "EXIF that is none": chunk(b"eXIf", b"nonsense"),
}


@pytest.mark.parametrize("name", PREVENT)
def test_metadata_that_are_damaged_or_large_prevent_no_score(name: str) -> None:
    assert np.array_equal(decode(with_chunks(PREVENT[name])).pixels, pixels())


def test_several_images_are_one_document_with_failures_in_it(inspect: Run, folder: Path) -> None:
    ran = inspect("plain.png", "claims.png", "bad.jpg", "--json", "--quick", "--strict")
    assert ran.code == 3
    valid(ran.json)
    found = {one["path"]: one for one in ran.json["images"]}
    assert sorted(found) == ["bad.jpg", "claims.png", "plain.png"]
    assert found["bad.jpg"]["failure"]["stage"] == "decode"
    assert "No image of a known format" in found["bad.jpg"]["verdict"]["because"][0]
    assert found["plain.png"]["evidence"] == []
    assert inspect("plain.png", "bad.jpg", "--json", "--quick").code == 0


def test_a_claim_fails_the_command_where_that_is_asked_for(inspect: Run, folder: Path) -> None:
    stands_out = held(folder / "out.safetensors", photographs=-1000.0, generated=1000.0)
    ran = inspect("plain.png", "--quick", "--json", "--references", stands_out, "--fail-if-generated")
    assert ran.image["verdict"]["word"] == "likely generated"
    assert (ran.code, ran.sentence) == (1, "fdetect: --fail-if-generated: a verdict is likely generated")
    assert inspect("plain.png", "--quick", "--references", stands_out).code == 0
    ordinary = held(folder / "in.safetensors", photographs=-1000.0, generated=-1000.0)
    ran = inspect("plain.png", "--quick", "--json", "--references", ordinary, "--fail-if-generated")
    assert ran.image["verdict"]["word"] != "likely generated"
    assert ran.code == 0
    worse = inspect("plain.png", "bad.jpg", "--quick", "--references", stands_out, "--fail-if-generated", "--strict")
    assert worse.code == 1  # the gate comes first


@pytest.mark.parametrize(
    ("arguments", "named", "fix"),
    [
        (["gone.jpg"], "gone.jpg", "check the spelling"),
        ([], "no images were given", "name images, folders, patterns"),
        (["plain.png", "--out", "x.txt"], "--out x.txt", ".html, .json, .csv, .parquet"),
        (["plain.png", "--out", "noending"], "--out noending", ".html, .json, .csv, .parquet"),
        (["plain.png", "--out", "text.txt/x.html"], "text.txt", "a file is where a folder should be); choose"),
        (["plain.png", "--reports", "text.txt/x"], "text.txt", "a file is where a folder should be); choose"),
        (["plain.png", "--references", "text.txt"], "text.txt holds no references", "make them"),
        (["plain.png", "--references", "gone.safetensors"], "gone.safetensors", "make them"),
        (["plain.png", "--references", "other.safetensors"], "--references other.safetensors", "docs/inspect.md"),
        (["plain.png", "--model", "text.txt"], "text.txt", "not a fitted detector"),
        (["plain.png", "--model", "."], "no card.json", "not a fitted detector"),
    ],
)
def test_usage_errors_are_one_sentence(inspect: Run, folder: Path, arguments: list[str], named: str, fix: str) -> None:
    if "other.safetensors" in arguments:
        ships = References.shipped()
        replace(ships, about={**ships.about, "digest": "0" * 32}).save(folder / "other.safetensors")
    ran = inspect(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert named in ran.sentence
    assert fix in ran.sentence


def test_a_file_that_is_no_image_exits_with_2_alone_and_3_under_strict(inspect: Run) -> None:
    ran = inspect("bad.jpg", "--quick")
    assert ran.code == 2
    assert ran.out.startswith("NO VERDICT: bad.jpg\n  - No image of a known format")
    assert "every image failed" in ran.sentence
    assert inspect("bad.jpg", "--quick", "--strict").code == 3


def test_names_of_files_stay_names(inspect: Run, folder: Path) -> None:
    named = folder / "named"
    named.mkdir()
    for name in NAMES:
        (named / name).write_bytes(plain())  # the same content is computed once
    out = [word for ending in ("html", "csv", "json") for word in ("-o", f"names.{ending}")]
    ran = inspect("named", "--quick", "--json", *out)
    assert (ran.code, ran.err) == (0, "")
    paths = [one["path"] for one in ran.json["images"]]
    assert len(set(paths)) == len(NAMES)
    valid(ran.json)
    assert len({json.dumps(one["verdict"]) for one in ran.json["images"]}) == 1
    words = page_of(folder / "names.html").words
    assert "<script>alert(1)<script>" in words
    assert "\\u202egnp.exe" in words
    lines = pyarrow.csv.ParseOptions(newlines_in_values=True)
    assert pyarrow.csv.read_csv(folder / "names.csv", parse_options=lines).num_rows == len(NAMES)
    shown = inspect("named", "--quick")
    assert shown.code == 0
    for line in shown.out.splitlines():
        assert line.isprintable(), line
    alone = inspect("--quick", "--", os.path.join("named", NAMES[2]), os.path.join("named", NAMES[3]))
    assert "INCONCLUSIVE: <script>alert(1)<script>.png" in alone.out
    assert "INCONCLUSIVE: \\u202egnp.exe.png" in alone.out


def test_a_name_that_is_no_utf_8_is_told_and_steers_nothing(inspect: Run, folder: Path) -> None:
    (folder / NO_UTF8).write_bytes(plain())
    ran = inspect(NO_UTF8, "--quick", "-o", "bytes.html", "-o", "bytes.json")
    assert ran.out.startswith("NO VERDICT: \\xff\\xfe.png\n  - ")
    assert "stands for a byte of a name that is not UTF-8" in " ".join(ran.out.split())
    valid(json.loads((folder / "bytes.json").read_text(encoding="utf-8")))
    page_of(folder / "bytes.html")


def test_reports_of_several_images_are_linked_and_named_by_content(inspect: Run, folder: Path) -> None:
    ran = inspect("plain.png", "claims.png", "--quick", "--reports", "reports", "-o", "linked.html")
    assert ran.code == 0
    written_ = sorted(path.name for path in (folder / "reports").iterdir())
    assert len(written_) == 2
    for name in written_:
        assert re.fullmatch(r"00000[12]-[0-9a-f]{8}\.html", name)
        assert f"Report: reports/{name}" in ran.out
        page_of(folder / "reports" / name)
    links = [attributes.get("href") for tag, attributes in page_of(folder / "linked.html").elements if tag == "a"]
    assert {f"reports/{name}" for name in written_} <= set(links)


def test_pillow_says_nothing_of_damaged_metadata(inspect: Run, folder: Path) -> None:
    data = written(Image.fromarray(pixels()), "JPEG", quality=92)
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x10\x01\x02\0\xff\xff\xff\x7f\x08\0\0\0"
    mpf = b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x09\0\0\0\x00\0\0\0"
    (folder / "damaged.jpg").write_bytes(data[:2] + segment(0xE1, broken) + segment(0xE2, mpf) + data[2:])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ran = inspect("damaged.jpg", "--quick")
    assert (ran.code, ran.err) == (0, "")
    assert [str(one.message) for one in told] == []


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1000])
def test_a_box_may_claim_more_than_a_file_can_hold(length: int) -> None:
    start = struct.pack(">I4s4sI", 16, b"ftyp", b"avif", 0)
    uuid = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    header = struct.pack(">I4sQ", 1, b"uuid", length)
    assert manifest_size(start + header + uuid + bytes(50)) == 50  # what is there
    assert manifest_size(start + header.replace(b"uuid", b"free") + uuid + bytes(50)) == 0
    assert any("manifest" in claim.name for claim in read_metadata(start + header + uuid + bytes(50)).claims)


def test_the_report_that_is_named_is_the_page(inspect: Run) -> None:
    ran = inspect("plain.png", "--quick", "-o", "first.json", "-o", "page.html", "-o", "last.csv")
    assert ran.out.rstrip().endswith("\n  Report: page.html")
    assert "Report:" not in inspect("plain.png", "--quick", "-o", "first.json").out
