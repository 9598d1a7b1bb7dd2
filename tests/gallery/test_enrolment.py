"""Which photos are refused."""

import numpy as np
import pytest

from bonaface.errors import DataError
from bonaface.gallery.enrolment import refusals
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings

CALIBRATION = Calibration(Logistic(20.0, -8.0), Logistic(1.0, 0.0))


def photo(*vector, odds=5.0):
    return Embeddings(np.array([vector], np.float32), np.array([odds], np.float32))


ANN, BOB = photo(1, 0), photo(0, 1)


def test_one_of_many_is_the_stranger():
    assert refusals([None] * 4, [ANN, BOB, ANN, ANN], None, CALIBRATION) == {1: "is unlike 3 of the 3 other photos"}


def test_of_two_that_differ_nobody_can_say_which_is_wrong():
    assert set(refusals([None] * 2, [ANN, BOB], None, CALIBRATION)) == {0, 1}


def test_those_that_are_there_count():
    there = Embeddings(np.array([[1, 0], [1, 0]], np.float32))
    assert set(refusals([None] * 2, [BOB, BOB], there, CALIBRATION)) == {0, 1}
    assert refusals([None], [ANN], there, CALIBRATION) == {}


def test_copies_of_a_strangers_photo_do_not_outvote_what_is_there():
    there = Embeddings(np.array([[1, 0]], np.float32))
    why = "is unlike 1 of the 1 enrolled photos"
    assert refusals([None] * 3, [BOB] * 3, there, CALIBRATION) == dict.fromkeys(range(3), why)
    beside_the_enrolled = refusals([None] * 3, [ANN, BOB, BOB], there, CALIBRATION)
    assert {beside_the_enrolled[1], beside_the_enrolled[2]} == {why}


def test_a_single_first_photo_is_like_nobody():
    assert refusals([None], [ANN], None, CALIBRATION) == {}


def test_forged_photos_and_those_with_problems_do_not_judge_the_others():
    said = refusals(["no face", None, None], [None, photo(0, 1, odds=-1.0), ANN], None, CALIBRATION)
    assert said == {0: "no face", 1: "looks forged: genuine photos of a person's face are expected"}


def test_no_photos_are_an_error():
    with pytest.raises(DataError, match="one or more"):
        refusals([], [], None, CALIBRATION)
