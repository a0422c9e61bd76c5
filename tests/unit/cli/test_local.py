"""The commands that need no node: certificates, functions, backups."""

import json
import sqlite3
from datetime import datetime

import pytest

from tierline.storage.sqlite import Database


@pytest.fixture
def certs(tierline):
    result = tierline("cert", "ca", "certs", "--name", "lab")
    assert result.code == 0
    return result.out


def test_an_authority_is_made_once(tierline, certs, tmp_path):
    assert "trust it:  [tls] anchors = ['certs/serca.pem']" in certs
    assert (tmp_path / "certs" / "mica.key").stat().st_mode & 0o777 == 0o600
    again = tierline("cert", "ca", "certs")
    assert again.code == 1
    assert (
        again.err
        == "tierline: certs/serca.key exists already and is not overwritten; move it away or choose another name\n"
    )


@pytest.mark.parametrize(
    ("kind", "more"),
    [("device", ()), ("aggregator", ()), ("server", ("--dns", "u.example", "--ip", "192.0.2.1")), ("server", ())],
)
def test_a_certificate_is_made_and_shown(tierline, certs, kind, more):
    made = json.loads(
        tierline("cert", kind, "certs", "one", *more, "--valid-from", "2026-01-01T00:00:00Z", "--json").out
    )
    shown = json.loads(tierline("cert", "show", made["certificate"], "--json").out)
    assert shown["lfdi"] == made["lfdi"]
    assert shown["sfdi"] == made["sfdi"]
    assert datetime.fromisoformat(shown["valid_from"]).year == 2026
    assert shown["issuer"] == "CN=lab MICA"
    assert shown["demo"] is False
    assert f"lfdi                  {made['lfdi']}" in tierline("cert", "show", made["certificate"]).out
    assert tierline("cert", kind, "certs", "one", *more).code == 1


def test_a_certificate_begins_now_unless_said(tierline, certs):
    said = tierline("cert", "device", "certs", "one").out
    assert said.startswith("LFDI ")
    assert "wrote certs/one.pem and certs/one.key" in said


def test_a_demo_authority_is_marked(tierline):
    tierline("cert", "ca", "demo", "--demo")
    made = json.loads(tierline("cert", "device", "demo", "one", "--json").out)
    assert json.loads(tierline("cert", "show", made["certificate"], "--json").out)["demo"] is True


def test_what_cannot_be_certified_is_told(tierline, certs):
    assert "cannot be read" in tierline("cert", "device", "elsewhere", "one").err
    wrong = tierline("cert", "server", "certs", "one", "--ip", "300.1.1.1")
    assert wrong.code == 1
    assert "300.1.1.1" in wrong.err
    assert tierline("cert", "show", "none.pem").code == 1
    assert tierline("cert", "device", "certs", "one", "--valid-from", "noon").code == 2


def test_functions_are_listed(tierline):
    said = tierline("function", "list").out
    assert "max_lim_w_pct" in said
    limits = json.loads(tierline("function", "list", "--kind", "limit", "--json").out)["functions"]
    assert {one["kind"] for one in limits} == {"limit"}
    assert next(one for one in limits if one["name"] == "max_lim_w_pct")["high"] == 100
    assert "there is no kind 'moon'" in tierline("function", "list", "--kind", "moon").err


def test_the_defaults_of_a_profile_are_shown_with_what_is_not_verified(tierline):
    found = json.loads(tierline("function", "defaults", "--profile", "rule21", "--json").out)["defaults"]
    by_name = {one["function"]: one for one in found}
    assert by_name["volt_watt"]["in_device"] == "kept"
    assert by_name["es_delay_s"]["in_device"] == "when confirmed"
    assert by_name["es_delay_s"]["parameters"][""] == {
        "value": 15.0,
        "unit": "s",
        "source": "recalled, no source seen",
        "verified": False,
    }
    assert by_name["volt_var"]["in_device"] == ""
    said = tierline("function", "defaults").out
    assert "watt_var" in said
    assert "there is no profile 'x'" in tierline("function", "defaults", "--profile", "x").err
    assert "there is no category 'IV'" in tierline("function", "defaults", "--abnormal", "IV").err


def test_values_are_compared_with_the_ranges_of_a_profile(tierline):
    good = tierline("function", "check", "--set", "es_delay_s=300")
    assert (good.code, good.out) == (0, "all within the ranges of ieee1547, as far as it gives any\n")
    wrong = tierline("function", "check", "--set", "es_delay_s=900", "--set", "max_lim_w_pct=50", "--normal", "A")
    assert (wrong.code, wrong.out) == (1, "es_delay_s is 900 s; ieee1547-2018 allows 600 or less\n")
    assert json.loads(tierline("function", "check", "--set", "es_ramp_s=0.5", "--json").out)["outside"] != []


@pytest.fixture
def database(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    opened = Database(str(folder / "tierline.db"))
    yield opened
    opened.close()


def test_a_database_in_use_is_copied_and_brought_back(tierline, database, tmp_path):
    made = tierline("backup", "create", "copy.db")
    assert made.code == 0
    assert "copied to copy.db" in made.out
    assert "exists already" in tierline("backup", "create", "copy.db").err
    restored = tierline("backup", "restore", "copy.db", "--database", "new/tierline.db")
    assert restored.out == "copy.db restored to new/tierline.db\n"
    assert (tmp_path / "new" / "tierline.db").is_file()
    assert "exists already" in tierline("backup", "restore", "copy.db", "--database", "new/tierline.db").err


def test_a_restore_never_mixes_with_an_old_database(tierline, database, tmp_path):
    tierline("backup", "create", "copy.db")
    (tmp_path / "other.db-wal").write_bytes(b"")
    refused = tierline("backup", "restore", "copy.db", "--database", "other.db")
    assert refused.code == 1
    assert "other.db-wal belongs to the old database" in refused.err


def test_what_is_no_backup_is_not_restored(tierline, tmp_path):
    assert "there is no database" in tierline("backup", "create", "copy.db").err
    assert "there is no backup" in tierline("backup", "restore", "copy.db").err
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE x (y)")
    other.commit()
    other.close()
    refused = tierline("backup", "restore", "other.db", "--database", "new.db")
    assert refused.code == 1
    assert "not one of tierline" in refused.err
    assert not (tmp_path / "new.db").exists()
