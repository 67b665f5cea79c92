"""Harmless attachments with the outer form of the real thing, the same for the same words."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from xml.sax.saxutils import escape

_ZIP_DATE = (2026, 1, 2, 3, 4, 0)
# Stored, not compressed: compressors differ between machines, and hashes must not.
_COMPRESSION = 0


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to attach."""

    name: str
    maintype: str
    subtype: str
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def pdf(name: str, words: str) -> Attachment:
    """A PDF of one page showing the words (Latin-1 only)."""
    shown = re.sub(r"([()\\])", r"\\\1", words)
    stream = b"BT /F1 14 Tf 72 720 Td (" + shown.encode("latin-1", "replace") + b") Tj ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    file = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    file += b"trailer << /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    file += b"startxref\n%d\n%%%%EOF\n" % table
    return Attachment(name, "application", "pdf", bytes(file))


def docx(name: str, words: str) -> Attachment:
    """A Word document of one paragraph."""
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    wordprocessing = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    data = _zip(
        {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{wordprocessing}.main+xml"/>'
            "</Types>",
            "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship '
            f'Id="r1" Type="{office}/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{word}"><w:body><w:p><w:r><w:t>'
            f"{escape(words)}</w:t></w:r></w:p></w:body></w:document>",
        }
    )
    return Attachment(name, "application", wordprocessing.removeprefix("application/"), data)


def archive(name: str, inner_name: str, words: str) -> Attachment:
    """A ZIP file with one text in it."""
    return Attachment(name, "application", "zip", _zip({inner_name: words}))


def page(name: str, html: str) -> Attachment:
    """A web page as a file, such as phish carries to evade link scanners."""
    return Attachment(name, "text", "html", html.encode())


def logo(red: int, green: int, blue: int) -> bytes:
    """A small PNG of one colour."""
    side = 24
    rows = b"".join(b"\x00" + bytes((red, green, blue)) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows, _COMPRESSION))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _zip(members: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zipped:
        for name, text in members.items():
            zipped.writestr(zipfile.ZipInfo(name, _ZIP_DATE), text)
    return file.getvalue()
