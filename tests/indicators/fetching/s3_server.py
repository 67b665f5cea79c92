"""As much of S3 as a reader needs: GET with conditions, and ListObjectsV2 page by page."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests.indicators.fetching.serving import Asked, Says

BUCKET = "threat-feeds"
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

_PAGE = 2


@dataclass
class S3Server:
    objects: dict[str, bytes] = field(default_factory=dict)
    etags: bool = True
    may_get: bool = True
    may_list: bool = True

    def __call__(self, asked: Asked) -> Says:
        authorization = asked.headers.get("authorization", "")
        if f"Credential={ACCESS_KEY}/" not in authorization:
            return _error(403, "InvalidAccessKeyId", authorization)
        bucket, _, key = unquote(asked.path).lstrip("/").partition("/")
        if bucket != BUCKET:
            return _error(404, "NoSuchBucket")
        if asked.query.get("list-type") == "2":
            return self._list(asked) if self.may_list else _error(403, "AccessDenied")
        if not self.may_get:
            return _error(403, "AccessDenied")
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        etag = self._etag(key)
        if etag and asked.headers.get("if-none-match") == etag:
            return Says(status=304, headers={"ETag": etag})
        headers = {"Last-Modified": "Sat, 31 Jan 2026 08:00:00 GMT"}
        return Says(self.objects[key], headers=headers | ({"ETag": etag} if etag else {}))

    def _list(self, asked: Asked) -> Says:
        prefix, after = asked.query.get("prefix", ""), asked.query.get("continuation-token", "")
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) and key > after]
        more = len(keys) > _PAGE
        last = "".join(keys[_PAGE - 1 : _PAGE])
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>"
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size>"
            "<LastModified>2026-01-31T08:00:00.000Z</LastModified>"
            + (f"<ETag>{escape(self._etag(key))}</ETag>" if self.etags else "")
            + "</Contents>"
            for key in keys[:_PAGE]
        )
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{_PAGE}</MaxKeys>"
            f"<KeyCount>{len(keys[:_PAGE])}</KeyCount><IsTruncated>{str(more).lower()}"
            f"</IsTruncated>{token if more else ''}{entries}</ListBucketResult>"
        )
        return Says(body.encode(), headers={"Content-Type": "application/xml"})

    def _etag(self, key: str) -> str:
        digest = hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()
        return f'"{digest}"' if self.etags else ""


def _error(status: int, code: str, detail: str = "") -> Says:
    # Real ones repeat what was sent, signatures included.
    body = f"<Error><Code>{code}</Code><Message>{escape(detail)} {SECRET_KEY}</Message></Error>"
    return Says(body.encode(), status, {"Content-Type": "application/xml"})
