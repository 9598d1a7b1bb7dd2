"""calibration.json: what is written is read, and what is not there is None."""

import pytest

from bonaface.errors import ModelError
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.calibration_file import CALIBRATION_FILE, read_calibration, write_calibration
from bonaface.verification.thresholds import Threshold, Validation


def test_what_was_written_is_read(tmp_path):
    assert read_calibration(tmp_path) == (None, None)
    calibration = Calibration(Logistic(20.0, -8.0), Logistic(1.0, 0.5), 0.01, -0.2, -1.0, 0.05)
    validation = Validation((Threshold(0.1, 0.5, 0.4, 0.6, 50),), Logistic(3.0, 0.0), 50)
    write_calibration(tmp_path, calibration, validation)
    assert read_calibration(tmp_path) == (calibration, validation)


def test_a_calibration_without_thresholds(tmp_path):
    (tmp_path / CALIBRATION_FILE).write_text('{"same": {"slope": 2.0, "bias": 0.0}}')
    assert read_calibration(tmp_path) == (Calibration(Logistic(2.0, 0.0)), None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"same": {}, "validation": 3}',
        '{"same": {"slope": 1, "bias": 0}, "validation": {}}',
        '{"same": {"slope": NaN, "bias": 0}}',
        '{"same": {"slope": 1, "bias": 1e999}}',
        '{"same": {"slope": "1", "bias": 0}}',
        '{"same": {"slope": 1, "bias": 0}, "genuine": {"slope": Infinity, "bias": 0}}',
        '{"same": {"slope": 1, "bias": 0}, "prior": NaN}',
        (
            '{"same": {"slope": 1, "bias": 0}, "validation": {"llr": null, "impostor_pairs": 5, "thresholds": '
            '[{"fmr": 0.1, "threshold": NaN, "low": 0, "high": 1, "impostor_pairs": 5}]}}'
        ),
        "[" * 100_000,
    ],
    ids=lambda content: content[:70],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / CALIBRATION_FILE).write_text(content)
    with pytest.raises(ModelError, match="not a calibration as training writes it"):
        read_calibration(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"doubt": 57.0}, "doubt: expected a share from 0 to 1, got 57"),
        ({"mislabelled": -0.1}, "mislabelled: expected a share from 0 to 1, got -0.1"),
        (
            {"own_fake": {"cosine": 1.0, "authenticity": 1.0, "bias": 0.0, "low": 4.0, "high": -5.0}},
            "low: expected at most high, -5, got 4",
        ),
        (
            {"own_fake": {"cosine": -1.0, "authenticity": 1.0, "bias": 0.0, "low": -5.0, "high": 4.0}},
            "weights: expected at least 0, got -1 and 1",
        ),
        ({"same": {"slope": -10.0, "bias": 4.0}}, "slope: expected a number above 0, got -10"),
        ({"genuine": {"slope": 0.0, "bias": 4.0}}, "slope: expected a number above 0, got 0"),
    ],
)
def test_numbers_that_no_fit_gives_are_refused(changed, said):
    values = {"same": {"slope": 10.0, "bias": -4.0}, "genuine": {"slope": 1.0, "bias": 0.0}, "doubt": 0.05}
    assert Calibration.from_dict(values).doubt == 0.05
    with pytest.raises(ValueError, match=said):
        Calibration.from_dict(values | changed)
