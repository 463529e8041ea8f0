"""The audit of what is installed: what it reports, and what it says aloud."""

import importlib.util
import json
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / ".ci" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(*events, name="Some.Library", **more):
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    package = {"ecosystem": "PyPI", "name": name}
    return {"id": "OSV-1", "affected": [{"package": package, "ranges": ranges}]} | more


FROM_THE_BEGINNING = {"introduced": "0"}


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("1.0", True),
        ("1.9", True),
        ("1.10", False),
        ("2.0", True),
        ("2.1.post1", False),
    ],
)
def test_a_version_is_affected_between_introduction_and_mend(audit, version, found):
    events = [
        {"introduced": "2.0"},
        {"fixed": "1.10"},
        FROM_THE_BEGINNING,
        {"last_affected": "2.1"},
    ]

    findings = audit.by_osv({"some-library": version}, [record(*events)])

    assert findings == ([f"some-library {version}: OSV-1"] if found else [])


def test_a_version_that_is_listed_is_affected(audit):
    package = {"ecosystem": "PyPI", "name": "some-library"}
    known = {"id": "OSV-1", "affected": [{"package": package, "versions": ["1.0"]}]}

    assert audit.by_osv({"some-library": "1.0"}, [known]) != []
    assert audit.by_osv({"some-library": "1.1"}, [known]) == []


@pytest.mark.parametrize(
    "known",
    [
        record(FROM_THE_BEGINNING, name="another"),
        record(FROM_THE_BEGINNING, withdrawn="2026-01-01T00:00:00Z"),
        {"id": "OSV-1"},
    ],
    ids=["another", "withdrawn", "empty"],
)
def test_what_is_about_others_or_withdrawn_is_no_finding(audit, known):
    assert audit.by_osv({"some-library": "1.0"}, [known]) == []


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_copy_of_the_records_is_a_folder_or_a_zip_file(audit, tmp_path, kind):
    place = tmp_path / "osv"
    if kind == "folder":
        place.mkdir()
        (place / "OSV-1.json").write_text(json.dumps(record()))
    else:
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("OSV-1.json", json.dumps(record()))

    assert list(audit.records(place)) == [record()]


def test_what_pip_audit_finds_and_what_it_skips_is_told_apart(audit):
    known = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}
    report = {
        "dependencies": [
            {"name": "good", "version": "1.0", "vulns": []},
            {"name": "bad", "version": "1.0", "vulns": [known]},
            {"name": "strange", "skip_reason": "Dependency not found"},
        ]
    }

    findings, unaudited = audit.read(report)

    assert findings == ["bad 1.0: PYSEC-1, mended by 1.1"]
    assert list(unaudited) == ["strange"]


@pytest.fixture
def says(audit, monkeypatch, capsys):
    """Audit one package, with what pip-audit says of it; return code and words."""

    def run(*said, osv=None):
        monkeypatch.setattr(audit, "installed", lambda _: {"some-library": "1.0"})
        monkeypatch.setattr(audit, "by_pip_audit", lambda _: said)
        return audit.main("folder", osv), capsys.readouterr().out

    return run


def test_a_finding_is_a_failure(says):
    code, words = says(["some-library 1.0: PYSEC-1"], {})

    assert code == 1
    assert "VULNERABLE: some-library 1.0: PYSEC-1\n" in words


def test_nobody_to_ask_is_said_aloud_and_no_failure(says):
    code, words = says([], {"some-library": "PyPI cannot be asked: no route"})

    assert code == 0
    assert "!! 1 of 1 packages were NOT AUDITED.\n!! PyPI cannot be asked" in words
    assert words.endswith("0 of 1 audited, 0 findings.\n")


def test_a_copy_of_the_records_makes_up_for_it(says, tmp_path):
    (tmp_path / "OSV-1.json").write_text(json.dumps(record(FROM_THE_BEGINNING)))

    code, words = says([], {"some-library": "no route"}, osv=str(tmp_path))

    assert code == 1
    assert words.endswith("1 of 1 audited, 1 findings.\n")


def test_a_folder_is_read_as_pip_left_it(audit, tmp_path):
    for name in ("Some.Library", "flask-llm"):
        facts = tmp_path / f"{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")

    assert audit.installed(str(tmp_path)) == {"some-library": "1.0"}
