"""The lake: Delta tables under one URL. What a run judges is pinned to a version."""

from __future__ import annotations

from retract.lake.indicators import IndicatorsPart
from retract.lake.mail import LakeVersions, MailOfDays, MailPart, commit_group
from retract.lake.upkeep import Expired, UpkeepPart

__all__ = ["Expired", "Lake", "LakeVersions", "MailOfDays", "commit_group"]


class Lake(MailPart, IndicatorsPart, UpkeepPart):
    """The tables below ``url``: a local folder, or any object store (s3://, az://, gs://).

    ``storage_options`` goes to the object store as it is. Methods raise LakeError when a table
    has another shape than this program's, or when a commit does not get through.
    """
