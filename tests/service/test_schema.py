"""The whole API against its own description, by schemathesis."""

import contextlib

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app

pytest_plugins = ("pattern_service",)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def described(embedder, settings, gallery, serve):
    served = serve(create_app(Verifier(embedder), gallery, settings))
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as asked", "not as asked"])
def test_every_answer_is_as_described(described, mode):
    seen = 0
    for operation in (found.ok() for found in described.get_all_operations()):

        @settings(
            max_examples=8, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(operation.as_strategy(generation_mode=mode))
        def check(case):
            nonlocal seen
            seen += 1
            case.call_and_validate(checks=CHECKS)

        with contextlib.suppress(Unsatisfiable):  # nothing about a request without parameters can be wrong
            check()
    assert seen > 50


def test_the_description_shows_everything(make_client, gallery, tmp_path):
    from bonaface.service.auth import new_key

    new_key(tmp_path / "keys", "desk")
    said = make_client(gallery, keys=tmp_path / "keys", loopback=False).get("/openapi.json").json()
    assert said["openapi"].startswith("3.")
    assert {
        "/v1/verify",
        "/v1/verify/batch",
        "/v1/people/{person}/photos",
        "/v1/people/{person}/verify",
        "/v1/search",
    } <= set(said["paths"])
    assert "security" in said["paths"]["/v1/verify"]["post"]
    assert "security" not in said["paths"]["/v1/health"]["get"]
    for path, operations in said["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
    assert "example" in said["components"]["schemas"]["VerdictResponse"]
