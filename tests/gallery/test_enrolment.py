"""Which photos are refused."""

import numpy as np
import pytest

from bonaface.errors import DataError
from bonaface.gallery.enrolment import refusals
from bonaface.images.copies import thumbprint
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings

CALIBRATION = Calibration(Logistic(20.0, -8.0), Logistic(1.0, 0.0))


def photo(*vector, odds=5.0):
    return Embeddings(np.array([vector], np.float32), np.array([odds], np.float32))


ANN, BOB = photo(1, 0), photo(0, 1)


def test_one_of_many_is_the_stranger():
    anns = [photo(np.cos(turn), np.sin(turn)) for turn in (0.1, 0.0, -0.1)]
    assert refusals([None] * 4, [anns[0], BOB, *anns[1:]], None, CALIBRATION) == {
        1: "is unlike 3 of the 3 other photos"
    }


def test_of_two_that_differ_nobody_can_say_which_is_wrong():
    assert set(refusals([None] * 2, [ANN, BOB], None, CALIBRATION)) == {0, 1}


def test_copies_of_a_photo_do_not_vouch_for_each_other(rng):
    """Neither the same file, nor one in another encoding, whose embedding is another."""
    assert set(refusals([None] * 3, [ANN, BOB, BOB], None, CALIBRATION)) == {0, 1, 2}
    print_of_ann, print_of_bob, third = (thumbprint(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(3))
    again = photo(0.1, np.sqrt(0.99))
    prints = [print_of_ann, print_of_bob, print_of_bob]
    assert set(refusals([None] * 3, [ANN, BOB, again], None, CALIBRATION, prints)) == {0, 1, 2}
    other = [print_of_ann, print_of_bob, third]
    assert set(refusals([None] * 3, [ANN, BOB, again], None, CALIBRATION, other)) == {0}


def test_those_that_are_there_count():
    there = Embeddings(np.array([[1, 0], [1, 0]], np.float32))
    assert set(refusals([None] * 2, [BOB, BOB], there, CALIBRATION)) == {0, 1}
    assert refusals([None], [ANN], there, CALIBRATION) == {}


def test_copies_of_a_strangers_photo_do_not_outvote_what_is_there():
    there = Embeddings(np.array([[1, 0]], np.float32))
    why = "is unlike 1 of the 1 other photos"
    assert refusals([None] * 3, [BOB] * 3, there, CALIBRATION) == dict.fromkeys(range(3), why)
    assert {1, 2} <= set(refusals([None] * 3, [ANN, BOB, BOB], there, CALIBRATION))


def test_new_photos_of_a_stranger_do_not_outvote_what_is_there():
    bobs = [photo(np.sin(turn), np.cos(turn)) for turn in (0.1, 0.0, -0.1)]
    there = Embeddings(np.array([[1, 0]], np.float32))
    said = refusals([None] * 3, bobs, there, CALIBRATION)
    assert said == dict.fromkeys(range(3), "is unlike 1 of the 1 enrolled photos")


def test_a_single_first_photo_is_like_nobody():
    assert refusals([None], [ANN], None, CALIBRATION) == {}


def test_forged_photos_and_those_with_problems_do_not_judge_the_others():
    said = refusals(["no face", None, None], [None, photo(0, 1, odds=-1.0), ANN], None, CALIBRATION)
    assert said == {0: "no face", 1: "looks forged: genuine photos of a person's face are expected"}


def test_no_photos_are_an_error():
    with pytest.raises(DataError, match="one or more"):
        refusals([], [], None, CALIBRATION)
