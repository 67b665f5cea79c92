"""Undo what analysts do to values so that nobody clicks on them.

Own code, as ioc-fanger 5.1 also rewrites what was never defanged: real hosts such as
``x-dot-project.appspot.com`` become others, and ``hxxp`` or ``(at)`` in a path is changed.
"""

from __future__ import annotations

import re

_COLON_AND_SLASHES = r"(?:\[://\]|(?:\[:\]|:)(?:\[//\]|//))"
_SCHEME = re.compile(rf"(?:h(?:[tx]{{2}}|\*\*)p(?P<s>s?)|fxp){_COLON_AND_SLASHES}", re.IGNORECASE)
_DOT = re.compile(r"\[(?:\.|dot)\]|\((?:\.|dot)\)|\{(?:\.|dot)\}|\[\.|\.\]|\\\.", re.IGNORECASE)
_AT = re.compile(r"\[(?:@|at)\]|\((?:@|at)\)|\{(?:@|at)\}", re.IGNORECASE)


def refang(text: str) -> str:
    """The value as it was before somebody defanged it; other values come back unchanged.

    Words such as ``[dot]`` count only in the host part: paths are the attacker's to write.
    """
    scheme, rest = "", text
    if found := _SCHEME.match(text):
        scheme = "ftp://" if found["s"] is None else f"http{found['s'].lower()}://"
        rest = text[found.end() :]
    host, slash, path = rest.partition("/")
    host = _AT.sub("@", _DOT.sub(".", host)).replace("[:]", ":")
    return scheme + host + slash + path.replace("[.]", ".")
