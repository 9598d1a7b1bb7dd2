"""Images in, verdicts out: what the routes share, without a word of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from bonaface.errors import ConfigError, DataError
from bonaface.gallery.gallery import Enrolled, Gallery, Hit, stacked
from bonaface.images.quality import Portrait, read_portrait
from bonaface.inference.embedder import Embedder
from bonaface.service.batching import Batcher
from bonaface.service.settings import ServiceSettings
from bonaface.service.uploads import Upload, refuse_second_format
from bonaface.verification.decision import Verdict, judge
from bonaface.verification.embeddings import Embeddings

__all__ = ["Desk", "Look", "Reader"]

_READERS = 2
_HELD = 200_000_000
"""Bytes of decoded images after which those read so far are embedded."""
_NOTHING = np.zeros((0, 0, 3), np.uint8)

Reader = Callable[[bytes, str], Portrait]


@dataclass(frozen=True)
class Look:
    """An image that was looked at.

    Args:
        portrait: what it shows; its pixels are gone.
        embedding: of its face, one row; None where the portrait has a problem.
    """

    portrait: Portrait
    embedding: Embeddings | None


class Desk:
    """The model, its queue and the gallery.

    Args:
        embedder: the model, with a calibration and thresholds.
        gallery: enrolled people, or None.
        settings: limits and the false match rate.
        watch: told of each batch: its size and its seconds.

    Raises:
        ConfigError: if the model has no thresholds, or none for the rate.
    """

    def __init__(
        self,
        embedder: Embedder,
        gallery: Gallery | None,
        settings: ServiceSettings,
        watch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.embedder, self.gallery, self.settings = embedder, gallery, settings
        if embedder.validation is None or not embedder.validation.thresholds:
            raise ConfigError(
                f"{embedder.name}: has no thresholds, so it can give no verdicts; serve a run's folder or an exported model"
            )
        self.fmrs = tuple(each.fmr for each in embedder.validation.thresholds)
        if settings.fmr not in self.fmrs:
            raise ConfigError(f"--fmr {settings.fmr:g}: expected one that {embedder.name} resolves: {self.rates}")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reading")
        self.batcher = Batcher[Upload, Look | DataError](self._look, settings.batch, settings.queue, watch)

    @property
    def rates(self) -> str:
        """The false match rates that can be asked for, in words."""
        return ", ".join(f"{fmr:g}" for fmr in self.fmrs)

    def threshold(self, fmr: float) -> float:
        """The threshold of one of the rates."""
        return next(each.threshold for each in self.embedder.validation.thresholds if each.fmr == fmr)  # type: ignore[union-attr]

    async def look(self, uploads: Sequence[Upload]) -> list[Look]:
        """Looks at images, together with those of other requests.

        Raises:
            BusyError: if too many wait.
            DataError: if one of them can't be read.
        """
        looks = await self.look_at_each(uploads)
        for each in looks:
            if isinstance(each, DataError):
                raise each
        return [each for each in looks if isinstance(each, Look)]

    async def look_at_each(self, uploads: Sequence[Upload]) -> list[Look | DataError]:
        """The same, with the error in the place of an image that can't be read."""
        return await self.batcher.submit(uploads)

    def compare(self, a: Sequence[Embeddings], b: Sequence[Embeddings], fmr: float) -> list[Verdict]:
        """Verdicts on pairs of embeddings, one row each."""
        return judge(
            Embeddings.joined(a), Embeddings.joined(b), self.embedder.calibration, self.embedder.validation, fmr
        )

    def against(self, look: Embeddings, photos: Sequence[Enrolled], fmr: float) -> Verdict:
        """The verdict on a photo and an enrolled person.

        The mean of unit vectors is compared, not scaled to a unit again: so similarity is that of the mean cosine, and a stranger
        passes no more often than with one photo.
        """
        return self.compare([look], [_mean(stacked(photos))], fmr)[0]

    def candidates(self, look: Embeddings, hits: Sequence[Hit], fmr: float) -> list[Verdict]:
        """Verdicts on a photo and the best photo of each person found."""
        rows = [Embeddings(np.array([[hit.cosine, 0.0]], np.float32), _row(hit.authenticity)) for hit in hits]
        query = Embeddings(
            np.array([[1.0, 0.0]], np.float32), look.authenticity
        )  # in the plane of the two: their cosine is all
        return self.compare([query] * len(rows), rows, fmr) if rows else []

    def genuine(self, embedding: Embeddings | None) -> float | None:
        """The probability that a photo is genuine, at equal priors; None where the model doesn't judge it."""
        calibration = self.embedder.calibration
        if embedding is None or embedding.authenticity is None or calibration is None or calibration.genuine is None:
            return None
        return float(np.exp(calibration.genuine.log_probability(embedding.authenticity[0])))

    async def close(self) -> None:
        """Finish what waits."""
        await self.batcher.close()
        self._readers.shutdown()

    def _look(self, uploads: list[Upload]) -> list[Look | DataError]:
        """One batch: images are read by several threads and embedded together, as many as memory allows."""
        looks: list[Look | DataError] = []
        read: list[Portrait | DataError] = []
        for start in range(0, len(uploads), _READERS):
            read += self._readers.map(self._read, uploads[start : start + _READERS])
            if sum(each.image.size for each in read if isinstance(each, Portrait)) > _HELD or len(looks) + len(
                read
            ) == len(uploads):
                looks += self._embedded(read)
                read = []
        return looks

    def _embedded(self, read: Sequence[Portrait | DataError]) -> list[Look | DataError]:
        good = [place for place, each in enumerate(read) if isinstance(each, Portrait) and each.problem is None]
        embeddings = self.embedder.embed_images([read[place].image for place in good]) if good else None  # type: ignore[union-attr]
        row = {place: np.array([number]) for number, place in enumerate(good)}
        return [
            each
            if isinstance(each, DataError)
            else Look(
                replace(each, image=_NOTHING),
                embeddings.take(row[place]) if embeddings is not None and place in row else None,
            )
            for place, each in enumerate(read)
        ]

    def _read(self, upload: Upload) -> Portrait | DataError:
        try:
            portrait = read_portrait(upload.data, upload.name, self.embedder.prepare)
            refuse_second_format(upload.data, upload.name)
            return portrait
        except DataError as error:
            return error


def _mean(photos: Embeddings) -> Embeddings:
    odds = None if photos.authenticity is None else photos.authenticity.mean(keepdims=True)
    return Embeddings(photos.identity.mean(axis=0, keepdims=True), odds)


def _row(authenticity: float | None) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
    return None if authenticity is None else np.array([authenticity], np.float32)
