"""Every row of the table of generators has an example that it finds in a real file, and neighbours that it does not."""

from __future__ import annotations

import json
import re

import pytest
from metadata_files import file_with, jpeg, saved, segment, xmp

from fdetect.metadata import MEANINGS, read_metadata
from fdetect.metadata.digital_source import DIGITAL_SOURCES, digital_source_meaning
from fdetect.metadata.generators import ROWS

WEB_UI = (
    "a lighthouse at night\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1234, Size: 512x512, Model hash: 31e35c80fc"
)
GRAPH = {"3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20}}}
WORKFLOW = {"last_node_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": [[1, 2, 3]], "version": 0.4}
NOVELAI = {"prompt": "a cat", "steps": 28, "sampler": "k_euler", "seed": 1, "uc": "lowres"}
JOB = "a lighthouse --ar 2:1 --v 6 Job ID: a7421d2f-b262-44f9-977c-ac23e9c7d3e3"
LABEL = {"Label": "1", "ContentProducer": "example", "ProduceID": "1"}
SIGNED = ("EXIF", "ImageDescription", "Signature: " + "qL3x" * 20)

EXAMPLES: dict[str, list[tuple[str, str, str]]] = {  # of each row; the first field is the one it finds
    "web UI settings": [("PNG text", "parameters", WEB_UI)],
    "ComfyUI graph": [("PNG text", "prompt", json.dumps(GRAPH))],
    "ComfyUI workflow": [("PNG text", "workflow", json.dumps(WORKFLOW))],
    "ComfyUI in EXIF": [("EXIF", "Model", "prompt:" + json.dumps(GRAPH))],
    "InvokeAI settings": [("PNG text", "invokeai_metadata", json.dumps({"app_version": "3.4"}))],
    "InvokeAI graph": [("PNG text", "invokeai_graph", json.dumps({"id": "1", "nodes": {"a": {}}, "edges": []}))],
    "InvokeAI sd-metadata": [("PNG text", "sd-metadata", json.dumps({"model_hash": "ab", "image": {"prompt": "a"}}))],
    "InvokeAI Dream": [("PNG text", "Dream", '"a lighthouse" -s 50 -S 1234 -W 512 -H 512 -C 7.5 -A k_lms')],
    "NovelAI settings": [("PNG text", "Comment", json.dumps(NOVELAI))],
    "NovelAI title": [("PNG text", "Title", "NovelAI generated image")],
    "NovelAI model": [("PNG text", "Source", "NovelAI Diffusion V4.5 4BDE2A90"), ("PNG text", "Software", "NovelAI")],
    "Fooocus scheme": [("PNG text", "fooocus_scheme", "fooocus")],
    "Fooocus settings": [("PNG text", "parameters", json.dumps({"base_model": "juggernaut", "performance": "Speed"}))],
    "SwarmUI settings": [("PNG text", "parameters", json.dumps({"sui_image_params": {"prompt": "a", "seed": 1}}))],
    "Easy Diffusion model": [("PNG text", "use_stable_diffusion_model", "sd-v1-5"), ("PNG text", "seed", "12")],
    "Easy Diffusion settings": [("EXIF", "UserComment", json.dumps({"seed": 12, "use_stable_diffusion_model": "a"}))],
    "TensorArt settings": [("PNG text", "generation_data", json.dumps({"prompt": "a", "baseModel": {"label": "x"}}))],
    "Midjourney job": [("PNG text", "Description", JOB)],
    "Midjourney prompt": [("PNG text", "Description", "a lighthouse --ar 2:1 --stylize 80 --v 6")],
    "Draw Things settings": [("XMP", "exif:UserComment", '{"c":"a","uc":"b","sampler":"DPM++","seed":1,"scale":7}')],
    "Grok signature": [("EXIF", "Artist", "1f0c9a52-7a4e-4d8e-9a53-0a8a5f6f0b11"), SIGNED],
    "FLUX reference code": [("EXIF", "Software", "AI generated;txt2img;flux")],
    "Google AI credit": [("XMP", "photoshop:Credit", "Made with Google AI")],
    "Meta AI credit": [("IPTC", "Credit", "Imagined with AI")],
    "IPTC system": [("XMP", "Iptc4xmpExt:AISystemUsed", "an image generator")],
    "Chinese label": [("XMP", "TC260:AIGC", json.dumps(LABEL))],
    "generating program": [("EXIF", "Software", "Adobe Firefly")],
    "credit to a generator": [("EXIF", "Make", "Ideogram AI")],
    "camera": [("EXIF", "Make", "Canon"), ("EXIF", "ExposureTime", "0.008")],
    "file source": [("EXIF", "FileSource", "3")],
    "raw developer": [("XMP", "crs:ProcessVersion", "11.0")],
    "editing program": [("EXIF", "Software", "Adobe Photoshop 25.1 (Windows)")],
}

MORE = [  # other forms that a row finds: key, then the fields
    ("web UI settings", ("EXIF", "UserComment", WEB_UI)),
    ("web UI settings", ("JPEG comment", "comment", WEB_UI)),
    ("ComfyUI in EXIF", ("EXIF", "Make", "workflow:" + json.dumps(WORKFLOW))),
    ("Midjourney job", ("EXIF", "ImageDescription", JOB)),
    ("Midjourney job", ("IPTC", "Caption", JOB)),
    ("Fooocus scheme", ("EXIF", "MakerNote", "fooocus")),
    ("SwarmUI settings", ("EXIF", "UserComment", json.dumps({"sui_image_params": {"prompt": "a"}}))),
    ("Google AI credit", ("IPTC", "Credit", "Edited with Google AI")),
    ("generating program", ("XMP", "xmp:CreatorTool", "Midjourney")),
    ("generating program", ("XMP", "xmp:CreatorTool", "DALL·E 3")),
    ("generating program", ("EXIF", "Software", "NovelAI Diffusion V4.5")),
    ("generating program", ("IPTC", "Originating Program", "Leonardo.Ai")),
    ("generating program", ("EXIF", "Software", "DiffusionBee")),
    ("generating program", ("EXIF", "Software", "Bing Image Creator")),
    ("generating program", ("EXIF", "Software", "Stable Cascade")),
    ("credit to a generator", ("EXIF", "Artist", "Midjourney v6")),
    ("credit to a generator", ("EXIF", "Make", "Black Forest Labs")),
    ("editing program", ("EXIF", "Software", "GIMP 2.10.36")),
    ("editing program", ("EXIF", "Software", "Snapseed 2.0")),
    ("editing program", ("XMP", "xmp:CreatorTool", "Adobe Lightroom 9.0 (Macintosh)")),
    ("editing program", ("EXIF", "Software", "Microsoft Designer")),
]

ORDINARY = [  # near a row, and no sign of what it finds
    ("PNG text", "prompt", "Please be prompt with your answer."),
    ("PNG text", "prompt", '{"question": "what is this?"}'),
    ("PNG text", "workflow", "photograph, print, scan"),
    ("PNG text", "workflow", '{"nodes": 3}'),
    ("PNG text", "parameters", "exposure 1/100, ISO 200"),
    ("PNG text", "parameters", "Steps: 3, walk to the church; Seed: 4 kinds of wheat"),
    ("PNG text", "Dream", "I had a dream of the sea -s"),
    ("PNG text", "Comment", '{"steps": 4, "text": "how to bake"}'),
    ("PNG text", "Comment", "my NovelAI pictures, and some from Midjourney"),
    ("PNG text", "Title", "How an AI generated image is recognised"),
    ("PNG text", "Source", "Stable Diffusion of heat: a lecture"),
    ("PNG text", "fooocus_scheme", "none that I know"),
    ("PNG text", "Stable Diffusion model", "of the seminar"),
    ("PNG text", "sd-metadata", "sd card 3"),
    ("PNG text", "invokeai_metadata", "{}"),
    ("PNG text", "generation_data", "second generation"),
    ("PNG text", "Software", "Imagen"),
    ("EXIF", "ImageDescription", "Midjourney between Rome and Naples, Job ID: 12"),
    ("EXIF", "ImageDescription", "The new Dream --v 6 engine"),
    ("EXIF", "ImageDescription", "generated by the sun; made with Google AI, some say"),
    ("EXIF", "ImageDescription", "Signature: unreadable"),
    ("EXIF", "Artist", "1f0c9a52-7a4e-4d8e-9a53-0a8a5f6f0b11"),  # without the signature
    ("EXIF", "Artist", "Leonardo da Vinci"),
    ("EXIF", "Artist", "Ideogrammatica Press"),
    ("EXIF", "Software", "Grok 9.2 (JPEG 2000 codec)"),
    ("EXIF", "Software", "HDR+ 1.0.220943774zd"),
    ("EXIF", "Software", "Flux Capacitor 1.0"),
    ("EXIF", "UserComment", '{"Label": "my holiday"}'),
    ("IPTC", "Credit", "Made with AI-free tools"),
    ("IPTC", "Caption", "A robot, imagined with AI, at a fair"),
    ("XMP", "dc:description", "trainedAlgorithmicMedia is a term of the IPTC"),
    ("XMP", "Iptc4xmpExt:DigitalSourceType", "http://example.org/trainedAlgorithmicMedia2"),
    ("JPEG comment", "comment", "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90"),
]


def test_every_row_has_an_example_and_no_example_is_of_no_row() -> None:
    assert [row.key for row in ROWS] == list(EXAMPLES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_is_well_formed(row) -> None:
    assert row.meaning in MEANINGS
    assert row.note
    for pattern in (row.where, *row.shape, *(row.also or ())):
        re.compile(pattern)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_finds_its_example_in_a_file(row) -> None:
    source, name, _ = EXAMPLES[row.key][0]
    told = read_metadata(file_with(*EXAMPLES[row.key]))
    found = [claim for claim in told.claims if (claim.source, claim.name) == (source, name)]
    assert [(claim.meaning, claim.note) for claim in found] == [(row.meaning, row.note)]
    assert told.problems == ()


@pytest.mark.parametrize("key, field", MORE, ids=lambda v: v if isinstance(v, str) else f"{v[0]} {v[1]}")
def test_a_row_finds_other_forms(key: str, field: tuple[str, str, str]) -> None:
    (row,) = (row for row in ROWS if row.key == key)
    told = read_metadata(file_with(field))
    assert [(claim.meaning, claim.note) for claim in told.claims] == [(row.meaning, row.note)]


@pytest.mark.parametrize("field", ORDINARY, ids=lambda field: f"{field[1]}: {field[2][:30]}")
def test_ordinary_text_means_nothing(field: tuple[str, str, str]) -> None:
    told = read_metadata(file_with(field))
    assert [(claim.source, claim.name, claim.meaning) for claim in told.claims] == [(field[0], field[1], "")]


def test_a_make_without_exposure_or_time_of_capture_is_no_camera() -> None:
    alone = read_metadata(file_with(("EXIF", "Make", "Canon"), ("EXIF", "Model", "Canon EOS R5")))
    assert {claim.meaning for claim in alone.claims} == {""}
    timed = read_metadata(file_with(("EXIF", "Make", "JVC"), ("EXIF", "DateTimeOriginal", "2001:07:03 18:58:42")))
    assert [claim.name for claim in timed.claims if claim.meaning == "camera"] == ["Make"]
    empty = read_metadata(file_with(("EXIF", "Make", "JVC"), ("EXIF", "DateTimeOriginal", "0000:00:00 00:00:00")))
    assert {claim.meaning for claim in empty.claims} == {""}


def test_a_generator_is_told_beside_a_camera() -> None:
    told = read_metadata(file_with(*EXAMPLES["camera"], ("EXIF", "UserComment", WEB_UI)))
    assert [claim.meaning for claim in told.claims] == ["generated", "camera", ""]


# -- where a picture comes from, in the IPTC's words ------------------------------------------------------------------

EXPECTED = {
    "generated": {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia",
                  "compositeSynthetic", "trainedAlgorithmicData"},
    "camera": {"digitalCapture", "computationalCapture", "negativeFilm", "positiveFilm", "print"},
    "edited": {"humanEdits", "minorHumanEdits", "algorithmicallyEnhanced", "composite", "compositeCapture"},
    "": {"digitalArt", "digitalCreation", "softwareImage", "dataDrivenMedia", "screenCapture", "virtualRecording",
         "empty"},
}  # fmt: skip


def test_every_term_has_the_meaning_stated_here() -> None:
    found = {meaning: {term for term, told in DIGITAL_SOURCES.items() if told[0] == meaning} for meaning in MEANINGS}
    assert found == EXPECTED


@pytest.mark.parametrize("term", DIGITAL_SOURCES)
@pytest.mark.parametrize("form", ["http://cv.iptc.org/newscodes/digitalsourcetype/{}", "digsrctype:{}", "{}",
                                  "https://cv.iptc.org/newscodes/digitalsourcetype/{}/"])  # fmt: skip
def test_a_term_is_known_in_each_form(term: str, form: str) -> None:
    assert digital_source_meaning(form.format(term)) == DIGITAL_SOURCES[term]


@pytest.mark.parametrize("text", ["", "photograph", "http://evil.example/digitalsourcetype", "x" * 10_000, "print it"])
def test_what_is_no_term_means_nothing(text: str) -> None:
    assert digital_source_meaning(text) == ("", "")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("as_element", [False, True])
def test_the_term_of_a_file_is_read_whatever_the_writer_calls_the_namespace(format: str, as_element: bool) -> None:
    uri = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    element = f"<Iptc4xmpExt:DigitalSourceType>{uri}</Iptc4xmpExt:DigitalSourceType>"
    packet = xmp(element) if as_element else xmp(Iptc4xmpExt_DigitalSourceType=uri)
    packet = packet.replace(b"Iptc4xmpExt:", b"iptcExt:").replace(b"xmlns:Iptc4xmpExt", b"xmlns:iptcExt")
    if format == "JPEG":
        data = jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))
    elif format == "PNG":
        data = file_with(("PNG text", "XML:com.adobe.xmp", packet.decode()))
    else:
        data = saved("WEBP", xmp=packet)
    (claim,) = read_metadata(data).claims
    assert (claim.source, claim.name, claim.value) == ("XMP", "Iptc4xmpExt:DigitalSourceType", uri)
    assert (claim.meaning, claim.note) == DIGITAL_SOURCES["trainedAlgorithmicMedia"]
