"""How an ONNX face network wants its images: described beside it in JSON or YAML, or known by its name."""

import pytest

from bonaface.errors import MissingExtraError, ModelError
from bonaface.models.input_format import InputFormat, input_format

EXPECTED = "expected size, channels (rgb or bgr), mean and std by name"


def test_input_formats(tmp_path):
    file = tmp_path / "net.onnx"
    beside = tmp_path / "net.yaml"
    with pytest.raises(
        ModelError, match=r"net\.onnx: how its images must be prepared is not known: write net\.json"
    ) as e:
        input_format(file)
    assert "\n" not in str(e.value)
    example = str(e.value).partition("e.g. ")[2]
    beside.write_text(example)  # JSON is YAML
    assert input_format(file) == InputFormat(112, "bgr", (127.5,) * 3, (127.5,) * 3)
    beside.unlink()
    (tmp_path / "net.json").write_text(example)
    assert input_format(file) == InputFormat(112, "bgr", (127.5,) * 3, (127.5,) * 3)
    (tmp_path / "net.json").unlink()
    beside.write_text("size: 64")
    assert input_format(file) == InputFormat(64, "rgb", (0.0,) * 3, (1.0,) * 3)
    beside.write_text("{size: 64, mean: 10, std: [1, 2, 3]}")
    assert input_format(file) == InputFormat(64, "rgb", (10.0,) * 3, (1.0, 2.0, 3.0))


def test_known_files_need_no_yaml(tmp_path):
    assert input_format(tmp_path / "mobilefacenet_512.onnx") == InputFormat(112, "bgr", (127.5,) * 3, (127.5,) * 3)
    assert input_format(tmp_path / "sface_2021dec.onnx") == InputFormat(112, "rgb")
    (tmp_path / "sface_2021dec.yaml").write_text("{size: 96, channels: bgr}")
    assert input_format(tmp_path / "sface_2021dec.onnx") == InputFormat(96, "bgr")  # what is written beside it wins


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "size: big",
        "mean: 1",
        "{size: 112, channels: grey}",
        "{size: 0}",
        "{size: 112, std: 0}",
        "{size: 112, std: [1, 0, 1]}",
        "{size: 112, mean: [1, 2]}",
        "{size: 112, mean: text}",
        "{size: [112]}",
        "{size: .inf}",
        "{size: 112.5}",
        "{size: true}",
        "{size: 10000000}",
        "{size: 112, mean: .nan}",
        "{size: 112, mean: [0, 0, .inf]}",
        "{size: 112, std: .nan}",
        "{size: 112, std: .inf}",
        "{size: 112, std: -1}",
        "{size: 112, std: [1, 1, -0.5]}",
        "{size: 112, std: 1.0e+999}",
        "&a {size: 112, mean: *a}",
        "{size: 112, mean: &a [*a, *a, *a]}",
        "a: b: c",
        "!!python/object/apply:os.getcwd []",
    ],
)
def test_bad_descriptions(tmp_path, text):
    (tmp_path / "net.yaml").write_text(text)
    with pytest.raises(ModelError, match=r"net\.yaml: .*expected") as caught:
        input_format(tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)
    assert "Error(" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"size": 112, "chanels": "bgr"}', "chanels: there is no such key; did you mean channels?"),
        ('{"size": 112, "means": [1, 1, 1]}', "means: there is no such key; did you mean mean?"),
        ('{"size": 112, "stdev": [1, 1, 1]}', "stdev: there is no such key; did you mean std?"),
        ('{"size": 112, "a": 1}', f"a: there is no such key; {EXPECTED}"),
        ('{"size": 112, "mean": [-1, -1, -1]}', "mean: expected 0 to 255, as it is subtracted, got [-1, -1, -1]"),
        ('{"size": 112, "mean": [0, 0, -127.5]}', "mean: expected 0 to 255, as it is subtracted, got [0, 0, -127.5]"),
        ('{"size": 112, "mean": 256}', "mean: expected 0 to 255, as it is subtracted, got 256"),
        ('{"size": 112, "std": 0}', "std: expected more than 0, as it is divided by, got 0"),
        ('{"size": 112, "size": 96}', f'is no JSON ("size" stands twice); {EXPECTED}'),
        ('{"channels": "bgr"}', f"says no size; {EXPECTED}"),
        ('{"size": 112, "channels": "grey"}', "channels: expected rgb or bgr, got grey"),
        ("[1, 2]", f"names no keys; {EXPECTED}"),
        ("size: 1", f"is no JSON (expecting value: line 1 column 1 (char 0)); {EXPECTED}"),
        ("[" * 100_000, f"is nested too deeply; {EXPECTED}"),
    ],
)
def test_a_description_is_refused_in_one_sentence(tmp_path, text, told):
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        input_format(tmp_path / "net.onnx")
    assert str(caught.value) == f"{tmp_path / 'net.json'}: {told}"


def test_yaml_beside_a_network_is_refused_likewise(tmp_path):
    for text, told in (
        ("{size: 112, chanels: bgr}", "chanels: there is no such key; did you mean channels?"),
        ("{size: 112, a: &a {b: *a}}", f"refers to itself by an alias; {EXPECTED}"),
        ("a: b: c", f"line 1: is no YAML (mapping values are not allowed here); {EXPECTED}"),
    ):
        (tmp_path / "net.yaml").write_text(text)
        with pytest.raises(ModelError) as caught:
            input_format(tmp_path / "net.onnx")
        assert str(caught.value) == f"{tmp_path / 'net.yaml'}: {told}"


def test_json_comes_before_yaml_and_needs_no_package(tmp_path, monkeypatch):
    (tmp_path / "net.yaml").write_text("size: 64")
    monkeypatch.setattr("bonaface.extras._is_installed", lambda module: module != "yaml")
    with pytest.raises(MissingExtraError) as caught:
        input_format(tmp_path / "net.onnx")
    assert str(caught.value) == (
        f"{tmp_path / 'net.yaml'}: needs PyYAML, which is not installed: pip install 'bonaface[evaluate]', "
        "or write the same as net.json"
    )
    (tmp_path / "net.json").write_text('{"size": 96}')
    assert input_format(tmp_path / "net.onnx").size == 96
    (tmp_path / "net.json").write_text("{size: 96}")
    with pytest.raises(ModelError, match=r"net\.json: is no JSON"):
        input_format(tmp_path / "net.onnx")
