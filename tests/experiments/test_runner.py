"""One run of a row: trained or not, judged, gone on with, failed; its record says which."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bonaface.errors import ConfigError, DataError
from bonaface.experiments.judged_pairs import digest_of
from bonaface.experiments.records import is_done, is_untimed, read_record, refuse_changed
from bonaface.experiments.runner import measure_inference, refuse_missing, run_trial
from bonaface.experiments.spec import TestPairs
from bonaface.training.module import FaceTraining


@pytest.fixture
def trial(plan):
    """``trial(**row)``: the first run of a file with one row, and the file's test pairs."""

    def make(**row):
        made = plan([{"name": "a"} | row])
        return made.trials()[0], made.test

    return make


def test_a_trained_row_has_every_figure(trial):
    one, test = trial()
    record = run_trial(one, test)
    assert record["status"] == "done", record
    assert read_record(one) == {"row": "a", "seed": 0} | record
    assert record["val"] == json.loads((one.folder / "metrics.json").read_text())["val"]
    assert 0 <= record["test"]["challenge_eer"] <= 1
    assert {"sv_eer", "spf_eer"} <= record["test"].keys()
    assert record["cost"]["seconds"] > 0
    assert record["cost"]["memory_of"] == "process"
    assert record["cost"]["peak_memory_bytes"] > 50e6
    assert record["images_per_second"] > 0
    assert "inference_ms" not in record  # other trials run meanwhile
    assert is_untimed(one)
    timed = measure_inference(one)
    assert timed["inference_ms"] > 0
    assert read_record(one) == timed
    assert not is_untimed(one)
    assert pd.read_csv(one.folder / "submission.csv").columns.tolist() == ["pair_id", "similarity"]


def test_an_untrained_row_is_a_run_like_any_other(trial):
    one, test = trial(run="untrained")
    record = run_trial(one, test)
    assert record["status"] == "done", record
    assert (record["best_step"], record["images_per_second"]) == (0, None)
    assert not (one.folder / "last.ckpt").exists()
    assert {"best.ckpt", "config.yaml", "calibration.json", "metrics.json"} <= {
        file.name for file in one.folder.iterdir()
    }


def test_an_untrained_row_has_the_figures_that_training_starts_from(trial):
    as_it_comes, _ = trial(name="as it comes", run="untrained")
    trained, _ = trial(name="trained")
    run_trial(as_it_comes, None)
    run_trial(trained, None)
    start = json.loads((trained.folder / "metrics.json").read_text())["untrained"]
    found = json.loads((as_it_comes.folder / "metrics.json").read_text())["val"]
    assert found["challenge_eer"] == pytest.approx(start["challenge_eer"], abs=1e-9)


def test_a_run_that_died_goes_on_and_ends_as_one_that_did_not(trial, monkeypatch):
    whole, _ = trial(name="whole")
    run_trial(whole, None)
    broken, _ = trial(name="broken")
    with monkeypatch.context() as patched:
        judge = FaceTraining.on_validation_epoch_end

        def once(self):
            if self.current_epoch:
                raise RuntimeError("the power\nwent")
            judge(self)

        patched.setattr(FaceTraining, "on_validation_epoch_end", once)
        record = run_trial(broken, None)
    assert record["status"] == "failed"
    assert record["error"] == "RuntimeError: the power went"
    assert not is_done(broken, None)
    assert "the power" in broken.log.read_text()
    assert (broken.folder / "last.ckpt").exists()

    assert run_trial(broken, None)["status"] == "done"
    histories = [pd.read_csv(each.folder / "metrics.csv").drop(columns="images_per_second") for each in (whole, broken)]
    pd.testing.assert_frame_equal(*histories)


def test_what_was_trained_is_not_trained_again(trial, monkeypatch):
    one, test = trial()
    run_trial(one, None)
    monkeypatch.setattr(FaceTraining, "training_step", None)
    assert run_trial(one, test)["test"] is not None


def test_an_error_of_the_settings_is_one_sentence(trial):
    one, test = trial(settings={"batch.n_labels": 99})
    record = run_trial(one, test)
    assert record["status"] == "failed"
    assert record["error"].startswith("n_labels: a step needs 99 labels")
    assert not one.folder.exists()


def test_a_row_that_was_changed_is_refused(plan):
    one = plan([{"name": "a"}]).trials()[0]
    run_trial(one, None)
    refuse_changed(one)
    changed = plan([{"name": "a", "settings": {"loss.margin": 0.4, "batch": {"n_labels": 3}}}]).trials()[0]
    with pytest.raises(
        ConfigError, match=r'row "a": .*a-seed0 was made with other settings \(batch.n_labels, loss.margin\)'
    ):
        refuse_changed(changed)


def test_where_a_run_is_recorded_is_no_change(plan):
    one = plan([{"name": "a"}]).trials()[0]
    run_trial(one, None)
    refuse_changed(plan([{"name": "a", "settings": {"tracking.experiment": "other"}}]).trials()[0])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "running"}'])
def test_a_damaged_record_is_none(trial, content):
    one, _ = trial()
    one.record.parent.mkdir(parents=True)
    one.record.write_text(content)
    assert read_record(one) is None


def test_missing_images_are_named_before_anything_runs(plan, tmp_path):
    made = plan([{"name": "a", "settings": {"faces.train": str(tmp_path / "gone")}}])
    with pytest.raises(DataError, match=r'row "a": faces\.train: .*gone: no such file or folder'):
        refuse_missing(made.trials())
    made = plan([{"name": "a", "settings": {"faces.issues": str(tmp_path / "f.csv")}}])
    with pytest.raises(DataError, match=r'row "a": faces\.issues: .*f\.csv: no such file or folder'):
        refuse_missing(made.trials())
    made = plan([{"name": "a", "settings": {"faces.train": ""}}])
    with pytest.raises(DataError, match=r'row "a": faces\.train: none is named'):
        refuse_missing(made.trials())
    made = plan([{"name": "a"}], test={"pairs": str(tmp_path / "gone")})
    with pytest.raises(DataError, match="gone: no such folder"):
        digest_of(made.test)


def test_without_labels_there_are_scores_and_no_figure(plan, pairs: Path):
    made = plan([{"name": "a", "run": "untrained"}], test={"pairs": str(pairs)})
    one = made.trials()[0]
    assert run_trial(one, made.test)["test"] is None
    assert len(pd.read_csv(one.folder / "submission.csv")) == 12


def test_a_trial_is_done_only_on_the_pairs_that_it_was_judged_on(plan, pairs: Path, tmp_path: Path, monkeypatch):
    made = plan([{"name": "a", "run": "untrained"}])
    one = made.trials()[0]
    run_trial(one, made.test)
    assert is_done(one, digest_of(made.test))

    copy = shutil.copytree(pairs, tmp_path / "copy")
    test = TestPairs(copy, copy / "labels.csv")
    assert is_done(one, digest_of(test))  # wherever they lie
    assert not is_done(one, None)
    assert not is_done(one, digest_of(TestPairs(copy)))
    image = sorted(copy.rglob("0.*"))[0]
    content = image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size
    assert not is_done(one, digest_of(test))
    image.write_bytes(content)
    labels = pd.read_csv(copy / "labels.csv", dtype=str)
    labels[["pair_id", "label"]].to_csv(copy / "labels.csv", index=False)
    assert not is_done(one, digest_of(test))

    monkeypatch.setattr("bonaface.experiments.runner.train", None)
    assert run_trial(one, TestPairs(copy))["status"] == "done"  # judged again without being trained
    assert is_done(one, digest_of(TestPairs(copy)))


def test_records_of_earlier_versions_are_judged_again(trial):
    one, test = trial(run="untrained")
    run_trial(one, test)
    earlier = json.loads(one.record.read_text())
    del earlier["judged_on"]
    one.record.write_text(json.dumps(earlier))
    assert not is_done(one, digest_of(test))
    assert not is_done(one, None)
    one.record.write_text(json.dumps(earlier | {"test": None}))
    assert is_done(one, None)  # there was nothing to be judged on
