"""The providers' batch endpoints, whose batches advance as they are polled."""

from .course import BatchCourse, parse_course
from .desk import House
from .routes import Batches

__all__ = ["BatchCourse", "Batches", "House", "parse_course"]
