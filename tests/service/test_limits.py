"""What is too large, too often, too slow, or from somebody who may not ask."""

import io
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.testclient import TestClient
from pattern_service import HERE, PatternNetwork, files, random_image
from PIL import Image

from bonaface.errors import ConfigError
from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app
from bonaface.service.auth import Keys, new_key
from bonaface.service.settings import ServiceSettings

pytest_plugins = ("pattern_service",)


def kind(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:bonaface:")


def test_bodies_and_images_have_a_largest_size(make_client):
    client = make_client(request_bytes=200_000, image_bytes=60_000, images=4)
    noise = io.BytesIO()
    Image.effect_noise((320, 320), 90).save(noise, "PNG")
    assert kind(client.post("/v1/verify", files=files(first=noise.getvalue(), second=random_image(1)))) == (
        413,
        "too-large",
    )
    assert kind(client.post("/v1/verify", files=files(first=bytes(300_000), second=random_image(1)))) == (
        413,
        "too-large",
    )
    many = files(first=[random_image(1)] * 3, second=[random_image(1)] * 3)
    assert kind(client.post("/v1/verify/batch", files=many)) == (413, "too-large")


def test_a_body_without_a_length_is_counted(make_client):
    client = make_client(request_bytes=50_000)
    answer = client.post(
        "/v1/verify",
        content=(bytes(10_000) for _ in range(10)),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert kind(answer) == (413, "too-large")


def test_one_caller_may_ask_only_so_often(make_client):
    client = make_client(requests_a_minute=60)
    answers = [client.get("/v1/health") for _ in range(15)]
    assert [each.status_code for each in answers[:10]] == [200] * 10
    assert kind(answers[-1]) == (429, "too-many")
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_keys_open_and_nothing_else_does(make_client, tmp_path):
    key = new_key(tmp_path / "keys", "desk")
    other = new_key(tmp_path / "keys", "door")
    client = make_client(keys=tmp_path / "keys", loopback=False, audit=tmp_path / "audit.jsonl")
    pair = files(first=random_image(1), second=random_image(1, 1))
    for headers in (
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": f"Basic {key}"},
        {"Authorization": "Bearer "},
    ):
        answer = client.post("/v1/verify", files=pair, headers=headers)
        assert kind(answer) == (401, "key")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for each in (key, other):
        assert client.post("/v1/verify", files=pair, headers={"Authorization": f"Bearer {each}"}).status_code == 200
    for path in ("/", "/v1/health", "/v1/ready", "/openapi.json", "/web/page.js"):
        assert client.get(path).status_code == 200, path
    for path in ("/metrics", "/v1/model", "/v1/people"):
        assert client.get(path).status_code == 401, path
    audit = (tmp_path / "audit.jsonl").read_text()
    assert [json.loads(line)["caller"] for line in audit.splitlines()] == ["desk", "door"]
    assert key not in (tmp_path / "keys").read_text()
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


def test_a_file_of_keys_is_followed(tmp_path):
    file = tmp_path / "keys"
    first = new_key(file, "desk")
    keys = Keys(file)
    second = new_key(file, "door")
    assert (keys.owner(first), keys.owner(second)) == ("desk", "door")
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("door")))
    assert (keys.owner(first), keys.owner(second)) == (None, "door")
    file.write_text("nonsense\n")
    assert keys.owner(second) is None
    file.unlink()
    assert keys.owner(second) is None
    third = new_key(file, "desk")
    assert keys.owner(third) == "desk"


def test_keys_that_are_made_at_once_are_all_kept(tmp_path):
    file = tmp_path / "keys"
    (tmp_path / "link").symlink_to(file)
    code = (
        "import pathlib, sys; from bonaface.service.auth import new_key; "
        "[new_key(pathlib.Path(sys.argv[1]), f'{sys.argv[2]}-{n}') for n in range(25)]"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name), f"p{n}"])
        for n, name in enumerate(("keys", "keys", "link", "link"))
    ]
    assert [each.wait() for each in started] == [0, 0, 0, 0]
    assert len(file.read_text().splitlines()) == 100


def test_a_file_of_keys_must_be_one(tmp_path):
    with pytest.raises(ConfigError, match="--new-key NAME"):
        Keys(tmp_path / "none")
    (tmp_path / "keys").write_text("desk:secret\n")
    with pytest.raises(ConfigError, match="keys:1: expected name:digest"):
        Keys(tmp_path / "keys")
    (tmp_path / "keys").write_text(f"desk:{'0' * 64}\ndesk:{'1' * 64}\n")
    with pytest.raises(ConfigError, match="keys:2: desk stands twice"):
        Keys(tmp_path / "keys")
    with pytest.raises(ConfigError, match="expected 1 to 64"):
        new_key(tmp_path / "keys", "a:b")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_pages_from_elsewhere_may_not_ask(make_client, headers):
    assert kind(make_client().get("/v1/health", headers=headers)) == (403, "origin")


def test_cors_is_closed_unless_an_origin_is_named(make_client):
    origin = "https://desk.example"
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    closed, opened = make_client(), make_client(origins=(origin,))
    assert "access-control-allow-origin" not in closed.options("/v1/verify", headers=preflight).headers
    assert opened.options("/v1/verify", headers=preflight).headers["access-control-allow-origin"] == origin
    assert opened.get("/v1/health", headers={"Origin": origin}).status_code == 200
    assert kind(opened.get("/v1/health", headers={"Origin": "https://evil.example"})) == (403, "origin")


def test_what_callers_send_makes_no_labels(make_client, tmp_path):
    key = new_key(tmp_path / "keys", "desk")
    client = make_client(keys=tmp_path / "keys", loopback=False)
    before = _labels(client, key)
    for n in range(20):
        client.request(f"A{n}ZZZ", f"/{n}")
        client.get(f"/v1/people/p{n}", headers={"Authorization": f"Bearer {key}"})
    after = _labels(client, key)
    assert not any("ZZZ" in line for line in after)
    assert sum(line.startswith("bonaface_requests_total") for line in after - before) < 5


def _labels(client, key):
    text = client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
    return {line.rpartition(" ")[0] for line in text.splitlines()}


def test_headers_keep_browsers_from_guessing(make_client):
    headers = make_client().get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert make_client().get("/v1/health").headers["cache-control"] == "no-store"


def test_a_full_queue_says_when_to_come_again(embedder, serve):
    """Under many requests at once there are answers and 503, and nothing else."""
    slow = PatternNetwork(seconds=0.15)
    embedder.network = slow
    url = serve(create_app(Verifier(embedder), None, ServiceSettings(requests_a_minute=10**6, queue=8, batch=4))).url
    pair = files(first=random_image(1), second=random_image(1, 1))
    with ThreadPoolExecutor(24) as pool, httpx.Client(base_url=url, timeout=120) as client:
        answers = list(pool.map(lambda _: client.post("/v1/verify", files=pair), range(24)))
    statuses = {each.status_code for each in answers}
    assert statuses == {200, 503}
    refused = next(each for each in answers if each.status_code == 503)
    assert kind(refused) == (503, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    assert max(slow.batches) == 4, "requests share batches"


def test_an_answer_that_takes_too_long_is_given_up(embedder, serve):
    embedder.network = PatternNetwork(seconds=1.0)
    url = serve(create_app(Verifier(embedder), None, ServiceSettings(seconds=0.2))).url
    answer = httpx.post(f"{url}/v1/verify", files=files(first=random_image(1), second=random_image(1)), timeout=120)
    assert kind(answer) == (503, "late")


def test_a_slow_sender_is_cut_off(embedder, serve):
    url = serve(create_app(Verifier(embedder), None, ServiceSettings(seconds=0.3))).url

    def trickle():
        for _ in range(20):
            yield b"x"
            time.sleep(0.1)

    answer = httpx.post(
        f"{url}/v1/verify", content=trickle(), headers={"content-type": "multipart/form-data; boundary=x"}, timeout=30
    )
    assert kind(answer) == (408, "too-slow")


def test_what_has_begun_is_finished_before_the_end(embedder, serve):
    embedder.network = network = PatternNetwork(seconds=0.6)
    served = serve(create_app(Verifier(embedder), None, ServiceSettings()))
    answers = []
    pair = files(first=random_image(1), second=random_image(1, 1))
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{served.url}/v1/verify", files=pair, timeout=120))
    )
    asking.start()
    while not network.batches:
        time.sleep(0.02)
    served.stop()
    asking.join()
    assert [each.status_code for each in answers] == [200]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/v1/health")


def test_an_audit_log_that_cannot_be_written_stops_verdicts(make_client, tmp_path, monkeypatch):
    client = make_client(audit=tmp_path / "audit.jsonl")
    monkeypatch.setattr("os.write", _no_room)
    answer = client.post("/v1/verify", files=files(first=random_image(1), second=random_image(1, 1)))
    monkeypatch.undo()
    assert kind(answer) == (507, "audit")
    assert str(tmp_path) not in answer.text


def _no_room(*_):
    raise OSError(28, "No space left on device")


def test_a_mistake_of_ours_is_a_problem_too(embedder, settings, monkeypatch):
    monkeypatch.setattr(PatternNetwork, "__call__", lambda *_: 1 / 0)
    with TestClient(
        create_app(Verifier(embedder), None, settings), base_url=HERE, raise_server_exceptions=False
    ) as client:
        answer = client.post("/v1/verify", files=files(first=random_image(1), second=random_image(1)))
        assert kind(answer) == (500, "fault")
        assert "division" not in answer.text


def test_probes_are_counted_apart(make_client):
    """A service whose address is used up is busy, and not to be started again."""
    client = make_client(requests_a_minute=60)
    while client.get("/v1/model").status_code == 200:
        pass
    assert client.get("/v1/model").status_code == 429
    assert client.get("/v1/health").status_code == client.get("/v1/ready").status_code == 200
