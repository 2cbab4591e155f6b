"""Languages: what containers call them, as BCP 47 tags (RFC 5646), and what people call them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST: Final = 35
"""The longest tag (RFC 5646 4.4.1)."""
UNKNOWN: Final = "und"
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_EXTENDED: Final = re.compile(r"[A-Za-z]{2,3}-([A-Za-z]{3}(?:-.*)?)")
"""A language within another (RFC 5646 2.2.2), whose own code says as much."""
_PRIVATE: Final = re.compile(r"q[a-t][a-z]")


def is_tag(text: str) -> bool:
    """Return whether `text` has the form of a BCP 47 tag."""
    return len(text) <= LONGEST and _TAG.fullmatch(text) is not None


@lru_cache(maxsize=1000)
def bcp47(code: str | None) -> str:
    """Return the canonical tag for a container's code or a job's tag; `und` when it says none.

    `eng`, `ger`, `iw` and `pt-br` become `en`, `de`, `he` and `pt-BR`, and `zh-cmn` becomes `cmn` (RFC 5646 4.5).
    """
    import langcodes.tag_parser  # noqa: PLC0415  # it loads tables that few processes need

    if not code or not is_tag(code.strip()):
        return UNKNOWN
    extended = _EXTENDED.fullmatch(code.strip())
    try:
        return langcodes.standardize_tag(extended[1] if extended else code.strip())
    except langcodes.tag_parser.LanguageTagError:
        head, dash, _ = code.strip().rpartition("-")
        return bcp47(head) if dash else UNKNOWN


@lru_cache(maxsize=1000)
def name_of(tag: str) -> str:
    """Return what people call the language of a tag, with its script and region; the tag where it has no name."""
    import langcodes  # noqa: PLC0415  # as above

    if bcp47(tag) == UNKNOWN:
        return "Unknown" if tag == UNKNOWN else tag
    language = langcodes.Language.get(tag)
    if _PRIVATE.fullmatch(language.language or "") or language.language_name().startswith("Unknown language"):
        return tag
    return language.display_name()


def find_language(wanted: str, languages: Sequence[str | None]) -> int | None:
    """Return the index of the first of `languages` that is `wanted`, else of the first that is a kind of it.

    `pt` finds `pt-BR` where no `pt` is, and `pt-BR` finds no `pt` (RFC 4647 3.3.1, basic filtering).
    """
    tag = bcp47(wanted)
    tags = [bcp47(language) for language in languages]
    if tag in tags:
        return tags.index(tag)
    return next((index for index, other in enumerate(tags) if other.startswith(f"{tag}-")), None)


def is_language(tag: str, wanted: str) -> bool:
    """Return whether `tag` is the language `wanted`, or a kind of it."""
    return bcp47(tag) == bcp47(wanted) or bcp47(tag).startswith(f"{bcp47(wanted)}-")
