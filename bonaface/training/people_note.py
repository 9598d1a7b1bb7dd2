"""The note of whom a run trains and validates on: it resumes with the same, and no later one validates on trained people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bonaface.config_io import read_run_config
from bonaface.data.table import FaceTable
from bonaface.errors import ConfigError, DataError
from bonaface.io import atomic_write, parse_json
from bonaface.reading import read_regular, read_regular_text

if TYPE_CHECKING:
    from bonaface.training.run import RunFolder  # torch, which a note is read without

__all__ = ["PeopleNote", "SourcePeople"]

_READ = 500
"""Photos of a source whose contents are read, evenly spaced, at most: all would take seconds at every start."""


@dataclass(frozen=True)
class SourcePeople:
    """People of one source.

    Args:
        where: the source's absolute path.
        train: people to train on.
        val: people to validate on.
        photos: number of photos.
        digest: of the photos' paths, people, kinds and sizes.
        originals: digest of the list of originals; empty where there is none.
        contents: digest of what some of the photos hold, evenly spaced; empty in a note of an earlier version.
    """

    where: str
    train: list[str]
    val: list[str]
    photos: int
    digest: str
    originals: str
    contents: str = ""

    @classmethod
    def of(cls, where: str, table: FaceTable, kept: FaceTable, originals: str | None) -> SourcePeople:
        """People of a clean table that is split by person, and of those of its rows that are kept beside other sources."""
        photos, frame = hashlib.blake2b(digest_size=16), table.frame
        for row, said in enumerate(zip(frame["path"], frame["person"], frame["is_fake"], strict=True)):
            photos.update(f"{said}|{table.path(row).stat().st_size}\n".encode())
        people, split = kept.frame["person"], kept.frame["split"]
        train, val = (sorted(set(people[split == part])) for part in ("train", "val"))
        listed = hashlib.blake2b(read_regular(originals), digest_size=16).hexdigest() if originals else ""
        return cls(str(Path(where).resolve()), train, val, len(table), photos.hexdigest(), listed, _contents(table))

    def same_photos(self, other: SourcePeople) -> bool:
        """Tell whether photos and people are the same, wherever they lie and however they are split, as far as both notes say."""
        contents = "" in {self.contents, other.contents} or self.contents == other.contents
        return contents and self.digest == other.digest

    def changes(self, now: SourcePeople) -> str:
        """Everything that differs now, in words; empty where nothing does."""
        before, after = ({*each.train, *each.val} for each in (self, now))
        seen, others = set(self.train) & set(now.val), set(self.train) ^ set(now.train)
        said = [_people(before - after, "gone"), _people(after - before, "new")]
        said += [_people(seen, "trained on would be validated on")] if seen else [_people(others, "split otherwise")]
        contents = self.contents not in {"", now.contents}
        if (self.digest != now.digest or contents) and before == after:
            said.append(f"photos are others ({self.photos:,} then, {now.photos:,} now)")
        if self.originals != now.originals:
            said.append("the list of originals is another")
        return ", ".join(filter(None, said))


@dataclass(frozen=True)
class PeopleNote:
    """People of a run.

    Args:
        sources: those that it is trained and validated on.
        before: those that the runs of its ``init_from`` were trained on.
    """

    sources: list[SourcePeople]
    before: list[SourcePeople] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> PeopleNote | None:
        """The note of a run, its people.json; None of one that an earlier version began.

        Raises:
            DataError: if it is damaged.
        """
        if not file.exists():
            return None
        try:
            said = parse_json(read_regular_text(file))
            return cls(*([SourcePeople(**each) for each in said[name]] for name in ("sources", "before")))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}: isn't the note that train left; begin a new run") from error

    def write(self, run: RunFolder) -> None:
        """Write it into a run's folder."""
        run.path.mkdir(parents=True, exist_ok=True)
        with atomic_write(run.people) as temporary:
            temporary.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    def refuse_other(self, run: RunFolder, before: PeopleNote) -> None:
        """Refuse to resume a run on other people or photos than those of its note: it would validate on trained ones.

        Raises:
            DataError: naming what changed.
        """
        for was, now in zip(before.sources, self.sources, strict=True):
            changed = was.changes(now)
            if changed:
                raise DataError(
                    f"{now.where}: has changed since {run} was begun ({changed}): restore the data to resume it, or begin a "
                    "new run by another --name"
                )

    def following(self, init_from: str | Sequence[str] | None) -> PeopleNote:
        """This note with the people that the runs of ``init_from`` were trained on.

        Raises:
            ConfigError: if this run would validate on some of them.
        """
        from bonaface.training.run import RunFolder

        seen: list[SourcePeople] = []
        for folder in (init_from,) if isinstance(init_from, str) else init_from or ():
            note = PeopleNote.read(RunFolder(Path(folder)).people)
            if note is None:
                continue
            untrained = read_run_config(RunFolder(Path(folder)).config).steps == 0
            trained = note.before if untrained else [*note.sources, *note.before]
            for now in self.sources:
                same = (was for was in trained if was.where == now.where or was.same_photos(now))
                again = {each for was in same for each in was.train} & set(now.val)
                if again:
                    raise ConfigError(
                        f"init_from: {folder} was trained on {len(again)} of the {len(now.val)} people of {now.where} that this "
                        "run would validate on; keep its seed, faces.train, faces.issues and faces.val_fraction, which make "
                        "the split"
                    )
            seen += trained
        return PeopleNote(self.sources, seen)


def _contents(table: FaceTable) -> str:
    found = hashlib.blake2b(digest_size=16)
    for row in range(0, len(table), -(-len(table) // _READ) or 1):
        found.update(hashlib.blake2b(read_regular(table.path(row)), digest_size=16).digest())
    return found.hexdigest()


def _people(people: set[str], what: str) -> str:
    count = len(people)
    return (
        f"{count:,} {'person' if count == 1 else 'people'} {what}: {min(people)}{' ...' * (count > 1)}" if count else ""
    )
