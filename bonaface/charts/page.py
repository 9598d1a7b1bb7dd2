"""Templates of the HTML pages that commands write: one file each, without a script, that fetches nothing."""

from __future__ import annotations

from pathlib import Path

import jinja2

from bonaface.assets import ASSETS

__all__ = ["page_template"]


def page_template(file: Path, **filters: object) -> jinja2.Template:
    """The template of a page, which may include the package's ``style.css``; what is put in is escaped.

    Args:
        file: the template, ``*.html.j2``.
        filters: further filters by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([file.parent, ASSETS]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(file.name)
