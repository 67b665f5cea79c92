"""The policy file: what it means, and what it refuses, with the line and the reason."""

import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from retract.errors import PolicyError
from retract.model import ACTIONABLE_DISPOSITIONS, Action, Disposition, Mode, Provider
from retract.policy import Policy, SoftDeleteFolder, load_policy, parse_policy

POLICIES = Path(__file__).parents[1] / "include/policies"
GOOGLE, MICROSOFT = Provider.GOOGLE_WORKSPACE, Provider.MICROSOFT365


def parse(text: str) -> Policy:
    return parse_policy(textwrap.dedent(text).encode(), name="p.yaml")


def refusal(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    with pytest.raises(PolicyError) as told:
        parse_policy(data, name="p.yaml")
    return str(told.value)


def well_refused_or_read(data: bytes) -> bool:
    try:
        parse_policy(data, name="p.yaml")
    except PolicyError as error:
        return all(line.startswith("p.yaml line ") for line in str(error).splitlines())
    return True


# --- what a policy means ---


def test_the_shipped_policy_moves_nothing_until_a_person_says_so():
    policy = load_policy(POLICIES / "auto_retract.yaml")

    assert policy.mode is Mode.PREVIEW
    assert policy.cron == "*/15 * * * *"
    assert policy.lookback == timedelta(days=30)
    assert policy.action(MICROSOFT, Disposition.MALICIOUS) is Action.SOFT_DELETE
    assert policy.action(GOOGLE, Disposition.MALICIOUS) is Action.TRASH
    assert policy.action(GOOGLE, Disposition.BULK) is Action.NO_ACTION


def test_the_demo_policy_enforces_and_exercises_every_action():
    policy = load_policy(POLICIES / "demo.yaml")

    assert policy.mode is Mode.ENFORCE
    assert {policy.action(MICROSOFT, d) for d in ACTIONABLE_DISPOSITIONS} == set(Action)


def test_all_of_the_design_s_sketch_is_understood():
    policy = parse("""
        mode: preview
        reevaluate_every: PT15M
        lookback: P30D
        post_delivery_response: true
        phish_submission_response: true
        actions: {malicious: soft_delete, suspicious: junk, spoof: junk, spam: junk}
        providers:
          google_workspace: {actions: {malicious: trash}}
          microsoft365: {actions: {spam: trash}, soft_delete_folder: recoverable_items}
        exempt: {mailboxes: [A@x.example], senders: ["@Y.example"], recipients_domains: [Z.example]}
        protected_mailboxes: [SOC@x.example]
        confidence_floor: 60
        """)

    assert policy.providers.microsoft365.soft_delete_folder is SoftDeleteFolder.RECOVERABLE_ITEMS
    assert policy.action(MICROSOFT, Disposition.SPAM) is Action.TRASH
    assert policy.action(GOOGLE, Disposition.SPAM) is Action.JUNK
    assert policy.action(GOOGLE, Disposition.BULK) is Action.NO_ACTION, "left out: no action"
    assert any("phish_submission_response" in remark for remark in policy.remarks())


@pytest.mark.parametrize("provider", Provider)
@pytest.mark.parametrize("disposition", [Disposition.NONE, Disposition.UNKNOWN])
def test_what_is_not_judged_to_be_anything_gets_no_action(provider, disposition):
    assert parse("actions: {malicious: junk}").action(provider, disposition) is Action.NO_ACTION


def test_addresses_are_compared_without_case_and_domains_without_sub_domains():
    policy = parse("""
        actions: {}
        exempt:
          mailboxes: [Ann@North.example]
          senders: [boss@south.example, "@Bücher.example"]
          recipients_domains: [lab.example]
        protected_mailboxes: [soc@north.example]
        """)
    exempt = policy.exempt

    assert exempt.covers_mailbox("ANN@north.example")
    assert not exempt.covers_mailbox("joann@north.example")
    assert exempt.covers_mailbox("joann@north.example", "ANN@north.example")
    assert exempt.covers_sender("Boss@South.Example")
    assert exempt.covers_sender("any@xn--bcher-kva.example")
    assert not exempt.covers_sender("any@sub.bücher.example")
    assert not exempt.covers_sender("other@south.example")
    assert not exempt.covers_sender("")
    assert exempt.covers_recipient("x@LAB.example")
    assert not exempt.covers_recipient("x@sub.lab.example")
    assert not exempt.covers_recipient("x@notlab.example")
    assert policy.protects("SOC@North.example")
    assert not policy.protects("ann@north.example")


@pytest.mark.parametrize(
    ("interval", "cron"),
    [
        ("PT1M", "* * * * *"),
        ("PT15M", "*/15 * * * *"),
        ("PT900S", "*/15 * * * *"),
        ("PT60M", "0 * * * *"),
        ("PT6H", "0 */6 * * *"),
        ("P1D", "0 0 * * *"),
        ("PT24H", "0 0 * * *"),
    ],
)
def test_the_interval_becomes_a_cron_expression(interval, cron):
    assert parse(f"actions: {{}}\nreevaluate_every: {interval}").cron == cron


@pytest.mark.parametrize("interval", ["PT7M", "PT90M", "PT5H", "PT30S", "PT0S", "P2D", "PT1M30S"])
def test_an_interval_that_divides_neither_hour_nor_day_is_refused(interval):
    told = refusal(f"actions: {{}}\nreevaluate_every: {interval}\n")

    assert told.startswith("p.yaml line 2: reevaluate_every: ")
    assert "PT15M" in told


def test_the_digest_is_of_the_settings_and_not_of_the_layout():
    one = parse("""
        # a comment
        actions: {malicious: trash, spam: junk}
        protected_mailboxes: [b@x.example, a@x.example]
        """)
    same = parse("""
        protected_mailboxes: [A@x.example, b@x.example, b@x.example]
        actions: {spam: junk, malicious: trash}
        mode: preview
        """)
    other = parse("actions: {malicious: trash, spam: trash}")

    assert one.digest == same.digest
    assert len({one.digest, other.digest}) == 2
    assert (
        one.digest
        == parse_policy(
            b"actions: {spam: junk, malicious: trash}\n"
            b"protected_mailboxes: [a@x.example, b@x.example]",
            name="elsewhere.yaml",
        ).digest
    )


def test_the_matrix_says_where_mail_lands_and_who_can_recover_it():
    rows = {
        (row.provider, row.disposition): row
        for row in load_policy(POLICIES / "demo.yaml").describe()
    }

    assert len(rows) == len(Provider) * len(ACTIONABLE_DISPOSITIONS)
    soft = rows[MICROSOFT, Disposition.MALICIOUS]
    assert (soft.action, soft.lands_in) == (Action.SOFT_DELETE, "Deleted Items")
    hard = rows[GOOGLE, Disposition.SPOOF]
    assert "disagree" in hard.recoverable_by
    assert "none" in hard.undo
    assert "none by API" in rows[MICROSOFT, Disposition.SPOOF].undo


def test_soft_delete_lands_where_the_setting_says():
    policy = parse("""
        actions: {malicious: soft_delete}
        providers:
          microsoft365: {soft_delete_folder: recoverable_items}
          google_workspace: {actions: {malicious: trash}}
        """)

    row = next(r for r in policy.describe() if r.action is Action.SOFT_DELETE)

    assert "Recoverable Items" in row.lands_in


def test_every_possible_policy_can_be_described():
    for provider in Provider:
        for action in Action:
            if (provider, action) != (GOOGLE, Action.SOFT_DELETE):
                own = {provider: {"actions": {"malicious": action}}}
                rows = Policy.model_validate({"actions": {}, "providers": own}).describe()
                assert next(r for r in rows if r.provider is provider).action is action


def test_the_policy_decides_a_connection_s_soft_delete_folder():
    class Microsoft(BaseModel):
        soft_delete_folder: str = "deleted_items"

    class Google(BaseModel):
        customer: str = "my_customer"

    policy = parse("""
        actions: {}
        providers: {microsoft365: {soft_delete_folder: recoverable_items}}
        """)

    assert policy.apply_to(Microsoft()).soft_delete_folder == "recoverable_items"
    assert policy.apply_to(Google()) == Google()


# --- what is refused ---


def test_what_stands_in_for_a_missing_hard_delete_is_each_providers_own():
    refusing = parse("actions: {malicious: junk}")
    assert refusing.instead_of(MICROSOFT, Action.HARD_DELETE) is None
    named = parse("""
        actions: {malicious: junk}
        providers:
          microsoft365: {hard_delete_fallback: soft_delete}
          google_workspace: {hard_delete_fallback: trash}
        """)
    assert named.instead_of(MICROSOFT, Action.HARD_DELETE) is Action.SOFT_DELETE
    assert named.instead_of(GOOGLE, Action.HARD_DELETE) is Action.TRASH
    assert named.instead_of(MICROSOFT, Action.JUNK) is None
    assert named.digest != refusing.digest


@pytest.mark.parametrize(
    ("provider", "fallback"), [("microsoft365", "trash"), ("google_workspace", "soft_delete")]
)
def test_a_fallback_that_the_provider_does_not_have_is_refused(provider, fallback):
    told = refusal(f"""
        actions: {{malicious: junk}}
        providers:
          {provider}:
            hard_delete_fallback: {fallback}
        """)
    assert "p.yaml line 5" in told
    assert "hard_delete_fallback" in told


def test_a_reader_is_told_what_becomes_of_a_missing_hard_delete_and_of_sent_copies():
    told = " ".join(
        parse("""
        actions: {malicious: hard_delete}
        sent_copies: retract
        providers: {microsoft365: {hard_delete_fallback: soft_delete}}
        """).remarks()
    )
    assert "does soft_delete instead in national clouds" in told
    assert "leaves the copy alone in connections without allow_hard_delete" in told
    assert "sent_copies is retract" in told
    assert parse("actions: {malicious: junk}").remarks() == [
        "mode is preview: retractions are written down, nothing is moved."
    ]


def test_soft_delete_stated_for_google_is_refused_with_line_and_reason():
    told = refusal("""\
        actions:
          malicious: trash
        providers:
          google_workspace:
            actions:
              malicious: soft_delete
        """)

    assert told.startswith("p.yaml line 6: providers.google_workspace.actions.malicious: ")
    assert "Gmail has no soft_delete" in told
    assert "trash" in told


def test_soft_delete_that_google_would_inherit_is_refused_with_what_to_write():
    told = refusal("""\
        actions:
          suspicious: junk
          malicious: soft_delete
        """)

    assert told.startswith("p.yaml line 3: actions.malicious: ")
    remedy = told.partition("as providers: ")[2]
    mended = "actions: {suspicious: junk, malicious: soft_delete}\nproviders: " + remedy
    assert parse(mended).action(GOOGLE, Disposition.MALICIOUS) is Action.TRASH


def test_a_policy_built_in_code_is_held_to_the_same():
    with pytest.raises(ValueError, match="soft_delete"):
        Policy.model_validate({"actions": {"spam": "soft_delete"}})


def test_everything_wrong_is_told_at_once_in_the_file_s_order():
    told = refusal("""\
        mode: enforced
        actions:
          malicous: junk
          spam: move
          none: junk
        limits: {}
        providers:
          google_workspace: {soft_delete_folder: deleted_items}
        exempt:
          senders:
            - fine@x.example
            - not an address
        confidence_floor: 101
        """).splitlines()

    assert [line.split(": ")[:2] for line in told] == [
        ["p.yaml line 1", "mode"],
        ["p.yaml line 3", "actions.malicous"],
        ["p.yaml line 4", "actions.spam"],
        ["p.yaml line 5", "actions.none"],
        ["p.yaml line 6", "limits"],
        ["p.yaml line 8", "providers.google_workspace.soft_delete_folder"],
        ["p.yaml line 12", "exempt.senders.1"],
        ["p.yaml line 13", "confidence_floor"],
    ]
    assert "known here: actions" in told[5]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "holds none"),
        ("- a list\n", 1, "holds none"),
        ("mode: preview\n", 1, "missing"),
        ("actions:\n", 1, "valid dictionary"),
        ("actions: {}\nmode: enforce\nactions: {}\n", 3, "twice; the first is on line 1"),
        ("actions:\n  spam: junk\n  spam: trash\n", 3, "twice; the first is on line 2"),
        ("actions: {spam: no}\n", 1, "not False"),
        ("actions: {}\npost_delivery_response: 'yes'\n", 2, "valid boolean"),
        ("actions: {}\nconfidence_floor: '50'\n", 2, "valid integer"),
        ("actions: {}\nlookback: 30\n", 2, "ISO-8601"),
        ("actions: {}\nlookback: P1M\n", 2, "ISO-8601"),
        ("actions: {}\nlookback: PT5M\n", 2, "never be judged"),
        ("actions: {}\nlookback: P999999D\n", 2, "longer than"),
        ("actions: {}\nlookback: 2026-02-30\n", 2, "day"),
        ("actions: {}\nprotected_mailboxes: soc@x.example\n", 2, "valid tuple"),
        ("actions: {}\nprotected_mailboxes:\n  - a@b@c d\n", 3, "not an address"),
        ("actions: {}\nexempt:\n  recipients_domains: ['a b']\n", 3, "not a domain"),
        ("actions: &a {}\nproviders: *a\n", 1, "anchors"),
        ("<<: {mode: enforce}\nactions: {}\n", 1, "unknown setting"),
        ("actions: !!python/object/apply:os.system [true]\n", 1, "not allowed"),
        ("actions: {}\nmode: !!python/name:os.system\n", 2, "python/name"),
        ("actions: {}\n? [a]\n: b\n", 2, "plain word"),
        ("actions: {}\nmode: [\n", 3, "not readable YAML"),
        ("actions: {}\n---\nactions: {}\n", 2, "another document"),
        ("a: " + "[" * 20 + "]" * 20, 1, "deep"),
        ("actions: {}\nmode: \x07\n", 2, "not readable YAML"),
    ],
)
def test_a_broken_file_is_refused_with_the_line_and_the_reason(text, line, reason):
    told = refusal(text)

    assert told.startswith(f"p.yaml line {line}: ")
    assert reason in told


def test_text_in_another_encoding_is_refused():
    assert refusal(b"actions: {}\n# caf\xe9\n") == "p.yaml line 2: not UTF-8 text"


def test_a_file_that_costs_much_to_read_is_refused_quickly(tmp_path):
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text(
        "a: &a [x, x]\n"
        + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
        )
    )
    large = tmp_path / "large.yaml"
    large.write_text("# " + "x" * 100_000)

    with pytest.raises(PolicyError, match="line 1: anchors"):
        load_policy(bomb)
    with pytest.raises(PolicyError, match="larger than 64 KiB"):
        load_policy(large)


def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path):
    with pytest.raises(PolicyError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_policy(tmp_path / "nowhere.yaml")
    with pytest.raises(PolicyError, match="Is a directory"):
        load_policy(tmp_path)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_any_file_gives_a_policy_or_a_policy_error(data):
    assert well_refused_or_read(data)


_KEYS = st.sampled_from([*Policy.model_fields, "malicious", "spam", "google_workspace", "x"])
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*map(str, Action), "PT15M", "enforce", "a@b.example"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, max_size=6))
def test_any_settings_give_a_policy_or_a_policy_error(values):
    assert well_refused_or_read(yaml.safe_dump(values).encode())
