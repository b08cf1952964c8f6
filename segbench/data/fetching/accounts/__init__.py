"""Sites that give their archives to account holders only: a module an account, found by ``Archive.account``.

A module has ``session(next) -> httpx.Client``, logged in; ``address(url) -> str``, where a file lies on the site in
use; ``checksum(client, archive) -> dict`` of what the site publishes to account holders; ``USERNAME`` and ``PASSWORD``,
the variables of its credentials; ``REGISTER``, where people get an account; and ``REFUSAL``, what it means if the site
does not give a file after a login. Credentials come from the environment or from the file of the
site's own tool, and are never printed, logged or stored.
"""

import importlib
from typing import Protocol, cast

import httpx

from segbench.data.facts import Archive


class Account(Protocol):
    """What each module offers."""

    USERNAME: str
    PASSWORD: str
    REGISTER: str
    REFUSAL: str

    def session(self, next: str = "") -> httpx.Client: ...

    def address(self, url: str) -> str: ...

    def checksum(self, client: httpx.Client, archive: Archive) -> dict[str, str]: ...


def account(name: str) -> Account:
    """The module of an account."""
    return cast(Account, importlib.import_module(f"{__name__}.{name}"))
