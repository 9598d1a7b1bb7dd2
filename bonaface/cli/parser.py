"""Argument parser that says in one sentence what is wrong."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

__all__ = ["Parser"]

_KINDS = {"integer": "an integer", "number": "a number"}
_INVALID = re.compile(r"invalid (?P<kind>integer|number) value: (?P<given>.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """:class:`argparse.ArgumentParser` whose errors are one sentence and the way to the help, without twenty lines of usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with 2."""
        message = re.sub(r"^argument ", "", message)
        message = _INVALID.sub(lambda found: f"expected {_KINDS[found['kind']]}, not {found['given']}", message)
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")
