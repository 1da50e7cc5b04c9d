// An HTTP server that closes idle connections after the argument's milliseconds, or after Node.js's
// own 5 s. It prints its port.
import http from 'node:http'

const server = http.createServer((req, res) => {
  req.resume().on('end', () => res.setHeader('Content-Type', 'application/json').end('{}'))
})
const idle = Number(process.argv[2])
if (idle) server.keepAliveTimeout = idle
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume().on('end', () => process.exit())
