"""What ends up in the wheel."""

from configparser import ConfigParser
from itertools import chain
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


def test_every_file_that_is_not_python_is_shipped():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    package = ROOT / "flask_llm"
    patterns = config["options.package_data"]["flask_llm"].split()

    shipped = set(chain.from_iterable(package.glob(pattern) for pattern in patterns))

    present = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert shipped == present
    assert package / "web" / "templates" / "llm" / "dashboard.html" in shipped
