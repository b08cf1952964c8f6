"""Accounts of sites that give their archives to account holders only: one module each, named by ``Archive.account``.

A module has ``session(next) -> httpx.Client``, logged in; ``address(url) -> str``, the address of a file on the site
in use; ``checksum(client, archive) -> dict``, the digests that the site publishes to account holders; ``USERNAME`` and
``PASSWORD``, the environment variables of its credentials; ``REGISTER``, the page where accounts are created; and
``REFUSAL``, an explanation of a file that is refused after a login. Credentials come from the environment or from the
file of the site's own tool, and are never printed, logged or stored.
"""

import importlib
from typing import Protocol, cast

import httpx

from segbench.data.facts import Archive


class Account(Protocol):
    """Interface of each module."""

    USERNAME: str
    PASSWORD: str
    REGISTER: str
    REFUSAL: str

    def session(self, next: str = "") -> httpx.Client: ...

    def address(self, url: str) -> str: ...

    def checksum(self, client: httpx.Client, archive: Archive) -> dict[str, str]: ...


def account(name: str) -> Account:
    """Return the module of an account."""
    return cast(Account, importlib.import_module(f"{__name__}.{name}"))
