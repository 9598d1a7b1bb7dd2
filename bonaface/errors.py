"""The project's own exceptions.

    BonafaceError
    ├── DataError    images, folders, tables or labels are not what they should be
    ├── ConfigError  a setting is wrong, or settings contradict each other
    └── ModelError   weights, a checkpoint or an exported model can't be used

Each message is one sentence: what was wrong, where, and what would be right. The command line prints it and exits with 2.
"""

__all__ = ["BonafaceError", "ConfigError", "DataError", "ModelError"]


class BonafaceError(Exception):
    """Anything that the project refuses, said in one sentence."""


class DataError(BonafaceError):
    """Images, folders, tables or labels are not what they should be."""


class ConfigError(BonafaceError):
    """A setting is wrong, or settings contradict each other."""


class ModelError(BonafaceError):
    """Weights, a checkpoint or an exported model can't be used."""
