"""Answers to the request for a file, read by RFC 9110.

Ranges are section 14, ``If-Range`` 13.1.5, strong validators 8.8, ``Retry-After`` 10.2.3.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx

_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_REFUSED_STATUS = {401, 403}
_MAX_RETRY_AFTER_SECONDS = 60.0


class SourceUnavailable(Exception):
    """An address does not give the file; another one may.

    Args:
        reason: one sentence.
        kind: ``refused`` if the server declined the request, ``unreachable`` if no server answered.
    """

    def __init__(self, reason: str, *, kind: Literal["", "refused", "unreachable"] = "") -> None:
        super().__init__(reason)
        self.kind = kind


class RetryableError(Exception):
    """A failed attempt that is worth repeating.

    Args:
        reason: a clause.
        wait_seconds: shortest wait that the server asks for.
    """

    def __init__(self, reason: str, *, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


@contextmanager
def open_response(
    client: httpx.Client, url: str, *, headers: dict[str, str], timeout_seconds: float
) -> Iterator[httpx.Response]:
    """Request a file, or with a ``Range`` header some of it; the body has not been read.

    Raises:
        RetryableError: the server is busy or in trouble.
        SourceUnavailable: it has no such file, or will not give it.
        httpx.HTTPError: there is no answer.
    """
    request = client.stream(
        "GET",
        url,
        headers={"Accept-Encoding": "identity", **headers},
        follow_redirects=True,
        timeout=timeout_seconds,
    )
    expected = {httpx.codes.OK}
    if "Range" in headers:
        expected |= {httpx.codes.PARTIAL_CONTENT, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}
    with request as response:
        status = response.status_code
        if status in _RETRY_STATUS:
            after = response.headers.get("Retry-After", "")
            wait_seconds = min(float(after), _MAX_RETRY_AFTER_SECONDS) if after.isdecimal() else 0.0
            raise RetryableError(f"the server answers {status}", wait_seconds=wait_seconds)
        if status not in expected:
            kind: Literal["", "refused"] = "refused" if status in _REFUSED_STATUS else ""
            raise SourceUnavailable(f"{url} answers {status} {response.reason_phrase}.", kind=kind)
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise SourceUnavailable(f"{url} answers with a web page instead of the file.", kind="refused")
        yield response


def content_length(response: httpx.Response) -> int | None:
    """Return the length of the body in bytes, None if the server does not say."""
    length = response.headers.get("Content-Length")
    return None if length is None else int(length)


def content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return the first byte of a range and the length of the whole file; each None if the server does not say."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def strong_validator(response: httpx.Response) -> str | None:
    """Return a value for ``If-Range`` that identifies this version of the file, None if the server sends none.

    That is a strong ``ETag``. Without any ``ETag`` it is ``Last-Modified``, unless the file changed within the second
    before the answer.
    """
    tag: str | None = response.headers.get("ETag")
    if tag is not None:
        return None if tag.startswith("W/") else tag
    changed: str | None = response.headers.get("Last-Modified")
    try:
        age = parsedate_to_datetime(response.headers["Date"]) - parsedate_to_datetime(changed or "")
    except (KeyError, ValueError, TypeError):
        return None
    return changed if age.total_seconds() >= 1 else None
