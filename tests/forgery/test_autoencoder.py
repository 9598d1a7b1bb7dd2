"""Auto-encoders: shapes and grids, what they keep of a face, and that forgeries need torch for this method alone."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bonaface.assets import unpack_demo
from bonaface.data.table import read_faces
from bonaface.errors import ConfigError, DataError
from bonaface.forgery.autoencoder import AUTOENCODERS, WEIGHTS, build_autoencoder, rerender_by_autoencoder
from bonaface.forgery.methods import forge
from bonaface.images.decoding import decode

Images = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Photos of eight people who do not exist, 128 x 128 px."""
    table = read_faces(unpack_demo(tmp_path_factory.mktemp("demo")) / "train")
    real = table.frame[~table.frame["is_fake"]].groupby("person").head(1)
    return [decode(Path(table.path(row))) for row in real.index[:8]]


def error(drawn: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    return float(np.abs(drawn.astype(int) - wanted).mean())


def detail(image: NDArray[np.uint8]) -> float:
    """Mean square of what the eight neighbours do not say about a pixel."""
    grey = image.astype(float).mean(axis=2)
    around = sum(np.roll(grey, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    return float(((grey - around)[2:-2, 2:-2] ** 2).mean())


@pytest.mark.parametrize("variant", AUTOENCODERS)
def test_a_face_stays_the_face_and_loses_detail(variant: str, faces: Images) -> None:
    """It is far nearer to its photo than to another person's, and less sharp."""
    drawn = [rerender_by_autoencoder(face, variant) for face in faces]
    errors = [error(one, face) for one, face in zip(drawn, faces, strict=True)]
    other = [error(one, face) for one, face in zip(drawn, faces[1:], strict=False)]
    assert 1 < np.mean(errors) < 10 < np.mean(other) / 2
    kept = np.mean([detail(one) for one in drawn]) / np.mean([detail(face) for face in faces])
    assert 0.02 < kept < 1


def test_variants_leave_marks_of_their_own(faces: Images) -> None:
    drawn = [rerender_by_autoencoder(faces[0], variant) for variant in AUTOENCODERS]
    apart = [error(a, b) for k, a in enumerate(drawn) for b in drawn[:k]]
    assert min(apart) > 0.5


@given(height=st.integers(32, 90), width=st.integers(32, 90), variant=st.sampled_from(tuple(AUTOENCODERS)))
@settings(max_examples=25, deadline=None)
def test_any_size_is_kept(height: int, width: int, variant: str) -> None:
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    kept = image.copy()
    drawn = rerender_by_autoencoder(image, variant)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(image, kept)


def test_origin_moves_the_grid(faces: Images) -> None:
    """An image whose first rows and columns are cut off, drawn with the grid moved back: away from the border the same."""
    face, variant = faces[1], "overlapping_8x16"
    whole = rerender_by_autoencoder(face, variant)
    cut = np.ascontiguousarray(face[3:, 5:])
    inner = slice(40, -40), slice(40, -40)
    assert error(rerender_by_autoencoder(cut, variant, origin=(5, 3))[inner], whole[3:, 5:][inner]) < 0.01
    assert error(rerender_by_autoencoder(cut, variant)[inner], whole[3:, 5:][inner]) > 0.3


def test_twice_through_is_once_and_once_more(faces: Images) -> None:
    face = faces[2]
    once = rerender_by_autoencoder(face, "shuffle_4x8")
    twice = rerender_by_autoencoder(face, "shuffle_4x8", passes=2)
    inner = slice(None, -32), slice(None, -32)  # what lies beyond the border is reflected once, or each time
    np.testing.assert_array_equal(twice[inner], rerender_by_autoencoder(once, "shuffle_4x8")[inner])
    assert error(twice, face) > error(once, face)


def test_a_variant_has_a_name_and_a_number(faces: Images) -> None:
    for number, name in enumerate(AUTOENCODERS):
        by_number = rerender_by_autoencoder(faces[0][:48, :48], number)
        np.testing.assert_array_equal(by_number, rerender_by_autoencoder(faces[0][:48, :48], name))


def test_how_many_threads_torch_has_makes_no_difference_and_stays(faces: Images) -> None:
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            drawn.append(rerender_by_autoencoder(faces[3], "transposed_8x32"))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*drawn)


def test_the_grid_of_an_upsampler_is_its_stride() -> None:
    """One number at the bottleneck paints a patch; moved by one, the same patch lies a stride further."""
    torch.manual_seed(0)
    for variant, stride in AUTOENCODERS.items():
        network = build_autoencoder(variant)
        assert network.stride == stride
        image = torch.rand(1, 3, 128, 128)
        moved = image.roll(stride, dims=3)
        with torch.no_grad():
            there, back = network(image), network(moved).roll(-stride, dims=3)
        np.testing.assert_allclose(there[..., 48:-48].numpy(), back[..., 48:-48].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "raised", "message"),
    [
        ((np.zeros((64, 64, 3), np.uint8), "magic"), ConfigError, "expected one of transposed_4x8"),
        ((np.zeros((64, 64, 3), np.uint8), len(AUTOENCODERS)), ConfigError, "expected one of transposed_4x8"),
        ((np.zeros((31, 64, 3), np.uint8), 0), DataError, "32 px or more"),
        ((np.zeros((64, 64, 3), np.float32), 0), DataError, "uint8"),
        ((np.zeros((64, 64, 3), np.uint8), 0, 1, (0, 32)), DataError, "0 to 31"),
        ((np.zeros((64, 64, 3), np.uint8), 0, 0), DataError, "passes"),
    ],
)
def test_what_is_refused(arguments: tuple[object, ...], raised: type[Exception], message: str) -> None:
    with pytest.raises(raised, match=message):
        rerender_by_autoencoder(*arguments)  # type: ignore[arg-type]


def test_forging_redraws_the_inner_face_and_now_and_then_all(faces: Images) -> None:
    whole = 0
    for seed in range(40):
        change = np.abs(forge(faces[4], None, "autoencode", np.random.default_rng(seed)).astype(int) - faces[4])
        assert change[45:90, 40:85].mean() > 0.5
        whole += int(change[:8].mean() > 0.3)
    assert 3 <= whole <= 20


def test_weights_are_small() -> None:
    assert len((resources.files("bonaface.assets") / WEIGHTS).read_bytes()) < 400_000


def test_other_methods_need_no_torch() -> None:
    code = "import sys, bonaface.forgery.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
