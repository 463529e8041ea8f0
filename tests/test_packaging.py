"""What ends up in the wheel."""

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_listed():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()

    found = [
        ".".join(init.parent.relative_to(ROOT).parts)
        for init in (ROOT / "flask_llm").rglob("__init__.py")
    ]

    assert listed == sorted([*found, "flask_llm.migrations", "pytest_flask_llm"])
