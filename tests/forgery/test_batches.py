"""Deepfakes forged in the batch: beside their photo, of the right class, the same at the same step, and only where wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bonaface.batches.augmentation import Augmentation
from bonaface.batches.dataset import LabelledImages
from bonaface.batches.image_cache import FaceStore
from bonaface.batches.samplers import PairedFakesSampler
from bonaface.errors import ConfigError
from bonaface.forgery.batches import Forging, ForgingBatches, PairedForgeriesSampler, check_methods, forged_classes
from bonaface.images.crops import InputSpec

PEOPLE, PHOTOS = 5, 4
WHO = np.repeat(np.arange(PEOPLE), PHOTOS)
REAL = np.zeros(len(WHO), bool)
VIEWS = {"identity": InputSpec("aligned", 48), "authenticity": InputSpec("face_crop", 64)}


def store() -> FaceStore:
    """Smooth images, one colour scheme a person."""
    random = np.random.default_rng(0)
    coarse = random.uniform(60, 195, (PEOPLE, 4, 4, 3))[WHO] + random.uniform(-15, 15, (len(WHO), 1, 1, 3))

    def enlarged(side: int) -> NDArray[np.uint8]:
        return coarse.repeat(side // 4, 1).repeat(side // 4, 2).astype(np.uint8)

    return FaceStore({"aligned": enlarged(48), "face_crop": enlarged(64)})


@pytest.fixture
def batches() -> Callable[..., ForgingBatches]:
    def make(
        methods: tuple[str, ...] = ("swap_alpha", "self_blend"), n_fake: int = 2, first: int = 0, seed: int = 1
    ) -> Any:
        sampler = PairedForgeriesSampler(WHO, REAL, 3, 2, n_fake, 0.5, seed)
        images = LabelledImages(store(), WHO, REAL, np.arange(len(WHO)))
        forging = Forging(2, n_fake, methods, 1.0, forged_classes(WHO, WHO, REAL, shared=False))
        return ForgingBatches(images, sampler, Augmentation(flip=0.3), VIEWS, range(first, first + 4), seed, forging)

    return make


def test_a_batch_is_photos_and_then_deepfakes_of_the_same_person(batches: Callable[..., ForgingBatches]) -> None:
    batch = batches()[0]
    assert {name: tuple(x.shape) for name, x in batch.images.items()} == {
        "identity": (12, 3, 48, 48),
        "authenticity": (12, 3, 64, 64),
    }
    labels = batch.labels.reshape(3, 4)
    assert (labels[:, :2] < PEOPLE).all()
    assert torch.equal(labels[:, :2] + PEOPLE, labels[:, 2:])
    assert batch.is_fake.reshape(3, 4).tolist() == [[False, False, True, True]] * 3
    assert len(set(labels[:, 0].tolist())) == 3


def test_the_same_step_is_the_same_batch_wherever_the_run_began(batches: Callable[..., ForgingBatches]) -> None:
    here, there, other = batches()[3], batches(first=3)[0], batches(seed=2)[3]
    for name in VIEWS:
        assert torch.equal(here.images[name], there.images[name])
        assert not torch.equal(here.images[name], other.images[name])
    with pytest.raises(IndexError):
        batches()[4]


def test_forging_touches_only_the_deepfakes(batches: Callable[..., ForgingBatches]) -> None:
    """Another method, and the photos are the same to the last bit."""
    one, two = batches(("reenact",))[1], batches(("rerender",))[1]
    for name in VIEWS:
        same = (one.images[name] == two.images[name]).flatten(1).all(1)
        assert same.tolist() == (~one.is_fake).tolist()


def test_a_swap_shows_another_persons_head(batches: Callable[..., ForgingBatches]) -> None:
    """At the corner a swap has the colours of someone else in the batch, a reenactment those of its own photo."""
    swap, own = batches(("swap_alpha",))[2], batches(("reenact",))[2]
    corner = {
        key: b.images["authenticity"][:, :, :6, 24:40].float().mean((2, 3)) for key, b in (("s", swap), ("o", own))
    }
    fakes = torch.nonzero(swap.is_fake)[:, 0]
    for place in fakes.tolist():
        group = place // 4
        mine, others = [group * 4, group * 4 + 1], [k for k in range(12) if k // 4 != group and k % 4 < 2]
        gap = lambda key, rows: (corner[key][rows] - corner[key][place]).abs().sum(1).min()  # noqa: B023, E731
        assert gap("o", mine) < gap("o", others)
        assert gap("s", others) < 12


def test_both_halves_bear_the_marks_of_jpeg(batches: Callable[..., ForgingBatches]) -> None:
    """Flat fields 12 px wide come out of the camera uneven, in photos as in deepfakes."""
    images = batches(("reenact",))[0].images["identity"].float()
    unevenness = images[:, :, 1:11, 1:11].std((2, 3)).mean(1)
    assert (unevenness > 0).all()


def test_deepfakes_of_the_data_are_used_as_the_share_says() -> None:
    who = np.array([0] * 6 + [1] * 3)
    fake = np.array([False] * 3 + [True] * 3 + [False] * 3)
    counts = {}
    for share in (0.0, 0.3, 1.0):
        sampler = PairedForgeriesSampler(who, fake, 2, 3, 4, share, seed=5)
        drawn = np.stack([sampler.batch(step).reshape(2, 7) for step in range(300)])
        assert not fake[drawn[..., :3]].any()
        given = fake[drawn[..., 3:]]
        with_own = who[drawn[..., 0]] == 0
        counts[share] = given[with_own].mean()
        assert not given[~with_own].any()
        sources = drawn[..., 3:][~given]
        assert np.isin(sources, np.flatnonzero(~fake)).all()
    assert counts[0.0] == 1
    assert counts[1.0] == 0
    assert abs(counts[0.3] - 0.7) < 0.05


@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 4), st.integers(1, 5))
def test_each_forgery_stands_beside_its_own_photo(seed: int, step: int, n_real: int, n_fake: int) -> None:
    sampler = PairedForgeriesSampler(WHO, REAL, 2, n_real, n_fake, 0.5, seed)
    rows = sampler.batch(step).reshape(2, n_real + n_fake)
    for own in rows:
        assert set(own[n_real:]) <= set(own[:n_real])
        assert len(set(WHO[own])) == 1
    assert WHO[rows[0, 0]] != WHO[rows[1, 0]]
    assert len(sampler) == len(PairedFakesSampler(np.tile(WHO, 2), np.repeat([False, True], len(WHO)), 2, 1, 1, seed))


def test_a_deepfake_of_the_data_brings_its_original_along() -> None:
    who = np.array([0] * 4 + [1] * 3)
    fake = np.array([False, False, True, True, False, False, False])
    originals = np.array([-1, -1, 5, -1, -1, -1, -1])  # in the other person's folder
    sampler = PairedForgeriesSampler(who, fake, 2, 2, 2, 0.3, 5, originals=originals)
    alike = PairedForgeriesSampler(who, fake, 2, 2, 2, 0.3, 5)
    seen = 0
    for step in range(100):
        groups, without = (each.batch(step).reshape(2, 2, 2) for each in (sampler, alike))
        np.testing.assert_array_equal(groups[:, 1], without[:, 1])
        known = groups[:, 1] == 2
        assert (groups[:, 0][known] == 5).all()
        np.testing.assert_array_equal(groups[:, 0][~known], without[:, 0][~known])
        seen += int(known.sum())
    assert seen > 30


@given(st.data())
def test_classes_of_forgeries(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 30))
    who = np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    fake = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    trained = who != 4
    # As class_labels numbers them: photos by person, then deepfakes by person.
    keys = [(bool(f), int(w)) for f, w in zip(fake, who, strict=True)]
    order = {key: k for k, key in enumerate(sorted(set(keys)))}
    labels = np.where(trained, [order[key] for key in keys], -1)
    got = forged_classes(labels, who.astype(str), fake, shared=False)
    assert (got[~trained] == -1).all()
    for person in set(who[trained]):
        mine = set(got[trained & (who == person)])
        assert len(mine) == 1
        (label,) = mine
        own = labels[trained & fake & (who == person)]
        assert label == own[0] if len(own) else label > labels.max()
        assert label not in labels[trained & ~fake]
    assert len({got[trained & (who == p)][0] for p in set(who[trained])}) == len(set(who[trained]))
    shared = forged_classes(labels, who, fake, shared=True)
    assert len(set(shared[trained])) <= 1


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"share: expected a number from 0 to 1"):
        PairedForgeriesSampler(WHO, REAL, 2, 2, 2, share, 0)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"methods: expected some of self_blend, .* got magic"):
        check_methods(("reenact", "magic"))


def test_a_training_without_deepfakes_forges_them(tmp_path: Path) -> None:
    import io
    import json

    from PIL import Image
    from rich.console import Console

    from bonaface.config_io import parse_config
    from bonaface.training.train import train

    random = np.random.default_rng(0)
    for person in range(8):
        pattern = random.uniform(40, 215, (4, 4, 3)).repeat(10, 0).repeat(10, 1)
        for n in range(3):
            (tmp_path / "faces" / str(person)).mkdir(parents=True, exist_ok=True)
            noisy = np.clip(pattern + random.normal(0, 6, pattern.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / "faces" / str(person) / f"{n}.png")
    settings = {
        "out": tmp_path / "runs", "faces.train": tmp_path / "faces", "faces.cache": tmp_path / "cache",
        "faces.val_fraction": 0.3, "faces.val_pairs": 16, "faces.crop_size": 40, "faces.workers": 0,
        "faces.forgery.methods": '["self_blend","swap_multiband"]', "batch.sampler": "paired_fakes",
        "batch.n_labels": 3, "batch.n_instances": 2, "model.identity.backbone": "timm:test_resnet",
        "model.identity.weights": "none", "model.identity.size": 40, "steps": 2, "device": "cpu", "precision": "32",
    }  # fmt: skip
    run = train(parse_config([f"--{key}={value}" for key, value in settings.items()]), Console(file=io.StringIO()))
    figures = json.loads((run / "metrics.json").read_text())["val"]
    assert 0 <= figures["spf_eer"] <= 1  # there are pairs with forgeries
    again = train(
        parse_config([f"--{key}={value}" for key, value in (settings | {"name": "again"}).items()]),
        Console(file=io.StringIO()),
    )
    assert json.loads((again / "metrics.json").read_text())["val"] == figures
