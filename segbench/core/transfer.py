"""Download of one file from one address, in one connection that is resumed wherever it breaks off."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import httpx

from .disk import amount
from .partial import PartialFile
from .progress import Count
from .response import (
    RetryableError,
    SourceUnavailable,
    content_length,
    content_range,
    open_response,
    strong_validator,
)


class _Restart(Exception):
    """The bytes that are there cannot be continued with what the server sends."""


@dataclass(frozen=True)
class RetryPolicy:
    """Persistence towards a server that fails.

    Attributes:
        attempts: attempts in a row without a new byte before giving up.
        backoff_seconds: wait after the first failed attempt, doubled with each further one.
        timeout_seconds: longest silence of the server.
    """

    attempts: int = 5
    backoff_seconds: float = 1.0
    timeout_seconds: float = 30.0


class Transfer:
    """Completion of a partial file from one address.

    Args:
        client: its cookies and headers are used.
        url: http or https; redirects are followed.
        partial: the bytes that are there; the rest is added to them.
        policy: retries and timeouts.
        require_room: called with the number of bytes still to come before they are written; may raise.
        progress: called after each piece.
    """

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        partial: PartialFile,
        *,
        policy: RetryPolicy,
        require_room: Callable[[int], None],
        progress: Count,
    ) -> None:
        self._client, self._url, self._partial, self._policy = client, url, partial, policy
        self._require_room, self._progress = require_room, progress

    def run(self) -> None:
        """Complete the file.

        Raises:
            SourceUnavailable: it cannot be downloaded from this address. What has arrived is kept.
            OSError: the disk refuses.
        """
        partial = self._partial
        partial.switch_to(self._url)
        restarts = 0
        try:
            while not partial.complete:
                try:
                    self._persist()
                except _Restart as error:
                    partial.clear()
                    restarts += 1
                    if restarts >= max(2, self._policy.attempts):
                        raise SourceUnavailable(f"{self._url} gives no whole file: {error}.") from error
        finally:
            partial.save()

    def _persist(self) -> None:
        """Request the rest of the file until it has arrived, or no new byte has several times in a row."""
        failures = 0
        while True:
            before, wait_seconds = self._partial.size, 0.0
            try:
                self._request()
                return
            except RetryableError as error:
                reason: Exception = error
                wait_seconds = error.wait_seconds
            except httpx.UnsupportedProtocol as error:
                raise SourceUnavailable(f"{self._url} cannot be fetched: {error}") from error
            except httpx.TransportError as error:
                reason = error
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise SourceUnavailable(f"{self._url} cannot be fetched: {error}.") from error
            failures = 1 if self._partial.size > before else failures + 1
            if failures >= self._policy.attempts:
                raise self._gave_up(reason) from reason
            time.sleep(max(wait_seconds, self._policy.backoff_seconds * 2 ** (failures - 1)))

    def _request(self) -> None:
        """Request the file, or what is missing of it, once."""
        partial = self._partial
        if not partial.size:
            with self._open({}) as response:
                self._begin(response)
            return
        if not partial.resumable:
            raise _Restart("it was cut off, and nothing tells whether the server still has the same file")
        headers = {"Range": f"bytes={partial.size}-"}
        if partial.validator is not None:  # requests the whole file if it changed in the meantime
            headers["If-Range"] = partial.validator
        with self._open(headers) as response:
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                self._check_range(response)
                self._require_room((partial.total or partial.size) - partial.size)
                self._receive(response)
            elif response.status_code == httpx.codes.OK:  # it changed, or the server knows no ranges
                self._begin(response)
            elif partial.total is None and response.headers.get("Content-Range") == f"bytes */{partial.size}":
                partial.total = partial.size  # every byte was there already
            else:
                raise _Restart("the server holds another file than before")

    def _open(self, headers: dict[str, str]) -> AbstractContextManager[httpx.Response]:
        return open_response(self._client, self._url, headers=headers, timeout_seconds=self._policy.timeout_seconds)

    def _check_range(self, response: httpx.Response) -> None:
        """Raise _Restart unless a range continues the bytes that are there; servers have ignored ``If-Range``."""
        partial = self._partial
        begin, total = content_range(response)
        if begin != partial.size:
            raise _Restart("the server sent another range than was requested")
        other_length = partial.total is not None and total not in (None, partial.total)
        other_version = partial.validator is not None and strong_validator(response) not in (None, partial.validator)
        if other_length or other_version:
            raise _Restart("the file changed on the server")

    def _begin(self, response: httpx.Response) -> None:
        """Receive the whole file, in place of what was there."""
        length = content_length(response)
        self._require_room(length or 0)
        self._partial.begin(total=length, validator=strong_validator(response))
        self._receive(response)

    def _receive(self, response: httpx.Response) -> None:
        """Append what arrives; more than the whole file is dropped."""
        partial = self._partial
        with partial.file.open("r+b", buffering=0) as file:
            file.seek(partial.size)
            for piece in response.iter_raw():  # larger pieces would be lost when the connection drops
                view = memoryview(piece)[: None if partial.total is None else partial.total - partial.size]
                while view:
                    count = file.write(view)
                    view = view[count:]
                    partial.add(count)
                self._progress(partial.size, partial.total)
                if partial.complete:
                    return
        if partial.total is None:
            partial.total = partial.size
        elif not partial.complete:
            raise RetryableError("the connection ended early")

    def _gave_up(self, reason: Exception) -> SourceUnavailable:
        """Return the fault of an address that failed too often."""
        partial = self._partial
        if isinstance(reason, httpx.ConnectError | httpx.ConnectTimeout):
            return SourceUnavailable(f"{self._url} cannot be reached ({reason}).", kind="unreachable")
        if not partial.size:
            return SourceUnavailable(f"{self._url} sends nothing: {reason}.")
        of = f" of {amount(partial.total)}" if partial.total else ""
        return SourceUnavailable(f"{self._url} is cut off at {amount(partial.size)}{of}: {reason}.")
