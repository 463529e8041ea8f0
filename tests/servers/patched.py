"""Settings of gunicorn for gevent with --preload: patch before anything is loaded."""

from gevent import monkey

monkey.patch_all()
preload_app = True
