"""Files appear whole or not at all: written under a temporary name beside the target, then renamed over it."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bonaface.errors import DataError

__all__ = ["atomic_write"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` when the block ends well.

    The temporary name lies in the same folder (a rename across disks isn't atomic) and keeps the suffix, which some
    writers read the format from. Missing parent folders are made. If the block raises, the temporary file is removed
    and what was at ``path`` before is still there.

    Args:
        path: the file that shall appear.

    Yields:
        The path to write to instead.

    Raises:
        DataError: if the disk is full, or the folder can't be made or written to.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except Exception as error:
        refusal = _refusal(error, path, temporary)
        if refusal is None:
            raise
        raise refusal from error
    finally:
        if temporary.exists():
            temporary.unlink()


def _refusal(error: Exception, path: Path, temporary: Path) -> DataError | None:
    """The sentence for the user where writing itself failed; None where the error is the block's own affair."""
    # Writers in C++ and Rust lose the errno but keep the system's text.
    no_room = getattr(error, "errno", None) in _NO_ROOM or os.strerror(errno.ENOSPC) in str(error)
    if no_room:
        return DataError(f"{path}: can't be written, the disk is full; free some space or choose another folder")
    if not isinstance(error, OSError) or error.filename is None:
        return None
    failed = Path(str(error.filename))
    if failed in (temporary, path) or failed in path.parents:
        reason = (error.strerror or str(error)).lower()
        return DataError(f"{path}: can't be written ({reason}); choose a file name in a folder that can be written to")
    return None
