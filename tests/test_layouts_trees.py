"""The layouts of published sets that are folders: a miniature of each, with its trap."""

from __future__ import annotations

import re

import pytest
from test_layouts import about, plant, rows

from fdetect.bench.layouts import read_manifest
from fdetect.errors import DataError, ParameterError
from fdetect.types import FAKE, REAL, records


def facts(table):
    """path -> (label, generator, real_source, category, group, split)"""
    return {r.path: (r.label, r.generator, r.real_source, r.category, r.group, r.split) for r in records(table)}


def named(root, *, layout):
    """The manifest of a tree that must be found out to have this layout."""
    table = read_manifest(root)
    assert about(table, "layout") == layout
    return table


# --- with folders 0_real and 1_fake ------------------------------------------------------------------------------


def test_aigcdetect_spellings_are_one_generator(tmp_path):
    plant(
        tmp_path,
        "test/ADM/0_real/1.png", "test/Stable_Diffusion_v_1_4/1_fake/1.png", "test/SDv1.5/1_fake/1.png",
        "test/StyleGAN/Car/1_fake/1.png", "test/DALLE2/1_fake/1.png",
    )  # fmt: skip
    found = facts(named(tmp_path, layout="aigcdetect"))
    assert found == {
        "test/ADM/0_real/1.png": (0, "", "adm", "", "", "test"),
        "test/Stable_Diffusion_v_1_4/1_fake/1.png": (1, "sd-1-4", "", "", "", "test"),
        "test/SDv1.5/1_fake/1.png": (1, "sd-1-5", "", "", "", "test"),
        "test/StyleGAN/Car/1_fake/1.png": (1, "stylegan", "", "Car", "", "test"),
        "test/DALLE2/1_fake/1.png": (1, "dalle2", "", "", "", "test"),
    }
    other = plant(tmp_path / "mirror", "sd14/1_fake/2.png", "stablediffusionv14/1_fake/3.png", "wukong/0_real/2.png")
    assert set(read_manifest(other)["generator"].to_pylist()) == {"sd-1-4", ""}


def test_a_foreign_generator_is_not_renamed(tmp_path):
    plant(tmp_path, "ADM/1_fake/1.png", "MyGAN/1_fake/1.png")
    assert facts(named(tmp_path, layout="forensynths"))["ADM/1_fake/1.png"][1] == "ADM"


def test_univfd_reals_are_named(tmp_path):
    plant(tmp_path / "a", "imagenet/0_real/1.png", "laion/0_real/2.png", "guided/1_fake/3.png", "ldm_100/1_fake/4.png")
    table = named(tmp_path / "a", layout="univfd")
    assert facts(table) == {
        "guided/1_fake/3.png": (1, "guided", "", "", "", ""),
        "imagenet/0_real/1.png": (0, "", "imagenet", "", "", ""),
        "laion/0_real/2.png": (0, "", "laion", "", "", ""),
        "ldm_100/1_fake/4.png": (1, "ldm_100", "", "", "", ""),
    }
    against = dict(zip(table["path"].to_pylist(), table["reals"].to_pylist(), strict=True))
    assert against == {
        "guided/1_fake/3.png": "imagenet", "imagenet/0_real/1.png": "", "laion/0_real/2.png": "",
        "ldm_100/1_fake/4.png": "laion",
    }  # fmt: skip
    plant(tmp_path / "b", "imagenet/0_real/1.png", "ldm_200/1_fake/4.png")
    assert "without the reals of laion" in about(read_manifest(tmp_path / "b"), "detected")


def test_univfd_pairs_in_one_folder_have_reals_of_two_sources(tmp_path):
    """NPR's copy: seven folders repeat the same reals, which are one source, not seven."""
    sets, kinds = ("guided", "ldm_200", "dalle"), ("0_real", "1_fake")
    plant(tmp_path, *(f"{name}/{kind}/1.png" for name in sets for kind in kinds))
    reals = [row for row in records(named(tmp_path, layout="univfd")) if row.label == REAL]
    assert {row.path: row.real_source for row in reals} == {
        "guided/0_real/1.png": "imagenet", "ldm_200/0_real/1.png": "laion", "dalle/0_real/1.png": "laion"
    }  # fmt: skip


def test_wildrf_says_what_is_trained_on(tmp_path):
    folders = ("train/reddit", "val/reddit", "test/reddit", "test/twitter", "test/facebook")
    plant(tmp_path, *(f"{folder}/{kind}/1.jpg" for folder in folders for kind in ("0_real", "1_fake")))
    table = named(tmp_path, layout="wildrf")
    assert facts(table)["test/twitter/1_fake/1.jpg"] == (1, "twitter", "", "", "", "test")
    assert facts(table)["test/twitter/0_real/1.jpg"] == (0, "", "twitter", "", "", "test")
    assert "trained on reddit;" in about(table, "detected")
    assert {r.generator for r in records(table) if r.split != "test"} == {"", "reddit"}


def test_chameleon_has_one_name_and_no_other_test_set_is_taken_for_it(tmp_path):
    home = plant(tmp_path / "Chameleon_v1", "test/0_real/1.jpg", "test/1_fake/1.jpg")
    assert facts(named(home, layout="chameleon")) == {
        "test/0_real/1.jpg": (0, "", "Chameleon", "", "", "test"),
        "test/1_fake/1.jpg": (1, "Chameleon", "", "", "", "test"),
    }
    assert facts(named(home / "test", layout="chameleon"))["1_fake/1.jpg"] == (1, "Chameleon", "", "", "", "test")
    mine = plant(tmp_path / "mine", "test/0_real/1.jpg", "test/1_fake/1.jpg")
    assert facts(named(mine, layout="forensynths"))["test/1_fake/1.jpg"][1] == "mine"


# --- with folders real and fake ----------------------------------------------------------------------------------


def small(root, *names):
    from PIL import Image

    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (k, 3, 4)).save(root / name)
    return root


def test_cifake_labels_come_from_names(tmp_path):
    small(tmp_path / "a", *(f"{split}/{kind}/1.jpg" for split in ("train", "test") for kind in ("FAKE", "REAL")))
    assert facts(named(tmp_path / "a", layout="cifake")) == {
        "test/FAKE/1.jpg": (1, "sd-1-4", "", "", "", "test"),  # sorted order would make FAKE 0
        "test/REAL/1.jpg": (0, "", "cifar10", "", "", "test"),
        "train/FAKE/1.jpg": (1, "sd-1-4", "", "", "", "train"),
        "train/REAL/1.jpg": (0, "", "cifar10", "", "", "train"),
    }
    plant(tmp_path / "b", "train/FAKE/1.jpg", "train/REAL/1.jpg", "test/FAKE/1.jpg", "test/REAL/1.jpg")  # of 16 px
    assert set(named(tmp_path / "b", layout="real_fake")["generator"].to_pylist()) == {"unknown", ""}


def test_community_forensics_with_one_label_alone_and_labels_of_ones_own(tmp_path):
    plant(tmp_path, "coco/real/a/1.png", "flux/fake/1.png", "sd3/fake/2.png", "sd3/real/3.png")
    table = named(tmp_path, layout="community_forensics")
    assert facts(table) == {
        "coco/real/a/1.png": (0, "", "coco", "", "", ""),
        "flux/fake/1.png": (1, "flux", "", "", "", ""),
        "sd3/fake/2.png": (1, "sd3", "", "", "", ""),
        "sd3/real/3.png": (0, "", "sd3", "", "", ""),
    }
    assert "fake/real in 3 folders; 4 images" in about(table, "detected")
    plant(tmp_path / "mine", "x/camera/1.png", "x/made/1.png")
    given = {"Camera": 0, "made": 1}
    mine = read_manifest(tmp_path / "mine", layout="community_forensics", label_names=given)
    assert {path: row[0] for path, row in facts(mine).items()} == {"x/camera/1.png": 0, "x/made/1.png": 1}
    with pytest.raises(ParameterError, match="'made' must stand for 0"):
        read_manifest(tmp_path / "mine", layout="community_forensics", label_names={"made": 7})


def test_diffusionforensics_leaves_its_maps_alone(tmp_path):
    plant(
        tmp_path,
        "images/train/imagenet/real/000/1.png", "images/train/imagenet/adm/000/1.png",
        "images/test/lsun_bedroom/real/1.png", "images/test/lsun_bedroom/sdv1/1.png",
        "dire/train/imagenet/real/000/1.png", "dire/train/imagenet/adm/000/1.png",
        "recons/train/imagenet/adm/000/1.png",
    )  # fmt: skip
    table = named(tmp_path, layout="diffusionforensics")
    assert facts(table) == {
        "images/test/lsun_bedroom/real/1.png": (0, "", "lsun_bedroom", "lsun_bedroom", "", "test"),
        "images/test/lsun_bedroom/sdv1/1.png": (1, "sdv1", "", "lsun_bedroom", "", "test"),
        "images/train/imagenet/adm/000/1.png": (1, "adm", "", "imagenet", "", "train"),
        "images/train/imagenet/real/000/1.png": (0, "", "imagenet", "imagenet", "", "train"),
    }
    assert "3 other files passed over: 2 DIRE maps, 1 reconstructions" in about(table, "detected")
    assert facts(named(tmp_path / "images", layout="diffusionforensics")).keys() == {
        path.removeprefix("images/") for path in facts(table)
    }
    with pytest.raises(DataError, match="no layout fits"):
        read_manifest(tmp_path / "dire")
    with pytest.raises(DataError, match="holds no images"):
        read_manifest(tmp_path / "dire", layout="diffusionforensics")


def test_cocoglide_pairs_have_names_of_their_own_and_masks_are_no_images(tmp_path):
    plant(
        tmp_path,
        "real/dining table_114871.png", "fake/glide_inpainting_val2017_114871_up.png",
        "mask/dining table_114871_mask.png", "real/mine.png", "fake/mine.png",
    )  # fmt: skip
    table = named(tmp_path, layout="cocoglide")
    assert facts(table) == {
        "fake/glide_inpainting_val2017_114871_up.png": (1, "glide", "", "", "114871", ""),
        "fake/mine.png": (1, "glide", "", "", "mine", ""),
        "real/dining table_114871.png": (0, "", "coco", "", "114871", ""),
        "real/mine.png": (0, "", "coco", "", "mine", ""),
    }
    assert table["mask"].to_pylist() == ["mask/dining table_114871_mask.png", "", "", ""]
    assert "1 masks" in about(table, "detected")
    from_above = read_manifest(tmp_path, root=tmp_path.parent)["mask"][0].as_py()
    assert from_above == f"{tmp_path.name}/mask/dining table_114871_mask.png"
    plant(tmp_path, "mask/cake_114871_mask.png")
    with pytest.raises(DataError, match="are masks of one image"):
        read_manifest(tmp_path)


# --- with a folder for each generator ------------------------------------------------------------------------------


def test_drct_has_no_reals_until_coco_is_there(tmp_path):
    plant(tmp_path, "DRCT-2M/sd-turbo/train2017/000000000139.jpg", "DRCT-2M/sd-turbo/val2017/000000000285.jpg")
    alone = named(tmp_path, layout="drct")
    assert "without its reals: put MSCOCO/{train,val}2017 beside them" in about(alone, "detected")
    plant(
        tmp_path,
        "MSCOCO/train2017/000000000139.jpg", "MSCOCO/val2017/000000000285.jpg", "MSCOCO/val2017/other.jpg",
        "DR/DRCT-2M/sd-turbo/full_inpainting/train2017/000000000139.jpg", "backup/val2017/1.jpg",
    )  # fmt: skip
    table = named(tmp_path, layout="drct")
    assert facts(table) == {
        "DRCT-2M/sd-turbo/train2017/000000000139.jpg": (1, "sd-turbo", "", "", "000000000139", "train"),
        "DRCT-2M/sd-turbo/val2017/000000000285.jpg": (1, "sd-turbo", "", "", "000000000285", "test"),
        "MSCOCO/train2017/000000000139.jpg": (0, "", "coco", "", "000000000139", "train"),
        "MSCOCO/val2017/000000000285.jpg": (0, "", "coco", "", "000000000285", "test"),
        "MSCOCO/val2017/other.jpg": (0, "", "coco", "", "", "test"),
    }
    assert "1 images outside the label folders, 1 reconstructions" in about(table, "detected")


def test_plain_coco_is_no_labelled_set(tmp_path):
    plant(tmp_path, "train2017/000000000139.jpg", "val2017/000000000285.jpg", "coco-hd/val2017/000000000285.jpg")
    with pytest.raises(DataError, match="no layout fits"):
        read_manifest(tmp_path)


def test_synthbuster_pairs_are_groups(tmp_path):
    plant(
        tmp_path, "dalle3/r05839451t.png", "stable-diffusion-xl/r05839451t.png", "sd-2/odd name.png",
        "real_RAISE_1k/r05839451t.png", "real_RAISE_1k/r000da54ft.png", "other/1.png",
    )  # fmt: skip
    table = named(tmp_path, layout="synthbuster")
    assert facts(table) == {
        "dalle3/r05839451t.png": (1, "dalle3", "", "", "r05839451t", ""),
        "real_RAISE_1k/r000da54ft.png": (0, "", "raise", "", "r000da54ft", ""),
        "real_RAISE_1k/r05839451t.png": (0, "", "raise", "", "r05839451t", ""),
        "sd-2/odd name.png": (1, "sd-2", "", "", "", ""),
        "stable-diffusion-xl/r05839451t.png": (1, "sd-xl", "", "", "r05839451t", ""),
    }
    assert "1 images outside the label folders" in about(table, "detected")
    alone = plant(tmp_path / "alone", "firefly/r05839451t.png", "glide/r05839451t.png")
    assert "without its reals" in about(named(alone, layout="synthbuster"), "detected")


def test_faces_are_known_by_name_alone(tmp_path):
    plant(
        tmp_path, "train/FFHQ/1.png", "train/StyleGAN-2/1.png", "test/real/celeba/1.png", "test/stgan/1.png",
        "test/backup/1.png",
    )  # fmt: skip
    table = named(tmp_path, layout="faces")
    assert facts(table) == {
        "test/real/celeba/1.png": (0, "", "celeba", "", "", "test"),
        "test/stgan/1.png": (1, "stgan", "", "", "", "test"),
        "train/FFHQ/1.png": (0, "", "FFHQ", "", "", "train"),
        "train/StyleGAN-2/1.png": (1, "StyleGAN-2", "", "", "", "train"),
    }
    assert "1 images outside the label folders" in about(table, "detected")  # never taken for fakes


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (("stylegan2/1_fake/1.png", "ffhq/0_real/2.png"), "forensynths"),
        (("glide/1_fake/1.png", "dalle2/0_real/2.png"), "aigcdetect"),
        (("stylegan2/fake/1.png", "ffhq/real/2.png"), "community_forensics"),
        (("test/celebahq/real/1.png", "test/celebahq/sdv2/1.png"), "diffusionforensics"),
        (("real/ffhq/1.png", "fake/stylegan2/1.png"), "real_fake"),
        (("real/1.png", "fake/x/2.png", "stylegan2/3.png"), "real_fake"),
    ],
)  # fmt: skip
def test_a_name_inside_does_not_make_another_set(tmp_path, names, layout):
    """Generators of one set are the labels' neighbours of another: what holds labels is no generator itself."""
    table = named(plant(tmp_path, *names), layout=layout)
    assert sorted(table["label"].to_pylist()) == [REAL, FAKE]


def test_two_sets_in_one_folder_are_refused(tmp_path):
    plant(tmp_path, "dalle2/r05839451t.png", "glide/r05839451t.png", "real/1.png", "fake/x/2.png")
    with pytest.raises(DataError, match=re.escape("--layout real_fake|synthbuster")):
        read_manifest(tmp_path)
    assert len(rows(read_manifest(tmp_path, layout="synthbuster"))) == 2
