"""Photos of people by whose they are: a folder for each person, or a CSV that names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bonaface.data.layouts import images_below, is_image
from bonaface.data.text_tables import read_cells
from bonaface.data.videos import told_videos, videos_among, videos_below
from bonaface.errors import DataError

__all__ = ["FROM_PHOTOS", "PeopleList", "read_people_list"]

FROM_PHOTOS = "people are enrolled from photos"
_EXPECTED = "expected a folder for each person, such as ann/1.jpg, or a CSV with the columns person and path"


@dataclass(frozen=True)
class PeopleList:
    """Photos of people.

    Args:
        root: of the paths.
        photos: paths by person, in the order in which they were found; none where a person's folder has no image.
        videos: that lie there and are passed over: a person is enrolled from photos.
    """

    root: Path
    photos: dict[str, list[str]]
    videos: int = 0

    def __len__(self) -> int:
        """How many photos there are."""
        return sum(map(len, self.photos.values()))


def read_people_list(where: Path) -> PeopleList:
    r"""Read a folder of people, each a folder with their photos in it or below, or a CSV of ``person`` and ``path``.

    No image is opened. A relative path in a CSV starts at the CSV's folder; a person's folder is named as the person.

    Args:
        where: the folder, or a CSV in UTF-8 separated by commas, semicolons or tabs; ``label`` stands for ``person`` as well.

    Raises:
        DataError: if it is neither, holds no photos, photos of nobody, or two folders of one person.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "people.csv"
        >>> _ = file.write_text("person;path\nann;a.jpg\nann;b.jpg\n")
        >>> read_people_list(file).photos
        {'ann': ['a.jpg', 'b.jpg']}
    """
    if not where.exists():
        raise DataError(f"{where}: no such file or folder; {_EXPECTED}")
    return _folder(where) if where.is_dir() else _csv(where)


def _folder(root: Path) -> PeopleList:
    entries = sorted(path for path in root.iterdir() if path.name[0] not in "._" and path.name != "lost+found")
    loose = [path.name for path in entries if is_image(path.name) and path.is_file()]
    if loose:
        raise DataError(f"{root}: holds images of nobody, the first of them {loose[0]}; {_EXPECTED}")
    people = [path for path in entries if path.is_dir() or not path.exists()]  # a link to none holds no image
    _refuse_doubled(root, (path.name for path in people))
    photos = {each.name: [path.relative_to(root).as_posix() for path in _photos_of(each, root)] for each in people}
    videos = videos_among(path.name for path in entries)
    videos += videos_below(path for path in people if _is_below(path, root))
    if not any(photos.values()):
        told = f" ({told_videos(videos, FROM_PHOTOS)})" if videos else ""
        raise DataError(f"{root}: holds no images{told}; {_EXPECTED}")
    return PeopleList(root, photos, videos)


def _photos_of(person: Path, root: Path) -> list[Path]:
    """A person's images; none where their folder is a link that leads nowhere, or to one that the folder of all lies in."""
    return images_below(person) if _is_below(person, root) else []


def _is_below(person: Path, root: Path) -> bool:
    return person.is_dir() and not root.resolve().is_relative_to(person.resolve())


def _refuse_doubled(where: Path, people: Iterable[str]) -> None:
    known: dict[str, str] = {}
    for name in people:
        before = known.setdefault(name.casefold(), name)
        if before != name:
            raise DataError(f"{where}: {before} and {name} differ in their case alone; expected one folder a person")


def _csv(file: Path) -> PeopleList:
    names, rows, numbers = read_cells(file, "a list of people", _EXPECTED, ("path",))
    person = next((name for name in ("person", "label") if name in names), None)
    if person is None:
        raise DataError(f"{file}: has no column person; {_EXPECTED}")
    photos: dict[str, list[str]] = {}
    for line, row in zip(numbers, rows, strict=True):
        whose, path = row[names.index(person)], row[names.index("path")]
        if not whose or not path:
            raise DataError(f"{file}: line {line}: expected a person and a path, got {', '.join(row)[:80]!r}")
        listed = photos.setdefault(whose, [])
        if path not in listed:
            listed.append(path)
    _refuse_doubled(file, photos)
    return PeopleList(file.parent, photos)
