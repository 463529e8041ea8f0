"""Look for known vulnerabilities in what is installed in a folder.

    python .ci/audit.py .venv/lib/python3.12/site-packages

pip-audit asks PyPI. Where it cannot be asked, or knows nothing of the packages, as an
index of one's own may not, this says so loudly and is no failure. ``LLM_OSV`` names a
copy of OSV's records (https://osv.dev), which then is asked beside it: a zip file of
``osv-vulnerabilities/PyPI/all.zip``, or a folder of JSON files.

It ends with 1 where there is a vulnerability, or where pip-audit fails otherwise.
"""

import json
import os
import subprocess  # nosec B404 # one command, and no shell
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

OURS = "flask-llm"

#: What pip-audit's last words hold where nobody answers.
UNREACHABLE = ("ConnectionError", "ServiceError", "Timeout", "Max retries")


def main(folder: str, osv: str | None) -> int:
    """Audit the packages in a folder, and return the exit code."""
    packages = installed(folder)
    findings, unaudited = by_pip_audit(packages)
    if osv:
        findings += by_osv(packages, records(Path(osv)))
        unaudited = {}
    for finding in sorted(set(findings)):
        print(f"VULNERABLE: {finding}")
    if unaudited:
        print(f"!! {len(unaudited)} of {len(packages)} packages were NOT AUDITED.")
        for why in sorted(set(unaudited.values())):
            print(f"!! {why}")
    audited = len(packages) - len(unaudited)
    print(f"{audited} of {len(packages)} audited, {len(set(findings))} findings.")
    return 1 if findings else 0


def installed(folder: str) -> dict[str, str]:
    """Return the packages in a folder, but for this one, with their versions."""
    found = {
        canonicalize_name(one.name): one.version for one in distributions(path=[folder])
    }
    return {name: found[name] for name in sorted(found) if name != OURS}


# --- pip-audit -------------------------------------------------------------------


def by_pip_audit(packages: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return findings, and the packages that PyPI could not be asked about, and why."""
    wanted = "\n".join(f"{name}=={version}" for name, version in packages.items())
    options = "--no-deps --disable-pip --format=json --progress-spinner=off"
    command = [sys.executable, "-m", "pip_audit", *options.split(), "-r", "/dev/stdin"]
    ran = subprocess.run(  # noqa: S603 # nosec B603 # every word of it is ours
        command,
        input=wanted,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.stdout.strip():
        return read(json.loads(ran.stdout))
    last = (ran.stderr.strip().splitlines() or ["nothing was said"])[-1]
    if any(word in ran.stderr for word in UNREACHABLE):
        return [], dict.fromkeys(packages, f"PyPI cannot be asked: {last[:200]}")
    return [f"pip-audit failed: {last}"], {}


def read(report: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Read pip-audit's report."""
    findings, unaudited = [], {}
    for one in report["dependencies"]:
        if "skip_reason" in one:
            unaudited[one["name"]] = "The index has no such package, or no advisories."
        for known in one.get("vulns", ()):
            cure = ", ".join(known["fix_versions"]) or "nothing yet"
            findings.append(
                f"{one['name']} {one['version']}: {known['id']}, mended by {cure}"
            )
    return findings, unaudited


# --- A copy of OSV's records -----------------------------------------------------


def records(place: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a zip file or a folder."""
    if place.is_dir():
        yield from (json.loads(path.read_bytes()) for path in place.rglob("*.json"))
        return
    with zipfile.ZipFile(place) as archive:
        yield from (json.loads(archive.read(name)) for name in archive.namelist())


def by_osv(
    packages: Mapping[str, str], known: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Return what OSV's records say of some packages."""
    return [
        f"{name} {packages[name]}: {record['id']}"
        for record in known
        if "withdrawn" not in record
        for affected in record.get("affected", ())
        if affected.get("package", {}).get("ecosystem") == "PyPI"
        and (name := canonicalize_name(affected["package"]["name"])) in packages
        and is_affected(packages[name], affected)
    ]


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Tell whether a version is listed, or lies in a range."""
    return version in affected.get("versions", ()) or any(
        is_within(version, entry["events"])
        for entry in affected.get("ranges", ())
        if entry["type"] == "ECOSYSTEM"
    )


def is_within(version: str, events: Iterable[Mapping[str, str]]) -> bool:
    """Tell whether a version comes after an introduction and before its mend."""
    within = False
    for event in sorted(events, key=lambda event: _version(*event.values())):
        ((kind, at),) = event.items()
        reached = _version(at) <= Version(version)
        if kind == "introduced" and reached:
            within = True
        elif (kind == "fixed" and reached) or (
            kind == "last_affected" and _version(at) < Version(version)
        ):
            within = False
    return within


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:  # one of old, of which no newer release is made
        return Version("0")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ.get("LLM_OSV")))
