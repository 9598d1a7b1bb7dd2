"""The project's own exceptions.

    BonafaceError
    ├── DataError    images, folders, tables or labels are not what they should be
    │   └── GalleryError                  enrolled people can't be read or written
    │       ├── GalleryUnavailableError   the database does not answer; it may come back
    │       ├── GalleryFullError          the disk has no room; nothing was written
    │       ├── GalleryDamagedError       files are damaged or missing; waiting does not help
    │       ├── GalleryOutdatedError      embedded for another model meanwhile; opening it with that model helps
    │       └── GalleryReplacedError      another file is in its place, or a copy was written into it
    ├── ConfigError  a setting is wrong, or settings contradict each other
    ├── ModelError   weights, a checkpoint or an exported model can't be used
    └── MissingExtraError   an optional package is not installed; it is an ImportError too

Each message is one sentence: what was wrong, where, and what would be right. The command line prints it and exits with 2.
"""

__all__ = [
    "BonafaceError",
    "ConfigError",
    "DataError",
    "GalleryDamagedError",
    "GalleryError",
    "GalleryFullError",
    "GalleryOutdatedError",
    "GalleryReplacedError",
    "GalleryUnavailableError",
    "LooseThresholdWarning",
    "MissingExtraError",
    "ModelError",
    "UnalignedWarning",
]


class BonafaceError(Exception):
    """Anything that the project refuses, said in one sentence."""


class DataError(BonafaceError):
    """Images, folders, tables or labels are not what they should be."""


class GalleryError(DataError):
    """Enrolled people can't be read or written."""


class GalleryUnavailableError(GalleryError):
    """The gallery's database does not answer; it may come back."""


class GalleryFullError(GalleryError):
    """The gallery's disk has no room; nothing was written."""


class GalleryDamagedError(GalleryError):
    """Files of a gallery are damaged or missing: waiting does not help, a backup does."""


class GalleryOutdatedError(GalleryError):
    """A gallery was embedded for another model meanwhile: waiting does not help, opening it with that model does."""


class GalleryReplacedError(GalleryError):
    """A gallery's file or folder was replaced, removed or written into while it was open: waiting does not help."""


class ConfigError(BonafaceError):
    """A setting is wrong, or settings contradict each other."""


class ModelError(BonafaceError):
    """Weights, a checkpoint or an exported model can't be used."""


class MissingExtraError(BonafaceError, ImportError):
    """An optional package that is needed is not installed; the message has the pip line."""


class LooseThresholdWarning(UserWarning):
    """A model decides at a higher false match rate than usual, since its pairs resolve no lower one and none was asked for."""


class UnalignedWarning(UserWarning):
    """A network that expects aligned faces is run on others."""
