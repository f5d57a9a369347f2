"""
Does a client take gzip? C{Accept-Encoding} as nginx reads it (C{ngx_http_gzip_accept_encoding}).
"""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"gzip", re.IGNORECASE)
_QUALITY: Final = re.compile(r" *(?:,|\Z|; *(?:\Z|[qQ]=(?P<whole>[01])(?:\.(?P<part>[0-9]{0,3}))?(?:[, ]|\Z)))")
"""What follows the name, where it is understood; a quality has three digits at most."""


def accepts_gzip(value: str) -> bool:
    """
    @param value: of the field.
    @return: whether gzip is named, with another quality than 0; not where that is no quality.
    """
    start = 0
    while (found := _NAME.search(value, start)) is not None:
        if found.start() == start or value[found.start() - 1] in ", ":
            rest = _QUALITY.match(value, found.end())
            if rest is None:
                return False
            whole, part = rest["whole"], (rest["part"] or "").strip("0")
            return whole is None or (whole == "1" and not part) or (whole == "0" and bool(part))
        start = found.end()
    return False
