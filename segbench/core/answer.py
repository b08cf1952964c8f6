"""A server's answer to the request for a file, read by RFC 9110.

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
_PATIENCE_SECONDS = 60.0  # longest wait that a server may ask for


class Unusable(Exception):
    """This address does not give the file; another one may.

    Args:
        reason: one sentence.
        how: ``refused`` if the server answered and said no, ``unreachable`` if nobody answered.
    """

    def __init__(self, reason: str, *, how: Literal["", "refused", "unreachable"] = "") -> None:
        super().__init__(reason)
        self.how = how


class Again(Exception):
    """This attempt failed in a way that another one may mend.

    Args:
        reason: a clause.
        wait_seconds: how long the server wants to be left alone.
    """

    def __init__(self, reason: str, *, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


@contextmanager
def answer(
    client: httpx.Client, url: str, *, headers: dict[str, str], timeout_seconds: float
) -> Iterator[httpx.Response]:
    """Ask for a file, or with a ``Range`` header for some of it; the body has not been read.

    Raises:
        Again: the server is busy or in trouble.
        Unusable: it has no such file, or will not give it.
        httpx.HTTPError: there is no answer.
    """
    asked = client.stream(
        "GET",
        url,
        headers={"Accept-Encoding": "identity", **headers},
        follow_redirects=True,
        timeout=timeout_seconds,
    )
    expected = {httpx.codes.OK}
    if "Range" in headers:
        expected |= {httpx.codes.PARTIAL_CONTENT, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}
    with asked as response:
        code = response.status_code
        if code in _RETRY_STATUS:
            said = response.headers.get("Retry-After", "")
            wait_seconds = min(float(said), _PATIENCE_SECONDS) if said.isdecimal() else 0.0
            raise Again(f"the server answers {code}", wait_seconds=wait_seconds)
        if code not in expected:
            how: Literal["", "refused"] = "refused" if code in _REFUSED_STATUS else ""
            raise Unusable(f"{url} answers {code} {response.reason_phrase}.", how=how)
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise Unusable(f"{url} answers with a web page instead of the file.", how="refused")
        yield response


def length_of(response: httpx.Response) -> int | None:
    """Bytes of the body, None if the server does not say."""
    length = response.headers.get("Content-Length")
    return None if length is None else int(length)


def sent_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """First byte that is sent, and the length of the whole file; each None if the server does not say."""
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if sent is None:
        return None, None
    return int(sent[1]), None if sent[2] == "*" else int(sent[2])


def tag_of(response: httpx.Response) -> str | None:
    """What names this version of the file beyond doubt, for ``If-Range``: a strong tag, or a date that is strong.

    A date only serves where there is no tag, and if the file did not change within the second before the answer.
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
