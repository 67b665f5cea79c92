"""Settings files of any kind: what tests of the policy and the feeds file do not reach."""

import traceback
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest
from pydantic import ConfigDict, model_validator

from retract.errors import ConfigurationError
from retract.settings_file import Duration, Misfits, Section, SettingsFile


class Shelf(Section):
    name: str
    depth: int = 1
    sizes: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.depth > 9:
            raise Misfits((("depth",), "deeper than the house"))
        return self


class House(Section):
    shelves: tuple[Shelf, ...] = ()
    rest: Duration = timedelta(0)


class Safe(House):
    model_config = ConfigDict(hide_input_in_errors=True)


HOUSE = SettingsFile(
    House, kind="house", error=ConfigurationError, max_bytes=1024, items={"shelves": "shelf"}
)
SAFE = SettingsFile(Safe, kind="safe", error=ConfigurationError, max_bytes=1024)

SECRET_SHELF = "shelves: [{name: [hunter2]}]"


def refusal(text: str, file: SettingsFile[House] | SettingsFile[Safe] = HOUSE) -> str:
    with pytest.raises(ConfigurationError) as told:
        file.parse(text.encode(), name="h.yaml")
    return str(told.value)


def test_a_file_is_read(tmp_path: Path):
    path = tmp_path / "house.yaml"
    path.write_text("shelves: [{name: a, sizes: [1, 2]}]\nrest: P1DT2H\n")

    assert HOUSE.load(path) == House(
        shelves=(Shelf(name="a", sizes=(1, 2)),), rest=timedelta(days=1, hours=2)
    )


@pytest.mark.parametrize(
    "text",
    ["rest: !!int ''\n", "rest: !!bool x\n", "rest: !!timestamp x\n", "rest: !!str 5\n", "! {}\n"],
)
def test_a_tag_is_refused(text: str):
    assert refusal(text).startswith("h.yaml line 1: the tag ")


def test_an_item_with_a_name_is_called_by_it():
    told = refusal("""\
shelves:
  - name: "top\\n"
    dept: 2
  - depth: deep
  - {name: low, sizes: [1, x]}
  - 7
""")

    assert told.splitlines() == [
        r"h.yaml line 3: shelf 'top\n', dept: unknown setting; known here: name, depth, sizes",
        "h.yaml line 4: shelf number 2, depth: Input should be a valid integer, unable to parse "
        "string as an integer, not 'deep'",
        "h.yaml line 4: shelf number 2, name: missing",
        "h.yaml line 5: shelf 'low', sizes.1: Input should be a valid integer, unable to parse "
        "string as an integer, not 'x'",
        "h.yaml line 6: shelf number 4: Input should be a valid dictionary or instance of Shelf, "
        "not 7",
    ]


def test_settings_that_do_not_fit_together_are_told_from_the_model_that_says_so():
    told = refusal("shelves:\n  - name: a\n    depth: 10\n")

    assert told == "h.yaml line 3: shelf 'a', depth: deeper than the house"


def test_a_value_that_may_be_secret_is_repeated_neither_in_the_message_nor_in_a_traceback():
    with pytest.raises(ConfigurationError) as caught:
        SAFE.parse(SECRET_SHELF.encode(), name="s.yaml")

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" in refusal(SECRET_SHELF), "else it is told"


@pytest.mark.parametrize("text", ["P1Y", "P1M", "P", "PT", "1D", "-P1D", "P1.5D", "p1d"])
def test_what_is_no_plain_duration_is_refused(text: str):
    assert "ISO-8601" in refusal(f"rest: {text}\n")


def test_a_file_s_kind_is_what_messages_call_it(tmp_path: Path):
    path = tmp_path / "house.yaml"
    path.write_text("# " + "x" * 2000)

    with pytest.raises(ConfigurationError, match=r"house\.yaml: larger than 1 KiB; is it a house"):
        HOUSE.load(path)
    assert "a safe is a mapping" in refusal("- a list\n", SAFE)
