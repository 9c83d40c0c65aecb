"""Makes the generated parts of the pages anew: `python -m docs.make`, at the top of a checkout."""

from __future__ import annotations

from docs.make.pages import DOCS, PAGES, current
from evoembedding.schemas.files import write_whole

for page in PAGES:
    write_whole(DOCS / page, current(page))
