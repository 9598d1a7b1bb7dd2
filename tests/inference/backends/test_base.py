"""Images in parts, several at the same time, and what comes back in their order."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest

from bonaface.inference.backends import base
from bonaface.inference.backends.base import Parts, threads_a_photo
from bonaface.verification.embeddings import Embeddings


@pytest.fixture
def three_cores(monkeypatch):
    monkeypatch.setattr(base, "usable_cores", lambda: 3)


def photos(count: int) -> dict[str, np.ndarray]:
    return {"identity": np.arange(count, dtype=np.uint8)[:, None]}


class Network:
    """Says of a photo its number, the sooner the later it came, and counts what it was given at once."""

    def __init__(self) -> None:
        self.sizes, self.threads = [], set()

    def __call__(self, images) -> Embeddings:
        stack = images["identity"]
        time.sleep(0.02 / (1 + int(stack[0, 0])))
        self.sizes.append(len(stack))
        self.threads.add(threading.current_thread())
        return Embeddings(stack.astype(np.float32))


@pytest.mark.parametrize(
    ("runtime", "threads", "weights", "sizes"),
    [
        ("ONNX Runtime on CPU", 1, 9 << 20, [1] * 7),
        ("OpenVINO on CPU", 1, 40 << 20, [3, 3, 1]),
        ("OpenVINO on CPU", 3, 300 << 20, [2, 2, 2, 1]),
        ("ONNX Runtime on CUDA", 1, 9 << 20, [7]),
    ],
)
def test_embeddings_come_in_the_order_of_the_photos(three_cores, runtime, threads, weights, sizes):
    network, parts = Network(), Parts(runtime, threads, weights)
    np.testing.assert_array_equal(parts(network, photos(7)).identity[:, 0], np.arange(7))
    assert sorted(network.sizes, reverse=True) == sizes
    assert (threading.current_thread() in network.threads) == (threads > 1 or "CUDA" in runtime)


def test_what_takes_a_number_of_its_own_gets_it(three_cores):
    network = Network()
    np.testing.assert_array_equal(
        Parts("ONNX Runtime on CPU", 1, 0)(network, photos(5), 4).identity[:, 0], np.arange(5)
    )
    assert sorted(network.sizes) == [1, 4]


def test_an_error_of_one_part_is_the_answer(three_cores):
    def embed(images):
        if images["identity"][0, 0] == 4:
            raise ValueError("the fifth")
        return Embeddings(images["identity"].astype(np.float32))

    with pytest.raises(ValueError, match="the fifth"):
        Parts("ONNX Runtime on CPU", 1, 0)(embed, photos(6))


def test_threads_share_the_photos_of_large_networks_alone(three_cores):
    assert (threads_a_photo(100 << 20), threads_a_photo(300 << 20)) == (1, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_has_threads_of_its_own(three_cores):
    network, parts = Network(), Parts("ONNX Runtime on CPU", 1, 0)
    parts(network, photos(5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that are not there in the child
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(len(parts(network, photos(5))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
