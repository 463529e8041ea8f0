import subprocess
import sys

SCRIPT = """
from flask_llm.forks import after_fork

class Owner:
    def renew(self):
        pass

owner = Owner()
owner.itself = owner
after_fork(owner.renew)
"""


def test_a_process_ends_without_a_word():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )

    assert ended.stderr == ""
