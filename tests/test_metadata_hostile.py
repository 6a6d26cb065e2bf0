"""Files made to harm a reader of metadata: bombs, loops, false lengths, damage, and any bytes at all."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metadata_files import box, chunk, exif, gif, iptc, jpeg, png, resources, saved, segment, tiff, xmp
from PIL import features

from fdetect.metadata import Metadata, read_metadata
from fdetect.metadata.claiming import MOST_CLAIMS
from fdetect.metadata.claims import LONGEST, MEANINGS
from fdetect.metadata.ledger import TEXT

XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"


def checked(data: bytes) -> Metadata:
    """Read, and check what every reading promises."""
    told = read_metadata(data)
    for claim in told.claims:
        assert claim.meaning in MEANINGS
        assert claim.name
        assert claim.value
        assert len(claim.value) <= LONGEST + 40
        assert len(claim.name) <= 130
        assert "\n" not in claim.value + claim.name
        (claim.name + claim.value + claim.note).encode("utf-8")  # no half of a pair
    assert len(set(told.claims)) == len(told.claims) <= MOST_CLAIMS
    assert len(told.problems) <= 22
    assert all(len(problem) < 300 for problem in told.problems)
    return told


def in_xmp(packet: bytes) -> bytes:
    return png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))


# -- bombs ------------------------------------------------------------------------------------------------------------


def test_a_packed_text_of_100_megabytes_is_cut_and_the_others_are_read() -> None:
    bomb = zlib.compress(bytes(100 << 20), 1)
    data = png(chunk(b"zTXt", b"Comment\0\0" + bomb), chunk(b"tEXt", b"Software\0GIMP 2.10"))
    tracemalloc.start()
    begin = time.perf_counter()
    told = checked(data)
    took, (_, peak) = time.perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told.problems == (f"the PNG text 'Comment' is cut: it unpacks to more than {TEXT} bytes",)
    assert [claim.value for claim in told.claims if claim.meaning == "edited"] == ["GIMP 2.10"]
    assert peak < 20 << 20
    assert took < 2


def test_many_bombs_together_are_bounded() -> None:
    bomb = zlib.compress(b"a" * (4 << 20), 9)
    data = png(*(chunk(b"iTXt", b"k%d\0\1\0\0\0" % k + bomb) for k in range(300)), chunk(b"tEXt", b"a\0b"))
    begin = time.perf_counter()
    told = checked(data)
    assert time.perf_counter() - begin < 3
    assert any("at most" in problem for problem in told.problems)
    assert len(told.claims) <= 8


LAUGHS = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a0 "lol">%s]><x:a xmlns:x="adobe:ns:meta/">&a9;</x:a>'
ENTITIES = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))


@pytest.mark.parametrize(
    "packet",
    [
        (LAUGHS % ENTITIES).encode(),
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY % b SYSTEM "file:///etc/passwd"> %b;]><a/>',
        b"<!DOCTYPE a><a/>",
    ],
    ids=["billion laughs", "external entity", "external DTD", "parameter entity", "bare DTD"],
)
def test_document_types_and_entities_are_refused(packet: bytes) -> None:
    told = checked(in_xmp(packet))
    assert told.claims == ()
    assert told.problems == ("its XMP packet is not read on: it declares a document type or entities, as attacks do",)


@pytest.mark.parametrize(
    "packet, words",
    [
        (b"<a>" * 50_000, "is cut: it has too many elements"),
        (xmp("<dc:title>x</dc:title>" * 30_000), "is cut: it has too many elements"),
        (b"<a " + b" ".join(b'k%d="v"' % k for k in range(30_000)) + b"/>", "is cut: it has too many elements"),
        (b"<a>" + b"x" * (5 << 20) + b"</a>", "above the limit"),
        (b"<a>&undefined;</a>", "is not well-formed XML: undefined entity"),
        (b"\xff\xfe<\0a", "is not well-formed XML"),
        (b'<?xml version="1.0" encoding="no-such-code"?><a/>', "is not"),
        (b"<a>&#xD800;</a>", "is not well-formed XML"),
        (b"not XML at all", "is not well-formed XML"),
        (b"<a>\xff\xfe</a>", "is not well-formed XML"),
    ],
)
def test_damaged_and_overlong_xmp_is_told(packet: bytes, words: str) -> None:
    begin = time.perf_counter()
    told = checked(in_xmp(packet))
    assert time.perf_counter() - begin < 3
    assert any(words in problem for problem in told.problems)


def test_what_stands_before_the_fault_of_xmp_is_kept() -> None:
    told = checked(in_xmp(xmp(xmp_CreatorTool="Adobe Firefly")[:-60] + b"<&>"))
    assert [claim.meaning for claim in told.claims] == ["generated"]
    assert len(told.problems) == 1


def test_a_foreign_namespace_does_not_pass_for_a_known_one() -> None:
    packet = b'<xmp:CreatorTool xmlns:xmp="http://example.org/">Midjourney</xmp:CreatorTool>'
    (claim,) = checked(in_xmp(packet)).claims
    assert claim.meaning == ""
    assert claim.name != "xmp:CreatorTool"


# -- EXIF and TIFF ----------------------------------------------------------------------------------------------------


def pointing(target: int) -> bytes:
    """A TIFF whose EXIF pointer leads to `target`."""
    return tiff((0x8769, 4, 1, struct.pack("<I", target)), (0x10F, 2, 4, b"Me \0"))


@pytest.mark.parametrize(
    "block, words",
    [
        (pointing(8), None),  # to the directory itself: a loop, were it followed
        (pointing(0), "a directory of its EXIF or TIFF claims"),
        (pointing(0xFFFFFFF0), "a directory of its EXIF or TIFF lies outside it"),
        (tiff((0x10F, 2, 0xFFFFFFFF, b"abcde")), "its EXIF tag Make points outside its EXIF or TIFF"),
        (tiff((0x829A, 5, 0xFFFFFFFF, b"abcde")), "its EXIF tag ExposureTime points outside its EXIF or TIFF"),
        (tiff((0x10F, 99, 7, b"abcde")), "its EXIF tag Make is not read: its type 99 is not known"),
        (tiff((0x829A, 5, 1, bytes(8))), None),  # 0/0 seconds
        (tiff((0x829A, 12, 1, struct.pack("<d", float("nan")))), None),
        (tiff((0x10F, 2, 4, b"a\0\0\0"))[:10], "a directory of its EXIF or TIFF claims"),
        (b"II*\0", "its EXIF or TIFF ends within its header"),
        (b"II*\0\xff\xff\xff\xff", "a directory of its EXIF or TIFF lies outside it"),
        (b"MM\0+\0\x08\0\0" + b"\xff" * 8, "a directory of its EXIF or TIFF lies outside it"),
        (b"II*\0\x08\0\0\0\xff\xff" + bytes(12 * 100), "claims 65535 tags; 100 are read"),
        (b"no TIFF", "its EXIF has no TIFF header"),
    ],
)
def test_false_exif_is_told_and_ends(block: bytes, words: str | None) -> None:
    told = checked(png(chunk(b"eXIf", block), chunk(b"tEXt", b"Author\0Me")))
    assert ("PNG text", "Author", "Me") in [(claim.source, claim.name, claim.value) for claim in told.claims]
    if words is None:
        assert told.problems == ()
    else:
        assert any(words in problem for problem in told.problems), told.problems


def test_tags_that_share_the_same_bytes_are_not_copied_without_end() -> None:
    big = 900_000
    entries = [(tag, 1, big, None) for tag in (0x10E, 0x10F, 0x110, 0x131, 0x13B, 0x8298, 0x132, 0x13C, 0x10D) * 100]
    body = b"".join(struct.pack("<HHII", tag, kind, count, 8) for tag, kind, count, _ in entries)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(big)
    begin = time.perf_counter()
    checked(data)
    assert time.perf_counter() - begin < 2


# -- containers -------------------------------------------------------------------------------------------------------


def test_truncated_files_tell_it_at_every_length() -> None:
    block, records = exif(Make="Canon", Model="EOS", UserComment=b"ASCII\0\0\0hello"), resources(iptc((80, b"Me")))
    packet = xmp(xmp_CreatorTool="GIMP")
    files = [
        jpeg(segment(0xE1, block), segment(0xE1, XMP_MARK + packet), segment(0xED, b"Photoshop 3.0\0" + records)),
        png(chunk(b"eXIf", block.removeprefix(b"Exif\0\0")), chunk(b"tEXt", b"Author\0Me")),
        saved("WEBP", exif=block, xmp=packet),
        gif(b"!\xfe\x05hello\0"),
    ]
    for data in files:
        assert checked(data).problems == ()
        for length in range(12, len(data) - 1, 7):
            assert checked(data[:length]).problems, (data[:4], length)


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xfftEXt" + b"a\0b" * 9,
        jpeg(b"\xff\xe1\0\0"),
        jpeg(b"\xff\xe1\0\1"),
        jpeg(b"\xff\xe1\xff\xffExif\0\0"),
        jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\xff")),
        jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff\x1c\2")),
        jpeg(segment(0xED, b"Photoshop 3.0\0" + resources(b"\x1c\2\x50\xff\xff"))),
        jpeg(segment(0xED, b"Photoshop 3.0\0" + resources(b"\x1c\2\x50\x80\4\xff\xff\xff\xff"))),
        b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff",
        b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe" + b"\xff" * 40,
        b"GIF89a\1\0\1\0\xff\0\0",
        b"GIF89a",
        box(b"ftyp", b"avif") + b"\0\0\0\1meta" + b"\xff" * 8,
        box(b"ftyp", b"avif") + b"\0\0\0\4meta",
        box(b"ftyp", b"avif") + box(b"meta", bytes(4), box(b"iinf", bytes(6), box(b"infe", b"\2\0\0\0\0"))),
    ],
)
def test_false_lengths_are_told(data: bytes) -> None:
    assert checked(data).problems


def test_a_heif_item_with_a_false_place_is_told() -> None:
    entry = box(b"infe", b"\2\0\0\0", struct.pack(">HH", 7, 0), b"Exif\0")
    names = box(b"iinf", bytes(4), struct.pack(">H", 1), entry)
    for piece in ((0xFFFFFFF0, 100), (0, 0xFFFFFFFF)):
        place = struct.pack(">HHHII", 7, 0, 1, *piece)
        places = box(b"iloc", bytes(4), b"\x44\x00", struct.pack(">H", 1), place)
        told = checked(box(b"ftyp", b"heic") + box(b"meta", bytes(4), names, places))
        assert told.problems == ("its EXIF item is not read: its bytes are not in one place of the file",)


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"") * 140_000,
        b"\xff\xd8" + b"\xff\xee\0\2" * 140_000,
        b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * 530_000,
        b"RIFF\xff\xff\xff\x00WEBP" + b"ABCD\0\0\0\0" * 140_000,
        box(b"ftyp", b"avif") + box(b"free") * 140_000,
    ],
    ids=["PNG", "JPEG", "GIF", "WebP", "boxes"],
)
def test_endless_containers_are_left_after_a_while(data: bytes) -> None:
    begin = time.perf_counter()
    told = checked(data)
    assert time.perf_counter() - begin < 6
    assert any("more than" in problem for problem in told.problems)


# -- text -------------------------------------------------------------------------------------------------------------


def test_odd_text_stays_data() -> None:
    odd = "<script>alert(1)</script> \u202egnp.exe \x1b[31m $(reboot) ; rm -rf {{7*7}} \x00 \ufeff"
    told = checked(png(chunk(b"iTXt", b"Title\0\0\0\0\0" + odd.encode()), chunk(b"tEXt", b"\xff\xfe\x80\0\xff\x80")))
    assert [claim.value for claim in told.claims] == [
        " ".join(odd.split()).rstrip("\x00 \ufeff") + " \x00 \ufeff",
        "ÿ\x80",
    ]


def test_a_long_name_and_a_name_without_letters() -> None:
    told = checked(png(chunk(b"tEXt", b"n" * 5000 + b"\0a"), chunk(b"tEXt", b"\0b"), chunk(b"tEXt", b"\n\0c")))
    assert checked(png(chunk(b"tEXt", b"Title\0\xa0\x1f\x0b "))).claims == ()  # spaces alone
    assert [claim.name for claim in told.claims] == ["n" * 100, "(no name)", "(no name)"]


def test_half_a_pair_in_utf_16_becomes_a_sign() -> None:
    body = b"UNICODE\0" + b"a\0\x00\xd8b\0"
    assert [claim.value for claim in checked(saved("JPEG", exif=exif(UserComment=body))).claims] == ["a\ufffdb"]


def test_more_claims_than_are_told_keep_those_with_a_meaning() -> None:
    many = [chunk(b"tEXt", b"k%d\0v" % k) for k in range(5000)]
    told = checked(png(*many[:3000], chunk(b"tEXt", b"Title\0NovelAI generated image"), *many[3000:]))
    assert told.claims[0].meaning == "generated"
    assert len(told.claims) == MOST_CLAIMS
    assert len(told.problems) == 2


# -- any bytes --------------------------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    block, packet = exif(Make="Canon", UserComment=b"ASCII\0\0\0hello", ExposureTime=0.1), xmp(xmp_CreatorTool="GIMP")
    records = resources(iptc((80, b"Me"), (120, b"caption")))
    made = [
        jpeg(
            segment(0xE1, block),
            segment(0xE1, XMP_MARK + packet),
            segment(0xED, b"Photoshop 3.0\0" + records),
            after=b"x",
        ),
        png(chunk(b"eXIf", block.removeprefix(b"Exif\0\0")), chunk(b"zTXt", b"a\0\0" + zlib.compress(b"text" * 50))),
        saved("WEBP", exif=block, xmp=packet),
        saved("GIF", comment=b"hello"),
        saved("TIFF", exif=block),
        tiff((700, 1, len(packet), packet), (33723, 1, 20, iptc((80, b"A. Name and more"))[:20]), big=True, order=">"),
    ]
    return made + ([saved("AVIF", exif=block, xmp=packet)] if features.check("avif") else [])


SEEDS = seeds()
STARTS = [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBP", b"GIF89a", b"II*\0", b"MM\0+\0\x08\0\0",
          b"\0\0\0\x0cftypavif", b"\0\0\0\x0cjP  \r\n\x87\n"]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(STARTS), st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(start: bytes, rest: bytes) -> None:
    checked(start + rest)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=6)), max_size=8)
)
def test_damaged_files_are_read_without_an_error(data: bytes, damage: list[tuple[int, bytes]]) -> None:
    spoilt = bytearray(data)
    for at, new in damage:
        spoilt[at % len(spoilt) : at % len(spoilt) + len(new)] = new
    checked(bytes(spoilt))


def test_files_with_single_bytes_changed_are_read_without_an_error() -> None:
    rng = random.Random(7)
    for data in SEEDS:
        for _ in range(120):
            spoilt = bytearray(data)
            spoilt[rng.randrange(min(len(spoilt), 700))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            checked(bytes(spoilt))
