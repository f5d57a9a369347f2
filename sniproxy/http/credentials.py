"""
Who does a client say it is? C{Authorization: Basic} (RFC 7617) as nginx reads it (C{ngx_http_auth_basic_user}).
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from typing import Final

_BASIC: Final = re.compile(r"basic +([A-Za-z0-9+/]+)(?:=.*)?\Z", re.IGNORECASE | re.DOTALL)


def credentials(value: str | None) -> tuple[bytes, bytes] | None:
    """
    @param value: of the field, or None.
    @return: a name, which is not empty, and a password; None where there are none.
    """
    found = None if value is None else _BASIC.match(value)
    if found is None or len(found[1]) % 4 == 1:
        return None
    name, colon, password = a2b_base64(found[1] + "=" * (-len(found[1]) % 4)).partition(b":")
    return (name, password) if name and colon else None
