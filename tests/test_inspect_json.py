"""The JSON of one image: every field is there, in order, as the schema says, and nothing that JSON does not have."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_inspection import everywhere, inspection, picture, standing, unread

from fdetect.bench.inspecting.inspection import (
    VERDICTS,
    Evidence,
    Inspection,
    Standing,
    TileScores,
    Verdict,
    View,
)
from fdetect.bench.inspecting.shown.as_json import SCHEMA, _plain, as_json, schema
from fdetect.bench.inspecting.shown.words import AS_LITTLE, AS_MUCH
from fdetect.images import decode
from fdetect.metadata import read_metadata
from fdetect.metadata.claims import MEANINGS, Claim, Metadata
from fdetect.metadata.credentials import Credentials
from fdetect.metadata.thumbnails import Thumbnail
from fdetect.types import Facts, Failure

jsonschema = pytest.importorskip("jsonschema", reason="the schema is checked by jsonschema (pip install fdetect[test])")


def document_of(*images: dict[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "images": list(images)}


def refused(document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema()).iter_errors(document)]


def some() -> dict[str, Inspection]:
    one = inspection()
    no_tiles = TileScores(60, 80, np.zeros((0, 4), np.int64), np.zeros(0), np.zeros(0), "", "too small")
    return {
        "whole": one,
        "unread": unread(),
        "failed": replace(one, views=(), tiles=None, failure=Failure("ab", "x.jpg", "geometry", "too small")),
        "bare": replace(one, history=None, metadata=None, credentials=None, thumbnails=(), tiles=no_tiles, about={}),
        "without references": replace(one, views=(View("as stored", "", "matched", Standing(1.0, np.zeros(0))),)),
        "infinite": replace(one, verdict=replace(one.verdict, score=float("inf"), p_real=float("nan"))),
        "hostile": everywhere(one, "\u202e</script>\udcff\x00\n"),
        "NumPy": replace(one, verdict=replace(one.verdict, score=np.float32(0.5), p_real=np.float64(0.1))),
    }


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$id"] == "urn:fdetect:inspection:1"
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", list(some()))
def test_documents_are_as_the_schema_says(name: str) -> None:
    document = document_of(as_json(some()[name]))
    assert refused(document) == []
    written = json.dumps(document, allow_nan=False)
    assert json.loads(written) == document
    written.encode("utf-8")
    json.dumps(document, ensure_ascii=False).encode("utf-8")


def test_one_document_is_of_any_number_of_images() -> None:
    assert refused(document_of()) == []
    assert refused(document_of(*map(as_json, some().values()))) == []
    assert refused(as_json(inspection()))  # an image alone is none


def names_of(kind: type) -> list[str]:
    return ["exif_tags" if (kind, one.name) == (Facts, "exif") else one.name for one in fields(kind)]


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        (Inspection, ()), (Verdict, ("verdict",)), (View, ("views", 0)), (TileScores, ("tiles",)),
        (Evidence, ("evidence", 0)), (Facts, ("facts",)), (Metadata, ("metadata",)), (Claim, ("metadata", "claims", 0)),
        (Thumbnail, ("thumbnails", 0)), (Credentials, ("credentials",)),
    ],
)  # fmt: skip
def test_every_field_is_there_in_order(kind: type, at: tuple[Any, ...]) -> None:
    found: Any = as_json(inspection())
    for step in at:
        found = found[step]
    assert list(found) == names_of(kind)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Inspection, "image"), (Verdict, "verdict"), (View, "view"), (TileScores, "tiles"), (Evidence, "evidence"),
     (Facts, "facts"), (Failure, "failure"), (Claim, "claim"), (Metadata, "metadata")],
)  # fmt: skip
def test_the_schema_knows_every_field_and_no_other(kind: type, name: str) -> None:
    part = schema()["$defs"][name]
    assert list(part["properties"]) == names_of(kind) == part["required"]
    assert part["additionalProperties"] is False


def test_the_schema_knows_the_words() -> None:
    known = schema()
    assert known["$defs"]["verdict"]["properties"]["word"]["enum"] == list(VERDICTS)
    assert known["$defs"]["meaning"]["enum"] == list(MEANINGS)
    assert list(known["properties"]) == ["schema", "images"] == known["required"]
    shares = known["$defs"]["verdict"]["properties"]
    assert AS_MUCH.removeprefix("photographs") in shares["p_real"]["description"]
    assert AS_LITTLE in shares["p_generated"]["description"]


def test_what_exif_says_of_people_and_cameras_is_not_repeated() -> None:
    serial, owner = "SN 0123456789", "Jane Roe of Nowhere"
    exif = Image.Exif()
    for tags in (exif, exif.get_ifd(0x8769)):
        tags[0xA430], tags[0xA431] = owner, serial  # CameraOwnerName, BodySerialNumber
    exif[0x010F] = "Canon"
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", exif=exif)
    data = file.getvalue()
    facts = decode(data).facts
    assert dict(facts.exif) | {"BodySerialNumber": serial, "CameraOwnerName": owner} == dict(facts.exif)
    found = as_json(replace(inspection(), facts=facts, metadata=read_metadata(data)))
    assert found["facts"]["exif_tags"] == len(facts.exif) >= 3
    assert any(claim["value"] == "Canon" for claim in found["metadata"]["claims"])
    written = json.dumps(found)
    assert serial not in written
    assert owner not in written
    assert refused(document_of(found)) == []


def test_figures_are_as_they_are() -> None:
    document = as_json(inspection())
    assert document["verdict"]["score"] == 97.0
    assert document["views"][0]["standing"] == {"value": 97.0, "n": 99, "high": 0.04, "low": 0.98}
    assert document["views"][1]["standing"] == {"value": None, "n": 99, "high": None, "low": None}
    assert document["tiles"]["boxes"][1] == [0, 20, 20, 40]
    assert document["tiles"]["scores"] == [99.5, 97.0, 90.0, 1.0, None]
    assert document["tiles"]["high"] == [0.005, 0.04, 0.11, 1.0, None]
    assert document["evidence"][1]["standing"] is None
    assert document["evidence"][1]["weight"] is None
    assert document["pixels"] == {"shape": [60, 80, 3], "dtype": "uint8"}
    assert document["history"]["sentences"] == ["It is a JPEG of quality 90."]
    assert document["history"]["quality"] == 90
    assert document["history"]["signs"]["grid"] == 1.5
    assert document["thumbnails"][2]["jpeg"] == {"bytes": 10}
    assert document["facts"]["exif_tags"] == 1
    assert document["credentials"]["claims"][0]["meaning"] == "generated"
    assert document["crop"] == {"shape": [20, 30, 3], "dtype": "uint8"}
    assert as_json(unread())["pixels"] is None is as_json(unread())["crop"]
    assert as_json(unread())["failure"]["stage"] == "decode"


def test_half_a_surrogate_pair_is_written_as_its_escape() -> None:
    assert as_json(replace(inspection(), path="a\udcff.jpg"))["path"] == "a\\udcff.jpg"


def test_a_document_that_is_not_as_it_should_be_is_refused() -> None:
    whole = document_of(as_json(inspection()))

    def spoiled(*at: Any, to: Any) -> dict[str, Any]:
        copy = json.loads(json.dumps(whole))
        inner: Any = copy
        for step in at[:-1]:
            inner = inner[step]
        inner[at[-1]] = to
        return dict(copy)

    assert not refused(spoiled("images", 0, "path", to="other.jpg"))
    assert refused(spoiled("images", 0, "verdict", "word", to="fake"))
    assert refused(spoiled("images", 0, "verdict", "p_real", to=1.5))
    assert refused(spoiled("schema", to=2))
    assert refused(spoiled("more", to=1))
    assert refused(spoiled("images", 0, "more", to=1))
    assert refused(spoiled("images", 0, "facts", "exif", to=[["Make", "Canon"]]))
    assert refused(spoiled("images", 0, "tiles", "boxes", 0, to=[1, 2, 3]))
    assert refused(spoiled("images", 0, "metadata", "claims", 0, "meaning", to="true"))
    assert refused(spoiled("images", 0, "pixels", to=[1, 2, 3]))
    assert refused(spoiled("images", 0, to={key: value for key, value in whole["images"][0].items() if key != "id"}))


def test_a_value_without_a_form_is_an_error() -> None:
    @dataclass(frozen=True)
    class Odd:
        of: Any

    assert _plain(Odd({"a": standing(50.0), 1: np.bool_(True), "z": np.zeros((8, 8))})) == {
        "of": {"a": {"value": 50.0, "n": 99, "high": 0.51, "low": 0.51}, "1": True,
               "z": {"shape": [8, 8], "dtype": "float64"}}}  # fmt: skip
    with pytest.raises(TypeError, match="holds a complex"):
        _plain(Odd(1j))
