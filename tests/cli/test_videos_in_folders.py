"""Folders are read for photos alone: commands say how many videos in them they pass over."""

import json
import shutil

import cv2
import pandas as pd
import pytest

SAYS = {
    "enrol": "2 videos passed over; people are enrolled from photos",
    "search": "2 videos passed over; name a video itself to have it judged",
    "check": "2 videos passed over; name a video itself to have it judged",
    "embed": "2 videos passed over; in Python, bonaface.load().embed takes them",
}


@pytest.fixture
def staff(demo, tmp_path):
    """One person's photo and two videos, one of them in a folder below, and a hidden one."""
    folder = tmp_path / "staff"
    (folder / "ann" / "more").mkdir(parents=True)
    shutil.copy(demo / "0000" / "0.jpg", folder / "ann")
    for name in ("ann.mp4", "more/ann.MOV", "._ann.mp4"):
        (folder / "ann" / name).write_bytes(b"\0\0\0\x18ftypmp42")
    return folder


def test_videos_in_a_folder_are_counted(staff, tmp_path, say):
    gallery = ["--gallery", str(tmp_path / "people.sqlite")]
    for words in (
        ["enrol", staff, *gallery],
        ["search", staff, *gallery],
        ["check", staff],
        ["embed", staff, "--out", tmp_path / "x.npz"],
    ):
        said = say(*words)
        assert (said.code, said.err.splitlines().count(SAYS[words[0]])) == (0, 1), said
    assert "passed over" not in say("check", staff / "ann" / "0.jpg").err


@pytest.mark.usefixtures("ray_here")
def test_videos_are_counted_of_a_data_set_too_each_time(run_folder, staff, tmp_path, say):
    pytest.importorskip("ray")
    for _ in range(2):
        said = say("embed", staff, "--out", tmp_path / "out", "--model", run_folder, "--workers", 1)
        assert (said.code, said.err.splitlines().count(SAYS["embed"])) == (0, 1), said
    assert pd.read_parquet(tmp_path / "out")["path"].tolist() == ["ann/0.jpg"]


@pytest.mark.parametrize("command", list(SAYS))
def test_a_folder_of_videos_alone(command, staff, tmp_path, say):
    gallery = ["--gallery", str(tmp_path / "people.sqlite")]
    if command == "search":
        say("enrol", staff, *gallery)
    (staff / "ann" / "0.jpg").unlink()
    options = {"enrol": gallery, "search": gallery, "embed": ["--out", tmp_path / "x.npz"]}
    said = say(command, staff, *options.get(command, ()))
    assert said.code == 2
    assert f"{staff}: holds no images ({SAYS[command]}); expected" in said.err
    if command == "embed":
        said = say(command, staff, "--out", tmp_path / "out")
        assert f"{staff}: holds no images ({SAYS[command]}); expected" in said.err


def test_how_many_frames_of_a_video_were_used_is_said(demo, staff, tmp_path, say):
    ann = cv2.imread(str(demo / "0000" / "0.jpg"))
    video = tmp_path / "ann.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 25, ann.shape[1::-1])
    for frame in [ann, 0 * ann] * 8:
        writer.write(frame)
    writer.release()
    used = "8 of 16 frames used"
    assert say("check", video).out.endswith(f"; {used}\n")
    assert json.loads(say("check", video, "--json").out)["frames"] == [8, 16]
    gallery = ["--gallery", str(tmp_path / "people.sqlite")]
    say("enrol", staff, *gallery)
    assert "same person, " in (said := say("search", video, *gallery).out)
    assert said.endswith(f"({video}: {used})\n")
    assert "frames used" not in say("check", staff / "ann" / "0.jpg").out
