"""Griffe extension: an ``Example:`` of a docstring is a section of code, as ``Examples:`` is."""

from __future__ import annotations

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Without it ``Example:`` would be prose, in which ``>>>`` quotes and brackets link."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section before the docstring is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
