"""Every address of the pack on the host's web server, by name."""

from __future__ import annotations

from ..host.http import Route, register
from .dataset_routes import ROUTES as DATASET_ROUTES
from .run_routes import ROUTES as RUN_ROUTES

ROUTES: tuple[Route, ...] = (*RUN_ROUTES, *DATASET_ROUTES)


def add_routes() -> None:
    """The host's server takes further addresses only before it starts."""
    register(ROUTES)
