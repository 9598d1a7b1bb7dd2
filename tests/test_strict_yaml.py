"""YAML without surprises, where settings are read."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bonaface.config_io import parse_config
from bonaface.errors import ConfigError
from bonaface.strict_yaml import load_yaml


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.booleans())))
def test_what_yaml_writes_is_read_back(content):
    assert load_yaml(yaml.safe_dump(content)) == content


@pytest.mark.parametrize("written", ["010", "1_0", "0x10", "0b1", "1:30", "1_0.5", "1:30.5"])
def test_numbers_that_people_read_otherwise_are_refused(written):
    with pytest.raises(yaml.YAMLError, match=f"{written} is not written as a plain number"):
        load_yaml(f"epochs: {written}")


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: 2\na: 3\n", 3), ("out:\n  a: 1\n  a: 1\n", 3), ("{a: 1, a: 2}", 1)]
)
def test_a_key_that_stands_twice_is_refused(text, line):
    with pytest.raises(yaml.MarkedYAMLError, match='"a" stands twice') as said:
        load_yaml(text)
    assert said.value.problem_mark.line + 1 == line


def test_merged_keys_may_be_set_anew():
    assert load_yaml("base: &base {a: 1, b: 2}\nown:\n  <<: *base\n  a: 3\n")["own"] == {"a": 3, "b": 2}


def test_settings_are_read_so(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text("name: x\nepochs: 3\nname: y\n")
    with pytest.raises(ConfigError, match=r'train.yaml: line 3: is no YAML \("name" stands twice\)'):
        parse_config(["--config", str(file)])
    file.write_text("batch:\n  n_labels: 0_20\n")
    with pytest.raises(ConfigError, match=r"line 2: .*0_20 is not written as a plain number"):
        parse_config(["--config", str(file)])
    file.write_text("batch:\n  n_labels: 20\nbatch.n_labels: 21\n")
    with pytest.raises(ConfigError, match=r"batch.n_labels: stands twice, nested and with dots"):
        parse_config(["--config", str(file)])
    for words in (["--seed", "1_0"], ["--seed=010"], ["--batch", "{n_labels: 010}"]):
        with pytest.raises(ConfigError, match=r"^(seed|batch): .* is not written as a plain number"):
            parse_config(words)
    assert parse_config(["--name", "010", "--out", "2026_11"]).name == "010"
