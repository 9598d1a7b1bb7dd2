"""docker/: no engine runs here, so the files are held against what they have to say."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from bonaface.cli.serve import _parser

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
DURATION = {"type": "string", "pattern": r"^(\d+(us|ms|s|m|h))+$"}
SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["image"]}, {"required": ["build"]}],
    "properties": {
        "image": {"type": "string", "pattern": r"^[\w./-]+:[\w.-]+$"},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "required": ["context"],
            "properties": {
                "context": {"type": "string"},
                "dockerfile": {"type": "string"},
                "args": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
            },
        },
        "command": TEXTS,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "volumes": TEXTS | {"items": {"type": "string", "pattern": r"^[\w.-]+:/[\w/.-]*(:ro)?$"}},
        "ports": TEXTS | {"items": {"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}},
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["condition"],
                "properties": {
                    "condition": {"enum": ["service_started", "service_healthy", "service_completed_successfully"]}
                },
            },
        },
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test"],
            "properties": {
                "test": TEXTS | {"prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}]},
                "interval": DURATION,
                "timeout": DURATION,
                "start_period": DURATION,
                "retries": {"type": "integer", "minimum": 1},
            },
        },
        "read_only": {"type": "boolean"},
        "tmpfs": TEXTS,
        "cap_drop": TEXTS,
        "security_opt": TEXTS,
        "stop_grace_period": DURATION,
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "properties": {
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
    },
}
"""The part of the Compose specification that compose.yaml uses; a key outside it is one to look up."""


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def test_compose_is_what_the_specification_says(compose):
    Draft202012Validator.check_schema(SCHEMA)
    assert not [error.message for error in Draft202012Validator(SCHEMA).iter_errors(compose)]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("restart", "sometimes"),
        ("ports", ["8000:8000"]),
        ("depends_on", {"milvus": {"condition": "healthy"}}),
        ("stop_grace_period", 40),
        ("comand", ["--gallery"]),
    ],
)
def test_the_schema_refuses_what_compose_would(compose, name, wrong):
    service = compose["services"]["bonaface"] | {name: wrong}
    assert list(Draft202012Validator(SERVICE).iter_errors(service))


def test_what_compose_refers_to_is_there(compose):
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        assert {each.partition(":")[0] for each in service.get("volumes", [])} <= compose["volumes"].keys()
        if "build" in service:
            context = DOCKER / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
            args = set(re.findall(r"^ARG (\w+)", (context / service["build"]["dockerfile"]).read_text(), re.MULTILINE))
            assert service["build"]["args"].keys() <= args


@pytest.mark.parametrize("file", ["Dockerfile", "Dockerfile.gpu"])
def test_images_copy_what_is_there_and_serve(file):
    text = (DOCKER / file).read_text(encoding="utf-8").replace("\\\n", " ")
    for names in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in names.split())
    words = [yaml.safe_load(each) for each in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)]
    assert words[0][:2] == ["bonaface", "serve"]
    settings = _parser().parse_args([*words[0][2:], *(words[1] if len(words) > 1 else [])])
    assert settings.host == "0.0.0.0"  # noqa: S104 - inside the container, with keys
    assert settings.auth is not None
    assert re.search(r"^USER \d+$", text, re.MULTILINE), "an image must not run as root"


@pytest.mark.parametrize(("file", "extras"), [("Dockerfile", "serve"), ("Dockerfile.gpu", "serve,train")])
def test_an_image_installs_the_extras_that_it_needs(file, extras):
    text = (DOCKER / file).read_text(encoding="utf-8")
    assert re.findall(r"^ARG EXTRAS=(.*)$", text, re.MULTILINE) == [extras]
    assert shlex.split(re.search(r"pip install (.*)$", text, re.MULTILINE)[1])[-1] == ".[${EXTRAS}]"
    assert set(extras.split(",")) <= EXTRAS.keys()


def test_compose_adds_what_a_milvus_server_needs(compose):
    service = compose["services"]["bonaface"]
    assert set(service["build"]["args"]["EXTRAS"].split(",")) == {"gallery", "serve"}
    assert _parser().parse_args(service["command"]).gallery.startswith("http://milvus:")
