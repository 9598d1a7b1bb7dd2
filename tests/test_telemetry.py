"""The libraries' telemetry is off: nothing is connected to, looked up or left in the user's home."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from calls_home import assert_nothing_left, needs_strace, tracing

from bonaface.assets import SHIPPED_MODEL, unpack_demo
from bonaface.telemetry import SWITCHES

ROOT = Path(__file__).parents[1]
LIBRARIES = {
    "onnxruntime": f"onnxruntime.InferenceSession({str(SHIPPED_MODEL)!r})",
    "openvino": f"openvino.Core().read_model({str(SHIPPED_MODEL)!r})",
    "mlflow": "mlflow.MlflowClient('sqlite:///runs.db').create_experiment('e')",
}


@pytest.fixture
def place(tmp_path):
    """An environment with an empty home."""
    (tmp_path / "home").mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "DO_NOT_TRACK", *SWITCHES}}
    # Without GITHUB_ACTIONS and the like some libraries would stay silent for the tests alone.
    kept = {
        name: value for name, value in kept.items() if not re.match("PYTEST|GITHUB|GITLAB|JENKINS|TF_BUILD|XDG", name)
    }
    return kept | {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}


@needs_strace
@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_that_report_stay_silent(name, place, tmp_path):
    pytest.importorskip(name, reason=f"{name} is not installed")
    code = f"import bonaface, time, {name}; {LIBRARIES[name]}; time.sleep(1)"
    words = [*tracing(tmp_path / "calls.txt"), sys.executable, "-c", code]
    subprocess.run(words, env=place, cwd=tmp_path, check=True, capture_output=True)
    assert_nothing_left(tmp_path / "calls.txt", tmp_path / "home")


@needs_strace
def test_the_check_sees_a_library_that_reports(place, tmp_path):
    code = f"import time, onnxruntime; {LIBRARIES['onnxruntime']}; time.sleep(1)"
    words = [*tracing(tmp_path / "calls.txt"), sys.executable, "-c", code]
    subprocess.run(words, env=place, cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(AssertionError):
        assert_nothing_left(tmp_path / "calls.txt", tmp_path / "home")


@needs_strace
def test_the_service_stays_silent(place, tmp_path):
    people = unpack_demo(tmp_path / "demo") / "train" / "images"
    words = [sys.executable, "-m", "bonaface", "serve", "--gallery", "none", "--port", "0"]
    service = subprocess.Popen(
        [*tracing(tmp_path / "calls.txt"), *words],
        env=place,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        address = re.search(r"http://127.0.0.1:\d+", service.stderr.readline())[0]
        files = [("first", people / "0000" / "0.jpg"), ("second", people / "0000" / "1.jpg")]
        assert b"same person" in _posted(f"{address}/v1/verify", files)
    finally:
        os.killpg(service.pid, signal.SIGINT)  # strace itself passes it over
        service.wait(60)
    assert_nothing_left(tmp_path / "calls.txt", tmp_path / "home")


def _posted(address: str, files: list[tuple[str, Path]]) -> bytes:
    parts = [
        f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="{file.name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + file.read_bytes()
        + b"\r\n"
        for name, file in files
    ]
    body = b"".join(parts) + b"--xyz--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=60) as answer:  # noqa: S310
                return answer.read()
        except urllib.error.URLError as error:  # it says its address a moment before it listens
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > until:
                raise
            time.sleep(0.1)


def test_who_sets_a_switch_keeps_it():
    code = "import os, bonaface; print([os.environ[name] for name in ('ORT_DISABLE_TELEMETRY', 'RAY_USAGE_STATS_ENABLED')])"
    own = os.environ | {"ORT_DISABLE_TELEMETRY": "0", "PYTHONPATH": str(ROOT)}
    own.pop("RAY_USAGE_STATS_ENABLED", None)
    said = subprocess.run([sys.executable, "-c", code], env=own, check=True, capture_output=True, text=True)
    assert said.stdout == "['0', '0']\n"
