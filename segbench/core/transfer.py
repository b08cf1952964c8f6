"""Bring one file from one address: in several connections where the server allows ranges, else in one."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from queue import Empty, Queue

import httpx

from .answer import Again, Unusable, answer, length_of, sent_range, tag_of
from .disk import amount
from .parts import Partial, Span

Progress = Callable[[int, int | None], None]  # (bytes so far, bytes in all if known)

_SPAN_BYTES = 256 << 20  # of large files; short enough that no connection is left alone with much of the work


class _Anew(Exception):
    """What is there does not go together with what the server sends now."""


@dataclass(frozen=True)
class Manners:
    """How a server is asked.

    Attributes:
        attempts: tries in a row without a new byte before giving up.
        backoff_seconds: wait after the first failed try, doubled with each further one.
        timeout_seconds: longest silence of the server.
        connections: most at a time.
        parallel_from_bytes: shorter files come in one connection.
    """

    attempts: int = 5
    backoff_seconds: float = 1.0
    timeout_seconds: float = 30.0
    connections: int = 4
    parallel_from_bytes: int = 64 << 20


class Transfer:
    """Completes a partial file from one address.

    Args:
        client: its cookies and headers are used.
        url: http or https; redirects are followed.
        partial: what is there; goes on from it.
        manners: how the server is asked.
        room: called once, with the bytes that are still to come, before the first of them; may raise.
        progress: called after each piece, by one thread at a time.
    """

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        *,
        partial: Partial,
        manners: Manners,
        room: Callable[[int], None],
        progress: Progress | None,
    ) -> None:
        self._client, self._url, self._partial, self._manners = client, url, partial, manners
        self._room, self._progress = room, progress
        self._connections = manners.connections
        self._stop = threading.Event()
        self._telling = threading.Lock()

    def run(self) -> None:
        """Complete the file.

        Raises:
            Unusable: it cannot be had from this address. What has arrived is kept.
            OSError: the disk refuses.
        """
        partial = self._partial
        partial.turn_to(self._url)
        if partial.spans:
            self._room((partial.total or partial.have) - partial.have)
        try:
            for _ in range(max(2, self._manners.attempts)):
                self._stop = threading.Event()  # a new one: a thread of before may still wait for its server
                try:
                    if not partial.spans:
                        self._persist(lambda: self._begin(self._stop), lambda: partial.have, self._stop)
                    self._bring(partial.lacking)
                    return
                except _Anew as error:
                    partial.clear()
                    self._connections = 1  # whatever several of them were told that did not go together
                    reason = str(error)
            raise Unusable(f"{self._url} gives no whole file: {reason}.")
        finally:
            self._stop.set()  # a thread that still waits for its server writes nothing any more
            partial.save()

    def _bring(self, spans: list[Span]) -> None:
        """Bring all spans, several at a time; the first failure ends all of them."""
        stop = self._stop
        if len(spans) == 1:
            self._bring_one(spans[0], stop)
            return
        waiting: Queue[Span] = Queue()
        failures: list[BaseException] = []
        for span in spans:
            waiting.put(span)

        def work() -> None:
            try:
                while not stop.is_set():
                    self._bring_one(waiting.get_nowait(), stop)
            except Empty:
                return
            except BaseException as error:
                failures.append(error)
                stop.set()

        # Daemons, so that Ctrl-C need not wait for a server that is silent.
        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self._connections, len(spans)))]
        for thread in threads:
            thread.start()
        while not failures and any(thread.is_alive() for thread in threads):
            stop.wait(0.02)
        for thread in threads:
            thread.join(0.2)
        if failures:
            raise failures[0]

    def _bring_one(self, span: Span, stop: threading.Event) -> None:
        self._persist(lambda: self._continue(span, stop), lambda: span.done, stop)

    def _persist(self, ask: Callable[[], None], have: Callable[[], int], stop: threading.Event) -> None:
        """Ask until it is answered in full, or the server gives no new byte several times in a row."""
        failures = 0
        while not stop.is_set():
            before, wait_seconds = have(), 0.0
            try:
                ask()
                return
            except Again as error:
                reason: Exception = error
                wait_seconds = error.wait_seconds
            except httpx.TransportError as error:
                if isinstance(error, httpx.UnsupportedProtocol):
                    raise Unusable(f"{self._url} cannot be fetched: {error}") from error
                reason = error
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise Unusable(f"{self._url} cannot be fetched: {error}.") from error
            failures = 1 if have() > before else failures + 1
            if failures >= self._manners.attempts:
                raise self._gave_up(reason) from reason
            stop.wait(max(wait_seconds, self._manners.backoff_seconds * 2 ** (failures - 1)))

    def _begin(self, stop: threading.Event) -> None:
        """The first request: learns what there is, and takes all of it unless several connections shall."""
        partial = self._partial
        if partial.spans:  # it was begun and then cut off
            return
        with self._open({}) as response:
            length, tag = length_of(response), tag_of(response)
            self._room(length or 0)
            spans = self._split(length) if self._divisible(response, length, tag) else [Span(0, length)]
            partial.begin(spans, total=length, tag=tag)
            if len(spans) == 1:
                self._take(response, spans[0], stop)

    def _continue(self, span: Span, stop: threading.Event) -> None:
        """Ask for what lacks of a span."""
        partial = self._partial
        if not partial.resumable:
            raise _Anew("it was cut off, and nothing tells whether the server still has the same file")
        last = "" if span.end is None or span.end == partial.total else span.end - 1
        headers = {"Range": f"bytes={span.position}-{last}"}
        if partial.tag is not None:  # asks for the whole file if it changed in the meantime
            headers["If-Range"] = partial.tag
        with self._open(headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if span.end is None and response.headers.get("Content-Range") == f"bytes */{span.position}":
                    partial.end(span)  # everything was there already
                    return
                raise _Anew("the server holds another file than before")
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                self._compare(response, span)
            elif len(partial.spans) > 1:
                raise _Anew("the server does not go on where it was asked to")
            else:
                self._restart(response, span)
            self._take(response, span, stop)

    def _open(self, headers: dict[str, str]) -> AbstractContextManager[httpx.Response]:
        return answer(self._client, self._url, headers=headers, timeout_seconds=self._manners.timeout_seconds)

    def _compare(self, response: httpx.Response, span: Span) -> None:
        """Hold the answer to a range against what was asked for; servers have ignored ``If-Range``."""
        partial = self._partial
        begin, total = sent_range(response)
        if begin != span.position:
            raise _Anew("the server sent another range than was asked for")
        other_length = partial.total is not None and total not in (None, partial.total)
        other_tag = partial.tag is not None and tag_of(response) not in (None, partial.tag)
        if other_length or other_tag:
            raise _Anew("the file changed on the server")

    def _restart(self, response: httpx.Response, span: Span) -> None:
        """The server sends the whole file, because it changed or since it knows no ranges."""
        length = length_of(response)
        self._room(length or 0)
        span.begin, span.end, span.done = 0, length, 0
        self._partial.begin([span], total=length, tag=tag_of(response))

    def _take(self, response: httpx.Response, span: Span, stop: threading.Event) -> None:
        """Write what comes until the span ends."""
        partial = self._partial
        with partial.file.open("r+b", buffering=0) as stream:
            stream.seek(span.position)
            for piece in response.iter_raw():  # a larger piece would be lost when the connection drops
                view = memoryview(piece)[: None if span.end is None else span.end - span.position]
                while view and not stop.is_set():
                    count = stream.write(view)
                    view = view[count:]
                    self._tell(partial.wrote(span, count))
                if stop.is_set() or span.complete:
                    return
        if span.end is None:
            partial.end(span)
        elif not span.complete:
            raise Again("the connection ended early")

    def _tell(self, have: int) -> None:
        if self._progress is not None:
            with self._telling:
                self._progress(have, self._partial.total)

    def _divisible(self, response: httpx.Response, length: int | None, tag: str | None) -> bool:
        """Whether several connections may share the work, and are certain to bring the same file."""
        return (
            self._connections > 1
            and length is not None
            and length >= self._manners.parallel_from_bytes
            and response.headers.get("Accept-Ranges", "").lower() == "bytes"
            and (tag is not None or self._partial.checked)
        )

    def _split(self, length: int | None) -> list[Span]:
        length = length or 0
        count = max(self._connections, length // _SPAN_BYTES)
        cuts = [length * index // count for index in range(count + 1)]
        return [Span(begin, end) for begin, end in pairwise(cuts)]

    def _gave_up(self, reason: Exception) -> Unusable:
        partial = self._partial
        if isinstance(reason, httpx.ConnectError | httpx.ConnectTimeout):
            return Unusable(f"{self._url} cannot be reached ({reason}).", how="unreachable")
        if not partial.have:
            return Unusable(f"{self._url} sends nothing: {reason}.")
        of = f" of {amount(partial.total)}" if partial.total else ""
        return Unusable(f"{self._url} is cut off at {amount(partial.have)}{of}: {reason}.")
