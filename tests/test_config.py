"""Settings: all of them documented, the same after a round trip, and refused in one sentence."""

import dataclasses
import re
import typing
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bonaface.cli.settings import settings_help
from bonaface.config import (
    BatchConfig,
    BranchConfig,
    FacesConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    TransformConfig,
)
from bonaface.config_io import (
    RENAMED,
    known_settings,
    load_config,
    parse_config,
    read_run_config,
    save_config,
    settings_by_name,
)
from bonaface.errors import ConfigError

TREE = [TrainConfig, FacesConfig, ModelConfig, BranchConfig, BatchConfig, LossConfig, OptimizerConfig, TransformConfig]


def leaves(config: type, before: str = "") -> Iterator[tuple[str, type, str]]:
    """Name on the command line, class and field of every setting that has an option of its own."""
    types = typing.get_type_hints(config)
    for each in dataclasses.fields(config):
        if dataclasses.is_dataclass(types[each.name]):
            yield from leaves(types[each.name], f"{before}{each.name}.")
        else:
            yield f"{before}{each.name}", config, each.name


def arguments(config: type) -> str:
    """The part of the docstring that describes the fields."""
    return config.__doc__.partition("Args:")[2].split("\n\n")[0]


def sentence_of(config: type, field: str) -> str:
    """What the docstring says of a field."""
    found = re.search(rf"^ {{8}}{field}: (.*?)(?=^ {{8}}\w+: |\Z)", arguments(config), re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


@pytest.mark.parametrize("config", TREE)
def test_every_field_is_documented(config):
    undocumented = [each.name for each in dataclasses.fields(config) if len(sentence_of(config, each.name)) < 10]
    assert undocumented == []
    described = re.findall(r"^ {8}(\w+): ", arguments(config), re.MULTILINE)
    assert described == [each.name for each in dataclasses.fields(config)], "in another order, or of no field"


def test_every_setting_is_in_the_help(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    help_ = " ".join(settings_help().split())
    names = list(leaves(TrainConfig))
    assert len(names) > 35
    for name, config, field in names:
        option = f"--{name} " if name != "model.authenticity" else "--model.authenticity.* "
        assert option in help_, name
        assert sentence_of(config, field).rstrip(".") in help_[help_.index(option) :][:600], name


WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
SHARE = st.floats(0, 1)
COUNT = st.integers(2, 10**6)
BRANCHES = st.builds(
    BranchConfig,
    backbone=WORD | st.just("onnx:a b.onnx"),
    weights=WORD,
    view=st.sampled_from(["aligned", "face_crop"]),
    size=st.none() | COUNT,
    crop=st.booleans(),
    dim=st.none() | COUNT,
    frozen=st.booleans(),
    unit_features=st.booleans(),
)
CONFIGS = st.builds(
    TrainConfig,
    name=WORD,
    out=WORD,
    seed=st.integers(0, 2**31),
    faces=st.builds(
        FacesConfig,
        train=WORD | st.just("") | st.just("1e5") | st.just("null"),
        fake_classes=st.sampled_from(["own", "shared", "dropped"]),
        val_fraction=SHARE,
        val_pairs=st.integers(4, 10**6),
        crop_size=st.integers(16, 1000),
        detector=st.none() | WORD,
        cache=WORD,
        flip=SHARE,
        degrade=SHARE,
        transforms=st.lists(
            st.builds(
                TransformConfig,
                name=WORD,
                options=st.dictionaries(WORD, st.integers() | st.booleans() | st.lists(st.integers(), max_size=2)),
            ),
            max_size=2,
        ).map(tuple),
        workers=st.integers(0, 9),
    ),
    model=st.builds(ModelConfig, identity=BRANCHES, authenticity=st.none() | BRANCHES, flip_tta=st.booleans()),
    batch=st.builds(
        BatchConfig, sampler=st.sampled_from(["balanced", "paired_fakes"]), n_labels=COUNT, n_instances=COUNT
    ),
    loss=st.builds(
        LossConfig,
        name=st.sampled_from(["soft_triplet", "triplet", "cosine_triplet", "arcface", "adaface"]),
        margin=st.none() | SHARE,
        reduction=st.sampled_from(["mean", "sum", "mean_active"]),
        scale=SHARE,
        memory=st.integers(0, 9),
        normalise=st.booleans(),
        identity_weight=SHARE,
        authenticity_weight=SHARE,
        smoothing=st.floats(0, 0.49),
    ),
    optimizer=st.builds(
        OptimizerConfig,
        name=st.sampled_from(["adamw", "sgd"]),
        lr=SHARE,
        weight_decay=SHARE,
        schedule=st.sampled_from(["constant", "cosine"]),
        warmup=SHARE,
        accumulate=COUNT,
        clip=SHARE,
    ),
    epochs=COUNT,
    steps=st.none() | COUNT,
    val_every=st.none() | COUNT,
    patience=st.integers(0, 9),
    precision=st.sampled_from(["auto", "32", "bf16", "16"]),
    device=st.sampled_from(["auto", "cpu", "cuda"]),
    compile=st.booleans(),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(config=CONFIGS)
def test_yaml_round_trip(tmp_path, config):
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_the_file_holds_every_setting(tmp_path):
    save_config(TrainConfig(), tmp_path / "config.yaml")
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    for name, _, _ in leaves(TrainConfig):
        value = saved
        for part in name.split("."):
            assert part in value, name
            value = value[part]


def test_defaults_and_options():
    assert parse_config([]) == TrainConfig()
    config = parse_config(
        ["--batch.n_labels", "7", "--model.identity.frozen=true", "--loss.margin=null", "--precision=16"]
    )
    assert config.batch == BatchConfig(n_labels=7)
    assert config.model.identity == BranchConfig(frozen=True)
    assert config.loss.margin is None
    assert config.precision == "16"


def test_options_after_the_file_win(tmp_path):
    (tmp_path / "a.yaml").write_text("{seed: 3, batch: {n_labels: 9, n_instances: 5}}")
    config = parse_config(["--config", str(tmp_path / "a.yaml"), "--batch.n_labels", "8"])
    assert (config.seed, config.batch.n_labels, config.batch.n_instances) == (3, 8, 5)


def test_a_branch_that_was_none_takes_single_settings():
    config = parse_config(["--model.authenticity.backbone=timm:resnet18", "--model.authenticity.crop=true"])
    assert config.model.authenticity == BranchConfig("timm:resnet18", crop=True)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--batch.labels", "3"], "batch.labels"),
        (["--unknown", "3"], "unknown"),
        (["--batch.n_labels", "many"], "n_labels"),
        (["--batch.n_labels", "2.5"], "n_labels"),
        (["--faces.fake_classes", "none"], "fake_classes"),
        (["--loss.name", "sphereface"], "loss.name"),
        (["--model.flip_tta", "perhaps"], "flip_tta"),
        (["--optimizer.lr", "fast"], "lr"),
        (["--model.authenticity.size", "big"], "authenticity"),
        (["word"], "word"),
        (["--config", "/nowhere/a.yaml"], "/nowhere/a.yaml"),
        # out of range
        (["--faces.val_fraction", "1.5"], "faces.val_fraction: expected a number from 0 to 1, got 1.5"),
        (["--faces.flip=-0.1"], "faces.flip"),
        (["--faces.flip=nan"], "faces.flip"),
        (["--faces.degrade=2"], "faces.degrade"),
        (["--loss.smoothing=0.6"], "loss.smoothing: expected a number from 0 to 0.5"),
        (["--optimizer.warmup=2"], "optimizer.warmup"),
        (["--optimizer.accumulate=0"], "optimizer.accumulate: expected at least 1, got 0"),
        (["--faces.val_pairs=3"], "faces.val_pairs"),
        (["--faces.val_pairs=999999999999"], "faces.val_pairs"),
        (["--faces.crop_size=8"], "faces.crop_size"),
        (["--batch.n_labels=1"], "batch.n_labels: expected at least 2, got 1"),
        (["--batch.n_instances=0"], "batch.n_instances"),
        (["--epochs=0"], "epochs"),
        (["--steps=-1"], "steps"),
        (["--val_every=0"], "val_every"),
        (["--name=../up"], 'name: expected the name of one folder, got "../up"'),
        (["--name="], "name"),
        (["--name=.."], "name"),
    ],
)
def test_refusals_are_one_sentence(words, named):
    with pytest.raises(ConfigError) as caught:
        parse_config(words)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["seeds: 3", "seed: many", "batch: 3", "batch: {n_labels: {a: 1}}", "[1, 2]", "a: b: c", "\0", "name: ../up"],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


def test_settings_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 3


def test_a_config_of_0_1_is_translated(tmp_path):
    """As 0.1 wrote it, with the settings that have other names now."""
    old = {
        "start": "runs/first",
        "faces": {"train": ["a", "b"], "faults": [None, "faults.csv"], "frame_size": 128},
        "model": {
            "identity": {"backbone": "onnx:x.onnx", "view": "aligned", "sees": "picture"},
            "authenticity": {"backbone": "timm:resnet18", "view": "frame", "crop": True, "sees": "both"},
            "mirror": True,
            "corners": True,
        },
        "batch": {"sampler": "beside_fakes"},
        "optimizer": {"average": 0.99},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    config = read_run_config(tmp_path / "config.yaml")
    wanted = {
        "init_from": "runs/first",
        "faces.issues": (None, "faults.csv"),
        "faces.crop_size": 128,
        "model.identity.sees": "image",
        "model.authenticity.view": "face_crop",
        "model.flip_tta": True,
        "model.five_crop": True,
        "batch.sampler": "paired_fakes",
        "optimizer.ema": 0.99,
    }
    assert wanted.items() <= settings_by_name(config).items()
    with pytest.raises(ConfigError, match=r"config\.yaml: .* is called .* now"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("name", sorted(RENAMED))
def test_renamed_settings_are_refused_by_their_new_name(name):
    assert RENAMED[name] in known_settings()[0]
    with pytest.raises(ConfigError, match=f"^{name}: is called {RENAMED[name]} now$"):
        parse_config([f"--{name}=1"])


@given(
    st.dictionaries(WORD | st.sampled_from(sorted(known_settings()[0])), WORD | st.integers() | st.floats(), max_size=4)
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_any_file_is_settings_or_one_sentence(tmp_path, content):
    (tmp_path / "any.yaml").write_text(yaml.safe_dump(content))
    said = ""
    try:
        load_config(tmp_path / "any.yaml")
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model.authenticity.trains=some"], "trains"),
        (["--model.authenticity.trains=norms", "--model.authenticity.frozen=true"], "frozen trains nothing"),
        (["--model.identity.trains=head"], "set model.identity.dim"),
    ],
)
def test_parts_that_cannot_be_trained_are_refused(words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse_config(words)


def test_which_weights_are_trained():
    assert parse_config(["--model.authenticity.trains=norms"]).model.authenticity.trains == "norms"
    assert parse_config(["--model.identity.trains=head", "--model.identity.dim=8"]).model.identity.dim == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model.authenticity.trains bogus", 'model.authenticity.trains: expected all or norms or head, got "bogus"'),
        ("--model.authenticity.size=abc", 'model.authenticity.size: expected int or null, got "abc"'),
        ('--model.authenticity {"size":"abc"}', 'model.authenticity.size: expected int or null, got "abc"'),
        ("--model.authenticity x", 'model.authenticity: expected settings by name or null, got "x"'),
        ("--model.authenticity.size 64 --batch.n_labels x", 'batch.n_labels: expected int, got "x"'),
        ("--batch null", 'batch: expected settings by name, got "null"'),
        ("--model=3", 'model: expected settings by name, got "3"'),
    ],
)
def test_wrong_values_in_groups_name_the_setting(words, said):
    with pytest.raises(ConfigError) as caught:
        parse_config(words.split())
    assert str(caught.value) == said


def test_a_wrong_value_in_an_optional_group_of_a_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("model:\n  authenticity:\n    trains: bogus\n")
    said = 'model.authenticity.trains: expected all or norms or head, got "bogus"'
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == f"{file}: {said}"
    with pytest.raises(ConfigError, match=r"not the settings of a run: model\.authenticity\.trains: expected all"):
        read_run_config(file)
