"""Random variants of training images: reproducible by the generator, and no more than was asked for."""

import numpy as np
import pytest
import torch

from bonaface.batches.augmentation import Augmentation, degrade, torchvision_transforms
from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec

FACE_CROP = InputSpec("face_crop", 48)
ALL = (("ColorJitter", {"brightness": 0.5}), ("RandomRotation", {"degrees": 20}), ("RandomErasing", {"p": 0.5}))


@pytest.fixture
def face():
    rng = np.random.default_rng(1)
    smooth = rng.uniform(40, 210, (6, 6, 3)).repeat(8, 0).repeat(8, 1)
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def generator(seed):
    return np.random.default_rng(seed)


def test_nothing_asked_for_nothing_done(face):
    made = Augmentation()(face, FACE_CROP, generator(0))
    np.testing.assert_array_equal(made, face)


def test_flip_always_and_never(face):
    for seed in range(20):
        np.testing.assert_array_equal(Augmentation(flip=1.0)(face, FACE_CROP, generator(seed)), face[:, ::-1])
        np.testing.assert_array_equal(Augmentation(flip=0.0)(face, FACE_CROP, generator(seed)), face)


def test_flip_as_often_as_said(face):
    augmentation = Augmentation(flip=0.3)
    flipped = sum(not np.array_equal(augmentation(face, FACE_CROP, generator(seed)), face) for seed in range(1000))
    assert 250 < flipped < 350  # 0.3 +- 3.4 standard errors


def test_degrade_always_and_never(face):
    changed = [
        sum(not np.array_equal(Augmentation(degrade=p)(face, FACE_CROP, generator(seed)), face) for seed in range(100))
        for p in (0.0, 1.0)
    ]
    # Each step may be left out: all are in (0.6 * 0.65 * 0.85 * 0.55 * 0.6 * 0.92 * 0.65 * 0.88 * 0.7 * 0.7 * 0.4) = 1 of 100.
    assert changed[0] == 0
    assert 90 < changed[1] <= 100


def test_degrade_keeps_the_form_and_changes_the_pixels(face):
    before = face.copy()
    made = [degrade(face, generator(seed)) for seed in range(60)]
    np.testing.assert_array_equal(face, before)
    assert {image.shape for image in made} == {face.shape}
    assert {image.dtype for image in made} == {np.dtype(np.uint8)}
    assert len({image.tobytes() for image in made}) > 45
    apart = [np.abs(image.astype(float) - face).mean() for image in made]
    assert max(apart) < 80  # still the same face
    assert np.median(apart) > 1


def test_degrade_reaches_soft_sharpened_and_line_by_line(face):
    """Of the ways that photos of other cameras differ, these were found to pass for forgeries where training had not seen them."""

    def detail(image, axis):
        return float(np.diff(image.astype(float).mean(axis=2), axis=axis).std())

    made = [degrade(face, generator(seed)) for seed in range(300)]
    across, down = (np.array([detail(image, axis) / detail(face, axis) for image in made]) for axis in (1, 0))
    both = np.sqrt(across * down)
    assert both.min() < 0.35
    assert both.max() > 1.6
    assert (across / down).min() < 0.75
    assert (across / down).max() > 1.2


@pytest.mark.parametrize("shape", [(48, 48, 3), (31, 57, 3), (2, 2, 3)])
def test_degrade_of_any_shape(shape):
    image = generator(0).integers(0, 256, shape, dtype=np.uint8)
    for seed in range(30):
        assert degrade(image[:, ::-1], generator(seed)).shape == shape


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(0.5), Augmentation(0.5, 0.8), Augmentation(0.5, 0.8, torchvision_transforms(ALL))],
    ids=["flip", "degrade", "transforms"],
)
@pytest.mark.parametrize("view", [FACE_CROP, InputSpec("face_crop", 30, crop=True)], ids=["face_crop", "crop"])
def test_the_generator_decides(face, augmentation, view):
    for seed in range(10):
        once, again = (augmentation(face, view, generator(seed)) for _ in range(2))
        np.testing.assert_array_equal(once, again)
        assert once.shape == (view.size, view.size, 3)
        assert once.dtype == np.uint8
    assert len({augmentation(face, view, generator(seed)).tobytes() for seed in range(40)}) > 1


def test_torchs_generator_is_left_alone_and_not_listened_to(face):
    augmentation = Augmentation(0.5, 0.5, torchvision_transforms(ALL))
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the point is that nobody draws from it
        state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        made.append(augmentation(face, FACE_CROP, generator(3)))
        assert torch.equal(torch.get_rng_state(), state)
        np.testing.assert_array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    np.testing.assert_array_equal(*made)


def test_transforms_are_applied_in_turn(face):
    grey = torchvision_transforms([("Grayscale", {"num_output_channels": 3})])
    made = Augmentation(transforms=grey)(face, FACE_CROP, generator(0))
    assert (made[:, :, 0] == made[:, :, 1]).all()
    flips = torchvision_transforms([("RandomHorizontalFlip", {"p": 1.0}), ("RandomVerticalFlip", {"p": 1.0})])
    np.testing.assert_array_equal(Augmentation(transforms=flips)(face, FACE_CROP, generator(0)), face[::-1, ::-1])


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (("Sharpen", {}), 'faces.transforms: torchvision.transforms.v2 has no transform "Sharpen"'),
        (("functional", {}), 'no transform "functional"'),
        (("__doc__", {}), "no transform"),
        (("ColorJitter", {"brightnes": 1}), "faces.transforms: ColorJitter: "),
        (("ColorJitter", {"hue": 3}), "faces.transforms: ColorJitter: "),
        (("RandomRotation", {}), "faces.transforms: RandomRotation: "),
    ],
)
def test_unknown_transforms(named, sentence):
    with pytest.raises(ConfigError) as caught:
        torchvision_transforms([named])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
