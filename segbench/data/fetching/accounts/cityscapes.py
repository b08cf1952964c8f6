"""The account of www.cityscapes-dataset.com.

Its answers are those that csDownload expects (cityscapesscripts/download/downloader.py): a POST of ``username``,
``password`` and ``submit=Login`` to ``/login`` is answered by 302 if it succeeded; then ``/md5-sum/?packageID=N``
begins with the MD5 of what ``/file-handling/?packageID=N`` sends.
"""

import json
import os
import re
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
from platformdirs import user_data_path

from segbench.core.errors import InvalidFault, MissingFault
from segbench.data.facts import Archive

USERNAME, PASSWORD = "SEGBENCH_CITYSCAPES_USERNAME", "SEGBENCH_CITYSCAPES_PASSWORD"
SITE = "SEGBENCH_CITYSCAPES_URL"  # another address of the site, for tests
REGISTER = "https://www.cityscapes-dataset.com/register/"
REFUSAL = (
    "The login succeeded, so this account has perhaps not accepted the licence, or may not have this file: "
    "see https://www.cityscapes-dataset.com/downloads/ in a browser."
)
_BY_HAND = "Archives fetched in a browser work too: segbench data prepare cityscapes --from FOLDER."
_OFFICIAL = "https://www.cityscapes-dataset.com"
_TIMEOUT_SECONDS = 30.0
_LOCAL = ("127.0.0.1", "localhost", "::1")


def session(next: str = "") -> httpx.Client:
    """Return a client that is logged in.

    Raises:
        MissingFault: no credentials, refused ones, offline, or the login page has changed.
        InvalidFault: the credentials' file cannot be read, or the address of the site is not https.
    """
    username, password = _credentials(next)
    login = urljoin(_site(next), "/login")
    client = httpx.Client(headers={"User-Agent": "segbench"}, timeout=_TIMEOUT_SECONDS)
    try:
        client.get(login)  # for its cookies
        answer = client.post(login, data={"username": username, "password": password, "submit": "Login"})
    except httpx.TransportError as error:
        client.close()
        fault = f"{login} cannot be reached ({error}). Is this machine online?"
        raise MissingFault(fault, next=next) from None
    if answer.status_code == httpx.codes.FOUND:
        return client
    client.close()
    if answer.status_code in (200, 401, 403) and "password" in answer.text.lower():
        fault = f"Cityscapes refuses the user name or the password from {_source()}."
        raise MissingFault(fault, _BY_HAND, next=next)
    fault = f"The login page {login} has changed (it answers {answer.status_code}): segbench cannot log in."
    raise MissingFault(fault, _BY_HAND, next="segbench data prepare cityscapes --from FOLDER")


def address(url: str) -> str:
    """Return the address of a file on the site in use."""
    parsed = urlsplit(url)
    return urljoin(_site(), f"{parsed.path}?{parsed.query}" if parsed.query else parsed.path)


def checksum(client: httpx.Client, archive: Archive) -> dict[str, str]:
    """Return ``{"md5": ...}`` as the site gives it after a login; empty if it gives none."""
    package = parse_qs(urlsplit(archive.urls[0]).query).get("packageID", [""])[0]
    try:
        answer = client.get(urljoin(_site(), f"/md5-sum/?packageID={package}"))
    except httpx.HTTPError:
        return {}  # the download itself will say what is wrong
    found = re.match(r"\s*([0-9a-fA-F]{32})\b", answer.text)
    return {"md5": found[1].lower()} if answer.status_code == httpx.codes.OK and found else {}


def _site(next: str = "") -> str:
    url = os.environ.get(SITE)
    if not url:
        return _OFFICIAL
    parsed = urlsplit(url)
    if parsed.scheme != "https" and parsed.hostname not in _LOCAL:
        raise InvalidFault(f"{SITE} must begin with https://: a password is sent there.", next=next)
    return url


def _credentials(next: str) -> tuple[str, str]:
    """Return user name and password, from the environment or csDownload's file."""
    username, password = os.environ.get(USERNAME), os.environ.get(PASSWORD)
    if username and password:
        return username, password
    if username or password:
        unset = PASSWORD if username else USERNAME
        raise MissingFault(f"{unset} is not set; Cityscapes needs user name and password.", _BY_HAND, next=next)
    if not _file().is_file():
        raise MissingFault(
            f"Cityscapes lies behind a free account: register at {REGISTER}, then set {USERNAME} and {PASSWORD}.",
            _BY_HAND,
            next=next,
        )
    try:
        data = json.loads(_file().read_text(encoding="utf-8"))
        username, password = data["username"], data["password"]
    except (OSError, ValueError, KeyError, TypeError):
        username = password = None
    if not (isinstance(username, str) and isinstance(password, str) and username and password):
        fault = f'{_file()} should hold {{"username": ..., "password": ...}}.'
        raise InvalidFault(fault, next=f"fix it, or set {USERNAME} and {PASSWORD}")
    return username, password


def _file() -> Path:
    return user_data_path("cityscapesscripts", "cityscapes") / "credentials.json"


def _source() -> str:
    return f"{USERNAME} and {PASSWORD}" if os.environ.get(PASSWORD) else str(_file())
