"""For the docstrings' examples; the tests have a conftest of their own."""

import tempfile

import pytest


@pytest.fixture(autouse=True)
def _folder_of_an_example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example writes is removed with the test's folder: a suite left 300 MB behind."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.setattr(tempfile, "tempdir", str(request.getfixturevalue("tmp_path")))
