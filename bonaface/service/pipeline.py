"""Images in, verdicts out: what the routes share, without a word of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bonaface.errors import ConfigError, DataError
from bonaface.gallery.enrolment import EmbeddedPhoto, embed_read
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import Enrolled, stacked
from bonaface.images.photo import Photo
from bonaface.inference.verifier import Verifier, qualified
from bonaface.service.batching import Batcher
from bonaface.service.settings import ServiceSettings
from bonaface.service.uploads import Upload, refuse_second_format
from bonaface.verification.calibration import Calibration
from bonaface.verification.decision import Verdict
from bonaface.verification.embeddings import Embeddings

__all__ = ["Pipeline"]

_READERS = 2


class Pipeline:
    """The model, its queue and the gallery.

    Args:
        verifier: the model, with a calibration and thresholds.
        gallery: enrolled people, or None.
        settings: limits and the false match rate.
        watch: told of each batch: its size and its seconds.

    Raises:
        ConfigError: if the model has no thresholds, or none for the rate.
    """

    def __init__(
        self,
        verifier: Verifier,
        gallery: Gallery | None,
        settings: ServiceSettings,
        watch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.verifier, self.gallery, self.settings = verifier, gallery, settings
        if not verifier.thresholds:
            raise ConfigError(
                f"{verifier.name}: has no thresholds, so it can give no verdicts; serve a run's folder or an exported model"
            )
        verifier.threshold(settings.fmr)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reading")
        self.batcher = Batcher[Upload, EmbeddedPhoto | DataError](
            self._embed_batch, settings.batch, settings.queue, watch
        )

    @property
    def calibration(self) -> Calibration:
        """Of the model, which has thresholds and so a calibration."""
        calibration = self.verifier.embedder.calibration
        assert calibration is not None  # noqa: S101 - as thresholds are of calibrated similarities
        return calibration

    async def embed(self, uploads: Sequence[Upload]) -> list[EmbeddedPhoto]:
        """Read and embed images, together with those of other requests.

        Raises:
            BusyError: if too many wait.
            DataError: if one of them can't be read.
        """
        embedded = await self.embed_each(uploads)
        for each in embedded:
            if isinstance(each, DataError):
                raise each
        return [each for each in embedded if isinstance(each, EmbeddedPhoto)]

    async def embed_each(self, uploads: Sequence[Upload]) -> list[EmbeddedPhoto | DataError]:
        """The same, with the error in the place of an image that can't be read."""
        return await self.batcher.submit(uploads)

    def compare(self, a: Sequence[Embeddings], b: Sequence[Embeddings], fmr: float) -> list[Verdict]:
        """Verdicts on pairs of embeddings, one row each."""
        return self.verifier.compare(Embeddings.joined(a), Embeddings.joined(b), fmr)

    def compare_photos(self, pairs: Sequence[tuple[EmbeddedPhoto, EmbeddedPhoto]], fmr: float) -> list[Verdict]:
        """Verdicts on pairs of photos that could be judged, with what is known of the photos."""
        a, b = ([pair[side].embedding for pair in pairs] for side in (0, 1))
        verdicts = self.compare([each for each in a if each is not None], [each for each in b if each is not None], fmr)
        return [
            qualified(verdict, first.photo, second.photo)
            for verdict, (first, second) in zip(verdicts, pairs, strict=True)
        ]

    def against(self, photo: Embeddings, photos: Sequence[Enrolled], fmr: float) -> Verdict:
        """The verdict on a photo and an enrolled person.

        The mean of unit vectors is compared, not scaled to a unit again: so similarity is that of the mean cosine, and a stranger
        passes no more often than with one photo.
        """
        return self.compare([photo], [_mean(stacked(photos))], fmr)[0]

    async def close(self) -> None:
        """Finish what waits."""
        await self.batcher.close()
        self._readers.shutdown()

    def _embed_batch(self, uploads: list[Upload]) -> list[EmbeddedPhoto | DataError]:
        """One batch: photos are read by several threads and embedded together."""
        read = list(self._readers.map(self._read, uploads))
        return embed_read(self.verifier, read)

    def _read(self, upload: Upload) -> Photo | DataError:
        try:
            photo = self.verifier.read(upload.data, upload.name)
            refuse_second_format(upload.data, upload.name)
            return photo
        except DataError as error:
            return error


def _mean(photos: Embeddings) -> Embeddings:
    odds = None if photos.authenticity is None else photos.authenticity.mean(keepdims=True)
    return Embeddings(photos.identity.mean(axis=0, keepdims=True), odds)
