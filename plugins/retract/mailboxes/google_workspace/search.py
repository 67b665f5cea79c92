"""Gmail's search language, as far as it is asked in: windows of time, and Message-IDs."""

from __future__ import annotations

import re
from datetime import timedelta

from retract.model import Window

# The sender chose it. Blanks end a word of a search; quotes, brackets and | have a meaning in
# it that is not documented well enough to quote them: nothing is searched for then.
_SAFE_MESSAGE_ID = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_~@:\[\]-]{1,500}")


def in_window(window: Window) -> str:
    """What was received in the window, and a little more.

    q counts whole seconds, and whether its bounds belong to it is not documented.
    """
    start = int(window.start.timestamp()) - 1
    end = int((window.end + timedelta(seconds=1)).timestamp()) + 1
    return f"{after(start)} before:{end}"


def after(moment: int) -> str:
    """What was received after so many seconds of the epoch. Drafts were not."""
    return f"after:{moment} -in:draft"


def by_message_id(message_id: str) -> str:
    """What has this Message-ID; empty when that cannot be asked safely."""
    bare = message_id.strip().removeprefix("<").removesuffix(">")
    return f"rfc822msgid:{bare}" if _SAFE_MESSAGE_ID.fullmatch(bare) else ""
