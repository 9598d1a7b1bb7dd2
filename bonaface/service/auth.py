"""Authorisation of callers: API keys, kept as digests, and pages of other origins, which may not."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import re
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path

from bonaface.errors import ConfigError, DataError
from bonaface.io import atomic_write
from bonaface.locks import locked
from bonaface.outputs import refuse_stdout
from bonaface.reading import read_regular_text

__all__ = ["Keys", "has_key", "new_key"]

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64}):(?P<digest>[0-9a-f]{64})")


class Keys:
    """The API keys of a file: a line ``name:digest`` for each. A key is 256 random bits, so one round of SHA-256 hides it.

    The file is read again when it has changed, so that a new key counts and one that was taken out counts no more; while it can't
    be read, nobody's does.

    Args:
        path: the file that ``bonaface serve --auth FILE --new-key NAME`` writes.

    Raises:
        ConfigError: if it can't be read, has a line of another form, or no key at all.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._state = path, _state_of(path)
        self._digests = _read(path)
        if not self._digests:
            raise ConfigError(
                f"{path}: holds no key; make one by bonaface serve --auth {shlex.quote(str(path))} --new-key NAME"
            )

    def owner(self, key: str) -> str | None:
        """Whose key it is; None where nobody's. The time that takes says nothing about any key."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        self._follow()
        found = None
        for name, known in self._digests.items():  # no early end: each is compared
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _follow(self) -> None:
        state = _state_of(self._path)
        if state == self._state:
            return
        try:
            self._digests = _read(self._path)
        except ConfigError as error:
            self._digests = {}
            logging.getLogger(__name__).error("%s; until then nobody's key counts", error)
        self._state = state


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def new_key(path: Path, name: str) -> str:
    """Adds a key to a file, or replaces the one of that name.

    Returns:
        The key. Only its digest is kept, so it can't be shown again.

    Raises:
        ConfigError: if the name is none or the file is of another form.
        DataError: if it can't be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "keys"
        >>> key = new_key(file, "front-desk")
        >>> Keys(file).owner(key), Keys(file).owner("guess"), key in file.read_text()
        ('front-desk', None, False)
    """
    if not _LINE.fullmatch(f"{name}:{'0' * 64}"):
        raise ConfigError(f"--new-key {name!r}: expected 1 to 64 letters, digits, dots, dashes and underscores")
    refuse_stdout(path)
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: is no regular file, so it can't keep a key; name a file by --auth")
    key = secrets.token_urlsafe(32)
    with _alone(path):
        digests = (_read(path) if path.exists() else {}) | {name: hashlib.sha256(key.encode()).hexdigest()}
        with atomic_write(path, private=True) as temporary:
            temporary.write_text("".join(f"{each}:{digest}\n" for each, digest in digests.items()), encoding="utf-8")
    return key


def has_key(path: Path, name: str) -> bool:
    """True where a file of keys has one of that name."""
    return path.is_file() and name in _read(path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process changes a file of keys: each writes the whole anew, and would drop the other's key.

    The file beside it that is locked stays: whoever waits for one that was removed would not wait for the next one's owner.
    """
    target = path.resolve()
    beside = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: can't be written ({said}); name another --auth") from error
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, lock)
        try:
            stack.enter_context(locked(lock))
        except TimeoutError as error:
            raise DataError(f"{path}: another process is writing there; try again soon") from error
        yield


def _read(path: Path) -> dict[str, str]:
    try:
        lines = read_regular_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: can't be read as a file of keys; make it by bonaface serve --auth {shlex.quote(str(path))} --new-key NAME"
        ) from error
    digests = {}
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line.strip())
        if found is None and line.strip():
            raise ConfigError(f"{path}:{number}: expected name:digest, as bonaface serve --new-key writes it")
        if found is not None and found["name"] in digests:
            raise ConfigError(f"{path}:{number}: {found['name']} stands twice; expected one key for each name")
        if found is not None:
            digests[found["name"]] = found["digest"]
    return digests
