"""The HTTP face: pages, the API, health and diagnostics. The only package that knows Flask."""

from .app import create_app

__all__ = ["create_app"]
