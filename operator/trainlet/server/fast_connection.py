"""A connection that speaks HTTP by httptools; there with the extra `fast` alone."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trainlet.server.connections import MOST_HEAD_BYTES, Connection


class FastConnection(Connection, HttpToolsProtocol):  # type: ignore[misc] # what the two bases share is alike
    """HTTP in C, with the bound for a request's head that httptools lacks."""

    _head_bytes, _is_in_head = 0, True

    def data_received(self, data: bytes) -> None:
        """Refuse a head that does not end; the last part of one counts as little as h11 counts it."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        """Count no more."""
        super().on_headers_complete()
        self._is_in_head = False

    def on_message_complete(self) -> None:
        """Count the next head."""
        super().on_message_complete()
        self._is_in_head, self._head_bytes = True, 0
