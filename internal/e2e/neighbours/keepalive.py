"""An HTTP server as uvicorn with h11: it closes connections that are idle for the argument's
milliseconds, and announces nothing. It prints its port and ends with its standard input."""
import asyncio
import sys

IDLE = float(sys.argv[1]) / 1000
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data, self.timer = transport, b"", None

    def data_received(self, data):
        if self.timer:
            self.timer.cancel()
        self.data += data
        head, sep, body = self.data.partition(b"\r\n\r\n")
        if not sep:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        if len(body) < length:
            return
        self.data = b""
        self.transport.write(RESPONSE)
        self.timer = asyncio.get_running_loop().call_later(IDLE, self.transport.close)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()

asyncio.run(main())
