"""The providers' wire formats over real HTTP, without keys, bills or a network."""

from .batches import BatchCourse
from .blueprint import Emulator
from .script import Answer, Fault
from .server import serve
from .traffic import Arrival

__all__ = ["Answer", "Arrival", "BatchCourse", "Emulator", "Fault", "serve"]
