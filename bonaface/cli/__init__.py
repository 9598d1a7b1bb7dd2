"""``bonaface COMMAND``: finds the command's module and says errors in one sentence, with exit code 2."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from bonaface.cli.parser import Parser
from bonaface.errors import BonafaceError, ConfigError, LooseThresholdWarning, UnalignedWarning
from bonaface.extras import EXTRAS, missing_extra, require
from bonaface.version import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "get": "get a data set of faces to start from",
    "forge": "make deepfakes of a folder of real faces, to train on",
    "clean": "find what is wrong with a folder of faces: broken, duplicate, mislabelled",
    "train": "train a face verifier that deepfakes do not pass",
    "submit": "score a folder of pairs: pair_id,similarity",
    "evaluate": "error rates against other people and against deepfakes",
    "verify": "say whether two photos are genuine photos of one person",
    "check": "judge single photos: faces, quality, genuine or deepfake",
    "calibrate": "take a model's thresholds from your own pairs: one file that every command takes",
    "enrol": "enrol people from a folder or a table into a gallery",
    "search": "find the enrolled people whom photos show",
    "export": "write a model as one file that needs no torch",
    "serve": "verification as a service: a REST API, its page, and a gallery of enrolled people",
    "experiments": "run a file of experiments, and make the tables of its report",
    "embed": "embed a folder or a table of images of any size, into one file or into Parquet",
}

NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "calibrate": ("export", ("onnx", *EXTRAS["evaluate"])),
    "clean": ("clean", ()),
    "evaluate": ("evaluate", ()),
    "experiments": ("experiments", ("ray", *EXTRAS["train"])),
    "export": ("export", ("onnx", *EXTRAS["evaluate"])),
    "forge": ("train", ()),
    "serve": ("serve", ()),
    "train": ("train", ()),
}
"""The extra that a command needs whatever it is asked, and which of its packages: all where none are named. A command that is
not here runs on the core; options and files that need more say so themselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0 when all went well, 1 when it was done but some images could not be used, 2 on an error, 130 when interrupted, 141 when
        what reads the output has closed it, as ``| head`` does.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # no name of a file may cost the output, whatever the console's encoding
    command = _parser().parse_args(words[:1] or ["--help"]).command
    try:
        return _run(command, words)
    except BrokenPipeError:
        return _closed_pipe()
    except SystemExit as stopped:
        if isinstance(stopped.__context__, BrokenPipeError):  # as rich answers a closed pipe, with 1
            return _closed_pipe()
        raise


def _run(command: str, words: list[str]) -> int:
    warnings.showwarning = partial(_warned, command, warnings.showwarning)
    try:
        if command in NEEDS and not {"-h", "--help"} & set(words):
            extra, modules = NEEDS[command]
            require(extra, *modules)
        _refuse_empty(words)
        module = importlib.import_module(f"bonaface.cli.{command}")
        code: int = module.main(words[1:])
        sys.stdout.flush()
        return code
    except BonafaceError as error:
        return _failed(command, str(error))
    except ImportError as error:
        missing = missing_extra(error, NEEDS.get(command, (None, ()))[0])
        if missing is None:
            raise
        return _failed(command, str(missing))
    except BrokenPipeError:
        raise
    except OSError as error:
        said = _of_the_system(error)
        if said is None:
            raise
        return _failed(command, said)
    except KeyboardInterrupt:
        print(f"bonaface {command}: interrupted", file=sys.stderr)  # noqa: T201
        return 130


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise an error for an empty word: as a path it would mean the folder that one is in, and a variable of the shell is unset."""
    for before, word in pairwise(words):
        if not word or re.fullmatch(r"--[a-z-]+=", word):
            raise ConfigError(
                f"{word or before}: is followed by an empty argument; expected a value, or nothing at all"
            )


def _warned(command: str, shown: Any, message: Warning | str, category: type[Warning], *rest: Any) -> None:
    """Prints a warning of our own as one sentence; any other as Python does."""
    if issubclass(category, LooseThresholdWarning | UnalignedWarning):
        print(f"bonaface {command}: warning: {message}", file=sys.stderr)  # noqa: T201
    else:
        shown(message, category, *rest)


def _closed_pipe() -> int:
    """128 and the number of SIGPIPE, which would have ended a program that is no Python; nothing is flushed there again."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    return 141


def _of_the_system(error: OSError) -> str | None:
    """One sentence for what the system refused; None where it is not about a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.filename or 'the disk'}: no space left; make room and run the command again"
    if error.filename is None:
        return None
    return f"{error.filename}: {(error.strerror or str(error)).lower()}; expected a file that can be read or written"


def _failed(command: str, sentence: str) -> int:
    print(f"bonaface {command}: {sentence}", file=sys.stderr)  # noqa: T201
    return 2


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
    parser = Parser(
        prog="bonaface",
        usage="bonaface COMMAND [OPTIONS]",
        description="Face verification that a deepfake does not pass.",
        epilog=f"commands:\n{listed}\n\nbonaface COMMAND --help says what each takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bonaface {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    return parser
