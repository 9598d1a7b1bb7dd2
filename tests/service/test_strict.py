"""Requests that could be read in two ways are refused, and settings are checked before anything listens."""

import pytest
from pattern_service import files, random_image

from bonaface.cli.serve import main
from bonaface.errors import ConfigError
from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app
from bonaface.service.settings import ServiceSettings

pytest_plugins = ("pattern_service",)

ONE, TWO = random_image(1), random_image(1, 1)


def refused(answer):
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "urn:bonaface:request"
    return answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "sent", "data", "why"),
    [
        ("verify", {"first": [ONE, ONE], "second": TWO}, {}, "first: comes 2 times"),
        ("verify", {"first": ONE, "second": TWO}, {"fmr": ["0.01", "0.001"]}, "fmr: comes 2 times"),
        ("verify", {"first": ONE, "second": TWO}, {"fnr": "0.01"}, "'fnr': no such field; expected first, second, fmr"),
        ("verify", {"first": ONE, "second": TWO, "picture": TWO}, {}, "'picture': no such field"),
        ("search", {"picture": ONE}, {}, "picture: is called image now"),
        ("search", {"image": ONE}, {"k": ["1", "2"]}, "k: comes 2 times"),
        ("people/ann/verify", {"picture": ONE}, {}, "picture: is called image now"),
        ("people/ann/verify", {"image": [ONE, TWO]}, {}, "image: comes 2 times"),
        ("people/ann/photos", {"photos": ONE, "photo": TWO}, {}, "'photo': no such field; expected photos"),
        ("verify/batch", {"first": ONE, "second": TWO}, {"fmr": ["0.01", "0.01"]}, "fmr: comes 2 times"),
        ("search", {"image": ONE}, {"k": ""}, "k: is empty; expected a value, or the field left out"),
        ("search/batch", {"images": ONE}, {"fmr": ""}, "fmr: is empty"),
        ("people/batch", {"photos": ONE}, {"person": ""}, "person: is empty"),
        ("search", {"image": ONE}, {"k": "1_0"}, "k: expected an integer such as 10, got '1_0'"),
        ("search", {"image": ONE}, {"k": " 1"}, "k: expected an integer such as 10, got ' 1'"),
        ("search/batch", {"images": ONE}, {"k": "\u0661"}, "k: expected an integer such as 10"),
        (
            "verify",
            {"first": ONE, "second": TWO},
            {"fmr": "0.0_1"},
            "fmr: expected a number such as 0.001, got '0.0_1'",
        ),
        ("verify", {"first": ONE, "second": TWO}, {"fmr": "nan"}, "fmr: expected a number such as 0.001"),
        ("search?k=2", {"image": ONE}, {"k": "1"}, "k: comes 2 times"),
    ],
)
def test_fields_of_other_names_and_doubled_ones(client, path, sent, data, why):
    assert why in refused(client.post(f"/v1/{path}", files=files(**sent), data=data))


@pytest.mark.parametrize("at", ["cut", "behind"])
def test_a_form_that_does_not_end_with_its_boundary(client, at):
    """Its last field was dropped, and the default took its place."""
    whole = client.build_request("POST", "/v1/verify", files=files(first=ONE, second=TWO), data={"fmr": "0.01"})
    body, kind = whole.read(), whole.headers["content-type"]
    assert client.post("/v1/verify", content=body, headers={"content-type": kind}).status_code == 200
    boundary = kind.partition("boundary=")[2].encode()
    more = b'--%b\r\nContent-Disposition: form-data; name="fmr"\r\n\r\n0.1\r\n--%b--\r\n' % (boundary, boundary)
    changed = body[:-12] if at == "cut" else body + more
    assert "the form is cut, or goes on behind its end" in refused(
        client.post("/v1/verify", content=changed, headers={"content-type": kind})
    )


@pytest.mark.parametrize(
    ("path", "fields", "empty"),
    [
        ("verify/batch", ["first", "first", "second", "second"], 0),
        ("verify", ["first", "second", "fmr"], 2),
        ("search/batch", ["images", "images"], 0),
    ],
)
def test_an_empty_file_without_a_name_is_not_left_out(client, path, fields, empty):
    parts = [
        f'--X\r\nContent-Disposition: form-data; name="{name}"; filename="{"" if place == empty else "a.png"}"\r\n\r\n'.encode()
        + (b"" if place == empty else ONE)
        + b"\r\n"
        for place, name in enumerate(fields)
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=X"}
    answer = client.post(f"/v1/{path}", content=b"".join(parts) + b"--X--\r\n", headers=headers)
    assert f"{fields[empty]}: is empty" in refused(answer)


def test_query_parameters_are_fields_too(client):
    assert "limit: comes 2 times" in refused(client.get("/v1/people?limit=1&limit=2"))
    assert "limit: expected an integer such as 10, got '1_0'" in refused(client.get("/v1/people?limit=1_0"))
    assert "limit: expected an integer such as 10, got ''" in refused(client.get("/v1/people?limit="))
    assert "'limt': no such field; expected after, limit" in refused(client.get("/v1/people?limt=1"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "people/ann"),
        ("GET", "people/ann/export"),
        ("DELETE", "people/ann"),
        ("DELETE", f"people/ann/photos/{'0' * 32}"),
        ("GET", "model"),
    ],
)
def test_where_nothing_is_asked_a_parameter_is_refused(client, gallery, method, path):
    client.post("/v1/people/ann/photos", files=files(photos=[ONE]))
    assert "'photo': no such field; expected none" in refused(client.request(method, f"/v1/{path}?photo={'0' * 32}"))
    assert len(gallery.photos_of("ann")) == 1  # the person was not deleted in place of the photo


def test_a_pattern_is_quoted_as_it_is(client):
    assert "'^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'" in refused(client.get("/v1/people/-a"))


@pytest.mark.parametrize(
    "headers", [{"Host": "["}, {"Host": "127.0.0.1:x"}, {"Origin": "http://["}, {"Host": "a:99999"}]
)
def test_headers_that_can_not_be_read_are_400(make_client, headers):
    answer = make_client().get("/v1/health", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:bonaface:malformed")


def test_of_two_lengths_neither_is_believed(make_client):
    answer = make_client().post(
        "/v1/check", content=b"0", headers={"Transfer-Encoding": "chunked", "Content-Length": "1"}
    )
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:bonaface:malformed")
    assert answer.headers["Connection"] == "close"  # what a proxy took for the body is not read as a request


@pytest.mark.parametrize("name", ["Authorization", "Host", "Origin", "Content-Type"])
def test_a_header_that_decides_comes_once(make_client, name):
    client = make_client()
    answer = client.get("/v1/health", headers=[(name, "http://127.0.0.1"), (name, "http://127.0.0.1")])
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:bonaface:malformed")
    assert f"the header {name} comes more than once" in answer.json()["detail"]


@pytest.mark.parametrize(("how", "status"), [("gzip", 415), ("identity, br", 415), ("Identity", 200)])
def test_a_compressed_body_is_refused(client, how, status):
    answer = client.post("/v1/check", files=files(image=ONE), headers={"Content-Encoding": how})
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["detail"] == f"Content-Encoding: {how!r}: expected a body that is not compressed"


def test_text_in_the_place_of_a_file_is_said(client):
    assert refused(client.post("/v1/search", data={"image": "text"})) == "body.image: expected a file, got text"


def test_an_origins_scheme_and_port_count(make_client):
    client = make_client()
    for origin, status in (
        ("http://127.0.0.1", 200),
        ("http://127.0.0.1:80", 200),
        ("https://127.0.0.1", 403),
        ("http://127.0.0.1:8080", 403),
        ("ftp://127.0.0.1", 403),
        ("https://127.0.0.1:80", 403),  # the scheme alone is another
        ("ftp://127.0.0.1:80", 403),
    ):
        assert client.get("/v1/health", headers={"Origin": origin}).status_code == status, origin


def test_more_images_than_may_wait_are_413(make_client):
    client = make_client(queue=3)
    answer = client.post("/v1/verify/batch", files=files(first=[ONE, ONE], second=[TWO, TWO]))
    assert (answer.status_code, answer.json()["detail"]) == (413, "4 images in one request; expected at most 3")


@pytest.mark.parametrize("content", [None, "", "\n\n"], ids=["missing", "empty", "blank"])
def test_without_keys_a_service_that_asks_for_them_does_not_start(embedder, tmp_path, content):
    if content is not None:
        (tmp_path / "keys").write_text(content)
    with pytest.raises(ConfigError, match="--new-key NAME"):
        create_app(Verifier(embedder), None, ServiceSettings(keys=tmp_path / "keys"))
    with pytest.raises(ConfigError, match="--new-key NAME"):
        main(["--auth", str(tmp_path / "keys"), "--gallery", "none", "--model", "is never loaded"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--queue", "1"], "--queue 1: expected 2 to 10,000"),
        (["--queue", "1000000000"], "--queue 1000000000: expected 2 to 10,000"),
        (["--rate", "1000000000000"], "expected 1 to 1,000,000"),
        (["--cors", "http://a:99999"], "--cors http://a:99999"),
        (["--cors", "http://a:0"], "--cors http://a:0"),
        (["--seconds", "1e999"], "--seconds inf: expected 1 to 3600"),
        (["--seconds", "1e-6"], "--seconds 1e-06"),
        (["--rate", "0"], "--rate 0"),
        (["--fmr", "1e999"], "--fmr inf: expected a fraction"),
        (["--fmr", "2"], "--fmr 2"),
        (["--cors", "x"], "--cors x: expected an origin"),
        (["--cors", "https://Desk.example/"], "lower case, no path"),
        (["--cors", "*"], r"--cors \*"),
        (["--detector", "/dev/null"], "--detector /dev/null: is no file"),
        (["--keep-photos", "photos"], "--keep-photos: nobody is enrolled"),
    ],
)
def test_nonsense_is_refused_before_anything_is_loaded(words, why):
    with pytest.raises(ConfigError, match=why):
        main(["--model", "is never loaded", "--gallery", "none", *words])


def test_a_form_field_in_the_address_is_refused_and_not_passed_over(client):
    images = files(first=random_image(1), second=random_image(1, 1))
    answer = client.post("/v1/verify?fmr=0.000001", files=images)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "fmr: stands in the address; expected it in the form"
