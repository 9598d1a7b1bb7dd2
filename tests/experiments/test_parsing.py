"""A file of experiments: what it may say, and what is refused before anything is trained."""

from pathlib import Path

import pytest
import yaml

from bonaface.config_io import settings_by_name
from bonaface.errors import ConfigError
from bonaface.experiments.parsing import read_plan
from bonaface.experiments.settings import flatten, merged

ROOT = Path(__file__).parent.parent.parent


def written(tmp_path: Path, content: object) -> Path:
    file = tmp_path / "x.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return file


def refusal(tmp_path: Path, content: object) -> str:
    with pytest.raises(ConfigError) as refused:
        read_plan(written(tmp_path, content))
    said = str(refused.value)
    assert "\n" not in said
    assert said.startswith(str(tmp_path / "x.yaml"))
    return said.removeprefix(f"{tmp_path / 'x.yaml'}: ")


def test_settings_of_the_file_the_table_and_the_row_are_laid_over_one_another(tmp_path):
    file = written(
        tmp_path,
        {
            "settings": {"steps": 9, "batch": {"n_labels": 20, "n_instances": 3}, "loss.margin": 0.1},
            "tables": [
                {
                    "title": "T",
                    "settings": {"loss": {"margin": 0.2}},
                    "rows": [{"name": "A b", "settings": {"batch.n_labels": 25}}, {"name": "c"}],
                }
            ],
        },
    )
    plan = read_plan(file)
    first, second = (plan.configs[name] for name in ("A b", "c"))
    assert (first.batch.n_labels, first.batch.n_instances, first.loss.margin, first.steps) == (25, 3, 0.2, 9)
    assert (second.batch.n_labels, second.batch.n_instances) == (20, 3)
    assert [trial.folder for trial in plan.trials()] == [Path("runs/x/a-b-seed0"), Path("runs/x/c-seed0")]
    assert first.tracking.mlflow == "sqlite:///runs/mlflow.db"


def test_a_grid_is_every_combination_with_every_seed(tmp_path):
    grid = {"batch.n_labels": [20, 25], "loss": {"margin": [0.1, None], "name": ["cosine_triplet"]}}
    plan = read_plan(written(tmp_path, {"title": "G", "grid": grid, "seeds": [3, 5]}))
    assert [row.name for row in plan.rows] == [
        "G: n_labels 20, margin 0.1, name cosine_triplet",
        "G: n_labels 20, margin None, name cosine_triplet",
        "G: n_labels 25, margin 0.1, name cosine_triplet",
        "G: n_labels 25, margin None, name cosine_triplet",
    ]
    trials = plan.trials("*25*none*")
    assert [trial.config.seed for trial in trials] == [3, 5]
    assert {(trial.config.batch.n_labels, trial.config.loss.margin) for trial in trials} == {(25, None)}
    assert len({trial.folder for trial in plan.trials()}) == 8


def test_a_row_may_show_the_runs_of_another(tmp_path):
    rows = [{"name": "a", "settings": {"steps": 3}}, {"name": "b", "same": "a", "reported": {"val": 0.1}}]
    plan = read_plan(written(tmp_path, {"rows": rows}))
    assert plan.trials_of(plan.rows[1])[0].folder == plan.trials_of(plan.rows[0])[0].folder
    assert [trial.name for trial in plan.trials()] == ["a, seed 0"]
    assert [trial.name for trial in plan.trials("b")] == ["b, seed 0"]
    assert plan.rows[1].reported == {"val": 0.1}


def test_reported_rows_are_not_run(tmp_path):
    rows = [{"name": "a"}, {"name": "b", "run": "reported", "reported": {"test": 0.382}}]
    assert [trial.row.name for trial in read_plan(written(tmp_path, {"rows": rows})).trials()] == ["a"]


BUDGET = (
    "resources",
    "steps",
    "val_every",
    "precision",
    "faces.workers",
    "frozen_layers",
    "frozen_statistics",
    "out",
    "tracking.experiment",
    "name",
)


def test_the_rows_on_neural_deepfakes_are_the_reports_with_two_budgets(monkeypatch):
    monkeypatch.chdir(ROOT)
    report, small, large = (
        read_plan(Path(f"experiments/{name}.yaml")) for name in ("report", "report_dfdc", "report_dfdc_gpu")
    )
    reported = [
        sorted(tuple(row.reported.items()) for row in plan.rows if row.reported) for plan in (report, small, large)
    ]
    assert reported[0] == reported[1] == reported[2]
    assert [row.name for row in small.rows] == [row.name for row in large.rows]
    for name, config in small.configs.items():
        others = settings_by_name(large.configs[name])
        differing = {key for key, value in settings_by_name(config).items() if value != others[key]}
        assert all(key.endswith(BUDGET) for key in differing), (name, differing)
    images = [
        config.steps * config.batch.n_labels * config.batch.n_instances
        for config in small.configs.values()
        if config.steps and config.batch.sampler == "balanced"
    ]
    assert max(images) - min(images) < 0.01 * max(images) + 25


@pytest.mark.parametrize("name", ["report", "report_quick"])
def test_the_files_of_the_report_are_whole(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = read_plan(Path(f"experiments/{name}.yaml"))
    reported = {row.name: row.reported for row in plan.rows if row.reported}
    assert reported["20 x 5"] == {"test": 0.0809}
    assert reported["25 x 7"] == {"test": 0.0868}
    assert reported["25 x 4"] == {"test": 0.0468}
    assert reported["RandomHorizontalFlip p=0.4"] == {"val": 0.00825}
    assert reported["SoftTripletLoss"] == {"val": 0.0058}
    assert reported["CosineTripletLoss reduction=mean"] == {"val": 0.0085}
    assert reported["CosineTripletLoss margin 0.5"] == {"val": 0.0033, "test": 0.0528}
    assert reported["resnet34_imagenet1k_v1, cleaned data"] == {"val": 0.00525, "test": 0.0486}
    assert reported["baseline"] == {"test": 0.382}
    assert {"20 x 4", "no augmentation", "TripletLossWithMargin 0.5"} <= {row.name for row in plan.rows}
    untrained = {plan.configs[row.name].model.identity.backbone for row in plan.rows if row.way == "untrained"}
    assert untrained == {"vitb14_dinov2", "resnet18_imagenet1k_v1", "vits16_dino"}
    best = plan.configs["resnet34_imagenet1k_v1, cleaned data"]
    assert (best.model.identity.backbone, best.batch.n_labels, best.batch.n_instances) == (
        "resnet34_imagenet1k_v1",
        25,
        4,
    )
    assert (best.loss.name, best.loss.margin) == ("triplet", 0.5)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("rows: [", "line 1: is no YAML"),
        ("- a", "expected name, out, config, seeds"),
        ("", "expected name, out, config, seeds"),
        ({}, "expected rows, a grid or tables, got none"),
        ({"row": []}, "row: there is no such key; did you mean rows?"),
        ({"settings": {"batch": {"n_labels": 5}, "batch.n_labels": 6}, "rows": []}, "batch.n_labels: stands twice"),
        ({"note": "a", "tables": [{"title": "T", "rows": [{"name": "a"}]}]}, "note: is of the rows or the grid"),
        (
            {"rows": [{"name": "a", "setings": {}}]},
            "table 1, row 1: setings: there is no such key; did you mean settings?",
        ),
        (
            {"rows": [{"name": "a"}, {"name": "a"}]},
            'two rows are called "a" (in "x"), and their runs would share a folder',
        ),
        (
            {"tables": [{"title": "S", "rows": [{"name": "a b"}]}, {"title": "T", "rows": [{"name": "A-b"}]}]},
            '"a b" and "A-b" are too alike (in "S" and in "T")',
        ),
        (
            {"rows": [{"name": "a", "settings": {"batch": {"n_lables": 3}}}]},
            'table 1, row 1 ("a"): batch.n_lables: there is no such setting; did you mean batch.n_labels?',
        ),
        (
            {"settings": {"margin": 3}, "rows": [{"name": "a"}]},
            "settings: margin: there is no such setting; did you mean loss.margin?",
        ),
        ({"settings": {"seed": 3}, "rows": [{"name": "a"}]}, "settings: seed can't be set here: seeds says which"),
        ({"settings": {"batch": 3}, "rows": [{"name": "a"}]}, "settings: batch: expected its settings by name"),
        ({"rows": [{"name": "a", "settings": {"steps": "many"}}]}, 'row "a": steps: expected int or null, got "many"'),
        ({"rows": [{"name": "a", "settings": {"steps": -1}}]}, 'row "a": steps: expected at least 0, got -1'),
        ({"rows": [{"name": "a", "run": "later"}]}, "run: expected one of train, untrained, reported, got 'later'"),
        ({"rows": [{"name": "a", "reported": {"val": 8}}]}, "reported: val: expected an error rate from 0 to 1, got 8"),
        ({"rows": [{"name": "../.."}]}, "table 1, row 1: name: expected one with letters or digits"),
        ({"name": "a/b", "rows": [{"name": "a"}]}, 'name: expected the name of one folder, got "a/b"'),
        ({"rows": [{"name": "a"}, {"name": "b", "same": "aa"}]}, 'row "b": same: no such row as "aa"'),
        ({"rows": [{"name": "a"}, {"name": "b", "same": "a", "seeds": [1]}]}, "settings and seeds can't be set"),
        ({"rows": [{"name": "a"}], "seeds": [1, 1]}, "seeds: expected a list of different whole numbers"),
        ({"rows": [{"name": "a"}], "resources": {"cpus": 0}}, "resources: cpus: expected a number of them, got 0"),
        ({"rows": [{"name": "a"}], "resources": {"cpus": float("inf")}}, "cpus: expected a number of them, got inf"),
        ({"rows": [{"name": "a"}], "test": {"labels": "x"}}, "test: pairs: expected the folder of pairs"),
        ({"grid": {"steps": 3}}, "grid: steps: expected a list of values, got 3"),
        ({"tables": [{"title": "T"}]}, "table 1: expected rows or a grid, got neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said(tmp_path, content, what):
    assert what in refusal(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: can't be read"):
        read_plan(tmp_path / "gone.yaml")


def test_a_pattern_that_fits_no_row(tmp_path):
    plan = read_plan(written(tmp_path, {"rows": [{"name": "a"}, {"name": "b"}]}))
    with pytest.raises(ConfigError, match=r'--only: no row of .* fits "c": expected one of "a", "b"'):
        plan.trials("c")


def test_an_optional_branch_is_given_taken_away_and_given_anew():
    given = flatten({"model": {"authenticity": {"backbone": "timm:resnet10t", "size": 96}}}, "x")
    assert given == {"model.authenticity.backbone": "timm:resnet10t", "model.authenticity.size": 96}
    away = merged(given, flatten({"model.authenticity": None}, "x"))
    assert away == {"model.authenticity": None}
    assert merged(away, {"model.authenticity.size": 64}) == {"model.authenticity.size": 64}


def test_a_file_may_begin_with_the_settings_of_a_training(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\nout: elsewhere\nseed: 7\nsteps: 9\nbatch: {n_labels: 20}\n")
    rows = [{"name": "a"}, {"name": "b", "settings": {"batch.n_labels": 30}}]
    plan = read_plan(written(tmp_path, {"config": "base.yaml", "settings": {"steps": 8}, "rows": rows}))
    assert {name: (each.steps, each.batch.n_labels) for name, each in plan.configs.items()} == {
        "a": (8, 20),
        "b": (8, 30),
    }
    assert {each.out for each in plan.configs.values()} == {"runs/x"}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "can't be read"),
        ("steps: [", "no YAML"),
        ("- 1", "expected settings by name"),
        ("stepz: 3", "mean steps"),
    ],
)
def test_a_training_file_that_is_none(tmp_path, content, what):
    if content is not None:
        (tmp_path / "base.yaml").write_text(content)
    with pytest.raises(ConfigError, match=what) as refused:
        read_plan(written(tmp_path, {"config": "base.yaml", "rows": [{"name": "a"}]}))
    assert str(refused.value).startswith(str(tmp_path / "base.yaml"))
