"""What points to a place, a device or a person is told and not repeated; who made a picture is shown."""

from __future__ import annotations

import pytest
from metadata_files import chunk, exif, iptc, jpeg, png, resources, segment, xmp

from fdetect.metadata import read_metadata
from fdetect.metadata.privacy import WITHHELD, is_private

XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"


def in_xmp(inside: str) -> dict[str, str]:
    told = read_metadata(jpeg(segment(0xE1, XMP_MARK + xmp(inside))))
    assert told.problems == ()
    return {claim.name: claim.value for claim in told.claims}


@pytest.mark.parametrize(
    "inside, name",
    [
        ('<q:GPS xmlns:q="u" rdf:parseType="Resource"><q:lat>SECRET</q:lat></q:GPS>', "q:GPS/q:lat"),
        ('<q:GPS xmlns:q="u"><rdf:Description q:lat="SECRET"/></q:GPS>', "q:GPS/q:lat"),
        ("<photoshop:City>SECRET</photoshop:City>", "photoshop:City"),
        ("<photoshop:State>SECRET</photoshop:State>", "photoshop:State"),
        ("<photoshop:Country>SECRET</photoshop:Country>", "photoshop:Country"),
        ("<Iptc4xmpCore:Location>SECRET</Iptc4xmpCore:Location>", "Iptc4xmpCore:Location"),
        ('<Iptc4xmpCore:CreatorContactInfo Iptc4xmpCore:CiEmailWork="SECRET"/>',
         "Iptc4xmpCore:CreatorContactInfo/Iptc4xmpCore:CiEmailWork"),
        ("<Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>SECRET</rdf:li></rdf:Bag></Iptc4xmpExt:PersonInImage>",
         "Iptc4xmpExt:PersonInImage"),
        ('<mwg-rs:RegionList><rdf:Bag><rdf:li mwg-rs:Name="SECRET"/></rdf:Bag></mwg-rs:RegionList>',
         "mwg-rs:RegionList/mwg-rs:Name"),
        ("<tiff:HostComputer>SECRET</tiff:HostComputer>", "tiff:HostComputer"),
    ],
)  # fmt: skip
def test_the_whole_path_in_xmp_decides(inside: str, name: str) -> None:
    assert in_xmp(inside) == {name: WITHHELD}


def test_a_path_longer_than_is_kept_does_not_hide_that_it_is_private() -> None:
    name = "n" * 90
    opened = "".join(f'<q:{name} xmlns:q="u" rdf:parseType="Resource">' for _ in range(8))
    inside = f"{opened}<exif:GPSLatitude>SECRET</exif:GPSLatitude>{f'</q:{name}>' * 8}"
    assert list(in_xmp(inside).values()) == [WITHHELD]


def test_places_contacts_and_persons_of_iptc() -> None:
    private = {26: "Content Location Code", 27: "Content Location Name", 90: "City", 92: "Sub-location",
               95: "Province/State", 100: "Country Code", 101: "Country", 118: "Contact"}  # fmt: skip
    records = iptc(*((number, b"SECRET") for number in private), (80, b"A. Name"), (110, b"Agency"))
    told = read_metadata(jpeg(segment(0xED, b"Photoshop 3.0\0" + resources(records))))
    assert {claim.name: claim.value for claim in told.claims} == {
        **dict.fromkeys(private.values(), WITHHELD), "By-line": "A. Name", "Credit": "Agency"
    }  # fmt: skip


def test_the_computer_is_not_repeated_and_the_author_is() -> None:
    told = read_metadata(jpeg(segment(0xE1, exif(HostComputer="SECRET", Artist="A. Name"))))
    assert {claim.name: claim.value for claim in told.claims} == {"HostComputer": WITHHELD, "Artist": "A. Name"}
    assert in_xmp("<dc:creator>A. Name</dc:creator>") == {"dc:creator": "A. Name"}


def test_a_png_text_copied_from_exif() -> None:
    (claim,) = read_metadata(png(chunk(b"tEXt", b"exif:GPSLatitude\x0048/1, 51/1"))).claims
    assert (claim.name, claim.value) == ("exif:GPSLatitude", WITHHELD)


@pytest.mark.parametrize("name", ["crs:Opacity", "crs:Velocity", "xmpRights:WebStatement", "dc:creator", "By-line",
                                  "Copyright", "stEvt:softwareAgent", "parameters", "State of the art"])  # fmt: skip
def test_other_names_are_shown(name: str) -> None:
    assert not is_private(name)
