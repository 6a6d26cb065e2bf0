"""Downloads from a hub of our own on this machine: whole files, hashes, and one sentence for everything that fails."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_weights import CONFIG, WHOLE

from fdetect.cli.weights import weights
from fdetect.errors import FdetectError, ParameterError, WeightsError
from fdetect.nets.cards import encoder_card
from fdetect.nets.evidence import evidence_of, identity
from fdetect.nets.folders import digests
from fdetect.nets.hub import download, plan, wanted
from fdetect.nets.weights import find_weights

pytest.importorskip("huggingface_hub", reason="the deep extra is not installed")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": WHOLE,
    "preprocessor_config.json": b'{"image_mean": [0.5, 0.5, 0.5]}',
    "pytorch_model.bin": b"\x80\x02.",
    "README.md": b"not needed",
}


class Hub(ThreadingHTTPServer):
    """As much of the hub as a download needs; `trouble` says what goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.trouble = ""
        self.sent: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        hub = self.server
        if hub.trouble == "hangs up":
            self.connection.close()
        elif hub.trouble in ("401", "404", "500"):
            self.reply(int(hub.trouble), b"")
        elif hub.trouble == "gated" and "/resolve/" in self.path:
            self.reply(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif hub.trouble == "no revision":
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif hub.trouble == "nonsense":
            self.reply(200, b"<html>a portal of the hotel</html>")
        elif "/api/models/" in self.path:
            siblings = []
            for name, data in hub.files.items():
                stated = hashlib.sha256(b"other" if hub.trouble == "other hash" else data).hexdigest()
                large = name.endswith("tensors") and hub.trouble != "no hash"
                lfs = {"sha256": stated, "size": len(data), "pointerSize": 130} if large else None
                blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                siblings.append({"rfilename": name, "size": len(data), "blobId": blob, "lfs": lfs})
            model = {"id": "acme/tiny", "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}
            self.reply(200, json.dumps(model).encode())
        elif (name := self.path.rpartition("/resolve/")[2].partition("/")[2]) in hub.files:
            data = hub.files[name]
            about = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if body:
                hub.sent.append(name)
            short = len(data) - 7 if hub.trouble == "truncated" and name == "model.safetensors" and body else None
            self.reply(200, data if body else b"", about, length=len(data), cut=short)
        else:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})

    def reply(self, status: int, data: bytes, headers: dict[str, str] | None = None, *, length: int = -1,
              cut: int | None = None) -> None:  # fmt: skip
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        # a hub that says so itself, and a file that is shorter than it should be
        self.send_header("Content-Length", str(cut if cut is not None else length if length >= 0 else len(data)))
        self.end_headers()
        self.wfile.write(data[:cut])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def true_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The same machine in the place of the hub itself, as huggingface_hub knows it without $HF_ENDPOINT."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_ENDPOINT")
    url = f"http://127.0.0.1:{hub.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    return hub


def refused(name: str = "acme/tiny") -> str:
    with pytest.raises(FdetectError) as caught:
        download(plan(wanted(name)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_repository_comes_whole_and_is_found(hub: Hub, tmp_path: Path) -> None:
    planned = plan(wanted("acme/tiny"))
    assert [file.path for file in planned.files] == ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert planned.bytes_missing == sum(len(FILES[file.path]) for file in planned.files)
    assert hub.sent == []  # nothing is downloaded before it is announced
    folder = download(planned)
    assert folder == find_weights("acme/tiny")
    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert sorted(hub.sent) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    card = encoder_card("acme/tiny")
    assert card.mean == (0.5, 0.5, 0.5)
    assert card.evidence == "unverified weights"  # intact, but of nobody that the catalogue knows
    again = plan(wanted("acme/tiny"))
    assert again.bytes_missing == 0
    download(again)
    assert len(hub.sent) == 3  # once


def test_the_catalogues_own_repository_counts_as_official(true_hub: Hub) -> None:
    folder = download(plan(wanted("dinov2-small")))
    assert folder == find_weights("dinov2-small")
    assert encoder_card("dinov2-small").evidence == encoder_card("facebook/dinov2-small").evidence == "official weights"
    assert wanted("facebook/dinov2-small") == wanted("dinov2-small")
    (folder / "config.json").resolve().write_text(json.dumps(CONFIG | {"layer_norm_eps": 1.0}))
    assert encoder_card("dinov2-small").evidence == "unverified weights"
    with pytest.raises(WeightsError, match=r"config.json of facebook/dinov2-small has .* where the hub states"):
        download(plan(wanted("dinov2-small")))  # what lies in the cache is not taken on trust
    download(plan(wanted("dinov2-small")))
    assert encoder_card("dinov2-small").evidence == "official weights"
    true_hub.files = {"vae/config.json": b"{}", "vae/diffusion_pytorch_model.safetensors": WHOLE}
    vae = download(plan(wanted("sd1-vae")))
    assert evidence_of(identity(digests(vae, stem="diffusion_pytorch_model"))) == "official weights"


def test_a_mirror_vouches_for_nobody(hub: Hub) -> None:
    download(plan(wanted("dinov2-small")))
    assert encoder_card("dinov2-small").evidence == "unverified weights"


def test_weights_whose_hash_the_hub_does_not_state_are_unverified(true_hub: Hub) -> None:
    true_hub.trouble = "no hash"
    download(plan(wanted("dinov2-small")))
    assert encoder_card("dinov2-small").evidence == "unverified weights"


def test_shards_and_diffusers_repositories(hub: Hub) -> None:
    names = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    index = json.dumps({"weight_map": {"a": names[0], "b": names[1]}}).encode()
    hub.files = {"config.json": FILES["config.json"], "model.safetensors.index.json": index}
    hub.files |= dict.fromkeys(names, WHOLE)
    assert {path.name for path in download(plan(wanted("acme/tiny"))).iterdir()} == set(hub.files)
    hub.files = {"vae/config.json": b"{}", "vae/diffusion_pytorch_model.safetensors": WHOLE, "model_index.json": b"{}"}
    assert download(plan(wanted("acme/pipeline"))).name == "vae"


@pytest.mark.parametrize(
    "trouble, text",
    [
        ("hangs up", "acme/tiny could not be read from http"),
        ("401", "shows no repository acme/tiny: it does not exist or is private; check the name, or log in"),
        ("404", "shows no repository acme/tiny"),
        ("500", "answered with the error 500 for acme/tiny; try again later"),
        ("gated", "acme/tiny is gated; accept its licence at https://huggingface.co/acme/tiny and log in"),
        ("no revision", "acme/tiny has no revision 'main'"),
        ("nonsense", "acme/tiny could not be read from http"),
    ],
)
def test_a_hub_in_trouble_is_one_sentence(hub: Hub, trouble: str, text: str) -> None:
    hub.trouble = trouble
    assert text in refused()
    with pytest.raises(WeightsError):
        find_weights("acme/tiny")


def test_a_hub_that_is_not_there_is_one_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert "acme/tiny could not be read from http://127.0.0.1:9" in refused()


def test_a_truncated_download_is_not_left_as_if_complete(hub: Hub, tmp_path: Path) -> None:
    hub.trouble = "truncated"
    assert "acme/tiny could not be read from" in refused()
    with pytest.raises(WeightsError, match=r"has no model.safetensors"):
        find_weights("acme/tiny")
    hub.trouble = ""
    assert download(plan(wanted("acme/tiny"))) == find_weights("acme/tiny")


def test_a_file_of_another_hash_is_removed(hub: Hub, tmp_path: Path) -> None:
    hub.trouble = "other hash"
    stated = hashlib.sha256(b"other").hexdigest()[:12]
    assert f"where the hub states {stated}; it was removed" in refused("dinov2-small")
    with pytest.raises(WeightsError, match=r"has no model.safetensors"):
        find_weights("dinov2-small")
    assert not (tmp_path / "home").exists()  # and no evidence of it


def test_a_repository_of_pickles_or_without_configuration_is_refused(hub: Hub) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x02."}
    assert "holds no model.safetensors but pytorch_model.bin, a pickle, which is never read" in refused()
    hub.files = {"model.safetensors": WHOLE}
    assert "acme/tiny holds no config.json" in refused()


def test_no_room_on_the_disk_is_said_before_anything_is_sent(hub: Hub) -> None:
    planned = plan(wanted("acme/tiny"))
    with pytest.raises(WeightsError, match=r"needs 9000000000.0 GB and .* GB left; free some space"):
        download(replace(planned, bytes_missing=9 * 10**18))
    assert hub.sent == []


def test_a_cache_that_cannot_be_written_is_one_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    assert f"cannot be written ({os.strerror(errno.ENOTDIR)})" in refused()


def test_names_that_are_neither_known_nor_hub_ids_teach() -> None:
    with pytest.raises(ParameterError, match="did you mean 'dinov2-large'"):
        wanted("dinov2-larg")
    with pytest.raises(ParameterError, match="'taef2' is not on the hub; run `fdetect weights import"):
        wanted("taef2")


def test_the_command_says_the_size_first_and_prints_the_hash(hub: Hub) -> None:
    done = CliRunner().invoke(weights, ["get", "acme/tiny"], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"acme/tiny at {COMMIT[:12]}: 3 files, " in done.stderr
    assert "bytes to download" in done.stderr
    assert done.stdout.startswith(hashlib.sha256(WHOLE).hexdigest())
    again = CliRunner().invoke(weights, ["get", "acme/tiny"], catch_exceptions=False)
    assert "all of it here already" in again.stderr


def test_list_and_help(true_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    download(plan(wanted("dinov2-small")))
    done = CliRunner().invoke(weights, ["list"], catch_exceptions=False)
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "official weights" in rows["dinov2-small"]
    assert hashlib.sha256(WHOLE).hexdigest()[:12] in rows["dinov2-small"]
    assert "absent" in rows["dinov3-large"]
    assert {"dncnn", "univfd", "taef2", "lpips-vgg", "siglip2-b16"} <= set(rows)
    for command in ("get", "import", "list"):
        assert command in CliRunner().invoke(weights, ["--help"]).output
        assert CliRunner().invoke(weights, [command, "--help"]).exit_code == 0
