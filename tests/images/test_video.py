"""Videos: frames are sampled evenly, one face is followed, and bad files get a sentence."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import bonaface
from bonaface.assets import shipped_detector, unpack_demo
from bonaface.data.videos import is_video
from bonaface.errors import DataError
from bonaface.images import video as video_module
from bonaface.images.decoding import decode
from bonaface.images.preprocessing import Preprocessor
from bonaface.images.video import read_video, sample_frames


def write_video(path: Path, frames: list[np.ndarray], codec: str = "mp4v") -> Path:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (width, height))
    for frame in frames:
        writer.write(frame[:, :, ::-1])
    writer.release()
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return unpack_demo(tmp_path_factory.mktemp("demo")) / "train" / "images"


@pytest.fixture(scope="module")
def face(people):
    return decode(people / "0000" / "0.jpg")


@pytest.fixture(scope="module")
def preprocess():
    return Preprocessor(("aligned", "face_crop"), 160, 112, shipped_detector())


def grey(value: int) -> np.ndarray:
    return np.full((64, 64, 3), value, np.uint8)


def test_frames_come_from_the_middle_of_equal_parts(tmp_path):
    video = write_video(tmp_path / "v.mp4", [grey(5 * n) for n in range(40)])
    found = [frame.mean() / 5 for frame in sample_frames(video, 4)]
    np.testing.assert_allclose(found, [5, 15, 25, 35], atol=1)


@pytest.mark.parametrize("kept", [b"", b"duration", b"rate"])
def test_webm_as_browsers_record_it_is_read_from_its_start(tmp_path, kept, monkeypatch):
    """Without an index, and with a duration or a rate at the most; an unknown element is passed over."""
    video = write_video(tmp_path / "v.webm", [grey(5 * n) for n in range(40)], "VP80")
    content = video.read_bytes()
    whole = [frame.mean() for frame in sample_frames(video, 4)]
    for name, element, unknown in (
        (b"index", b"\x1c\x53\xbb\x6b", b"\x1c\x53\xbb\x6c"),
        (b"duration", b"\x44\x89\x88", b"\x44\x8a\x88"),
        (b"rate", b"\x23\xe3\x83", b"\x23\xe3\x84"),
    ):
        assert element in content
        content = content if name == kept else content.replace(element, unknown)
    video.write_bytes(content)
    np.testing.assert_allclose([frame.mean() for frame in sample_frames(video, 4)], whole, atol=2)
    monkeypatch.setattr(video_module, "_MOST_READ_THROUGH", 39)
    if kept != b"duration":
        with pytest.raises(DataError, match="does not say where its frames are, and has more than 39; expected fewer"):
            sample_frames(video, 4)


def test_a_short_video_gives_each_frame_once(tmp_path):
    assert len(sample_frames(write_video(tmp_path / "v.avi", [grey(90)] * 3))) == 3


def test_a_short_video_whose_number_of_frames_is_an_estimate_is_read_whole(tmp_path):
    assert len(sample_frames(write_video(tmp_path / "v.mpg", [grey(5 * n) for n in range(20)], "PIM1"), 20)) == 20


@pytest.mark.parametrize(("form", "shape"), [(1, (64, 64)), (3, (64, 91)), (12, (70, 64))])
def test_pixels_that_are_not_square_are_made_so(tmp_path, form, shape, monkeypatch):
    """MPEG-1's forms of pixels: square, and those of PAL in 16:9 and of NTSC in 4:3."""
    video = write_video(tmp_path / "v.mpg", [grey(5 * n) for n in range(40)], "PIM1")
    content = bytearray(video.read_bytes())
    for header in re.finditer(b"\0\0\1\xb3", bytes(content)):
        content[header.start() + 7] = form << 4 | content[header.start() + 7] & 15
    video.write_bytes(content)
    assert {frame.shape for frame in sample_frames(video)} == {(*shape, 3)}
    monkeypatch.setattr(video_module, "_MAX_PIXELS", 64 * 64)
    if shape != (64, 64):
        with pytest.raises(DataError, match=rf"frames of {shape[1]} x {shape[0]} pixels"):
            sample_frames(video)


def test_frames_that_are_lost_are_counted(tmp_path, face, preprocess):
    whole = write_video(tmp_path / "v.avi", [np.roll(face, n, axis=1) for n in range(32)]).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    photo = read_video(cut, preprocess)
    assert photo.frames == 16
    assert 0 < len(photo.inputs) < 16


def test_frames_without_a_face_are_left_out(tmp_path, face, preprocess):
    blank = np.zeros_like(face)
    photo = read_video(write_video(tmp_path / "v.mp4", [face, blank] * 8), preprocess)
    assert (len(photo.inputs), photo.frames, photo.problem) == (8, 16, None)
    assert photo.quality is not None


def test_one_face_is_followed(tmp_path, people, face, preprocess):
    """A second person who appears later, larger, is not taken for the first."""
    side = face.shape[0]
    other = cv2.resize(decode(people / "0001" / "0.jpg"), (2 * side, 2 * side))
    canvas = np.full((2 * side, 4 * side, 3), 128, np.uint8)
    canvas[:side, :side] = face
    both = canvas.copy()
    both[:, 2 * side :] = other
    photo = read_video(write_video(tmp_path / "v.mp4", [canvas] * 2 + [both] * 6), preprocess)
    alone = preprocess(canvas)["aligned"].astype(float)
    assert len(photo.inputs) == 8
    assert all(np.abs(look["aligned"].astype(float) - alone).mean() < 12 for look in photo.inputs)


def test_a_video_of_nobody_has_a_problem(tmp_path, preprocess):
    photo = read_video(write_video(tmp_path / "v.mp4", [grey(0)] * 4), preprocess)
    assert photo.inputs == ()
    assert "no face found" in photo.problem
    assert "in none of 4 frames" in photo.problem


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no such file"),
        (b"", "is no video"),
        (b"<html>" * 99, "is no video"),
        (b"\0\0\0\x18ftypisom" + bytes(999), "is no video that OpenCV reads"),
        (b"RIFF\x24\x10\0\0WAVEfmt " + bytes(999), "is no video"),  # sound alone
    ],
)
def test_bad_files_are_refused(tmp_path, content, what):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=what):
        sample_frames(path)


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile other.mp4\nduration 1\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_no_playlist_is_followed_to_another_file(tmp_path, playlist):
    write_video(tmp_path / "other.mp4", [grey(90)] * 9)
    (tmp_path / "v.mp4").write_text(playlist)
    with pytest.raises(DataError, match="is no video; expected MP4"):
        sample_frames(tmp_path / "v.mp4")


def test_a_name_is_no_protocol(tmp_path, monkeypatch):
    """Of FFmpeg's protocols: file, concat, http."""
    monkeypatch.chdir(tmp_path)
    Path("other.mp4").write_bytes(write_video(tmp_path / "v.mp4", [grey(200)] * 9).read_bytes())
    own = write_video(tmp_path / "own.mp4", [grey(50)] * 9).read_bytes()
    for name in ("file:other.mp4", "concat:other.mp4|other.mp4", "http:/127.0.0.1:9/x.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(own)
        assert sample_frames(Path(name), 1)[0].mean() < 100


def test_a_url_is_called_one():
    with pytest.raises(DataError, match="is a URL; expected a file"):
        sample_frames(Path("https://example.org/a.mp4"))


def test_damage_is_told_by_us_alone(tmp_path, capfd):
    video = write_video(tmp_path / "v.mp4", [grey(n) for n in range(40)])
    video.write_bytes(video.read_bytes()[:-300])
    with pytest.raises(DataError, match="is no video that OpenCV reads"):
        sample_frames(video)
    assert capfd.readouterr().err == ""


def test_frames_of_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(video_module, "_MAX_PIXELS", 4_000)
    with pytest.raises(DataError, match=r"frames of 64 x 64 pixels; expected at most 0\.004 megapixels"):
        sample_frames(write_video(tmp_path / "v.mp4", [grey(50)] * 3))


def test_a_cut_video_is_refused_or_read(tmp_path, face):
    video = write_video(tmp_path / "v.mp4", [face] * 20)
    video.write_bytes(video.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"v\.mp4"):
        sample_frames(video)


def test_a_video_of_a_photo_is_judged_as_the_photo(tmp_path, people, face):
    verifier = bonaface.load()
    video = write_video(tmp_path / "v.mp4", [face] * 20)
    other = people / "0001" / "0.jpg"
    verdict = verifier.verify(video, other)
    assert verdict.decision == verifier.verify(people / "0000" / "0.jpg", other).decision
    assert verdict.reason.endswith("v.mp4: 16 of 16 frames used)")
    photos = verifier.embed([video, people / "0000" / "0.jpg"])
    assert float(photos.identity[0] @ photos.identity[1]) > 0.9
    np.testing.assert_allclose(np.linalg.norm(photos.identity, axis=1), 1, atol=1e-4)


def test_two_people_in_one_video_pass_as_neither(tmp_path, people):
    verifier = bonaface.load()
    ann, bob = (cv2.resize(decode(people / who / "0.jpg"), (160, 160)) for who in ("0000", "0001"))
    verdict = verifier.verify(write_video(tmp_path / "v.mp4", [ann, bob] * 4), people / "0000" / "1.jpg")
    assert verdict.decision == "cannot tell"
    assert "shows more than one person (4 of 8 frames are unlike the others)" in verdict.reason
    mostly = verifier.read(write_video(tmp_path / "w.mp4", [ann] * 7 + [bob]))
    assert (mostly.problem, len(mostly.inputs), mostly.frames) == (None, 7, 8)


def test_a_suffix_tells_a_video():
    assert is_video(Path("x.MOV"))
    assert not is_video("x.jpeg")


def test_a_video_and_a_copy_of_it_prove_nothing(tmp_path, people):
    verifier = bonaface.load()
    ann = [cv2.resize(decode(people / "0000" / f"{n}.jpg"), (160, 160)) for n in range(2)]
    video = write_video(tmp_path / "a.mp4", [ann[0]] * 20)
    smaller = write_video(tmp_path / "b.avi", [cv2.resize(ann[0], (128, 128), interpolation=cv2.INTER_AREA)] * 30)
    for copy in (video, smaller, people / "0000" / "0.jpg"):
        for verdict in (verifier.verify(video, copy), *verifier.verify_many([(copy, video)])):
            assert verdict.decision == "cannot tell"
            assert "These are copies of the same frames: nothing is proved." in verdict.reason
    for other in (write_video(tmp_path / "c.mp4", [ann[1]] * 20), people / "0000" / "1.jpg"):
        assert "nothing is proved" not in verifier.verify(video, other).reason
