"""Pages as HTML: a template is filled, everything that is not markup of our own is escaped, and one file is written."""

from __future__ import annotations

import re
from errno import EISDIR
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evoembedding.flows.report.charts import counted, number
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import write_whole
from evoembedding.schemas.text import shown

HERE = Path(__file__).parent


def filled(template: str, page: object) -> str:
    """The page as HTML; it does nothing to who reads it."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        # A name in the template that nothing fills is an error, not a gap in the page.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    grouped = "{:,}".format
    environment.filters |= {"number": number, "count": grouped, "counted": counted, "linked": linked}
    style = Markup((HERE / "report.css").read_text(encoding="utf-8"))  # noqa: S704  a file of ours
    # Marks that turn text around, terminal codes and halves of characters are as little for a page as for a screen.
    return shown(environment.get_template(template).render(page=page, style=style))


def written(path: Path, html: str) -> Path:
    """Write the page; where it is.

    Raises:
        EvoError: the file cannot be written.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, html)
    except OSError as error:
        raise EvoError(
            f"report '{path}' cannot be written ({error.strerror}); nothing was changed; give another --output"
        ) from error
    return path.absolute()


def linked(uri: str) -> str:
    """The address, if a reader may follow it: http and https alone."""
    return uri if re.match(r"https?://", uri, re.IGNORECASE) else ""
