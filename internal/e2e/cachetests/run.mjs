// Serves the origin of the public tests for HTTP caches and runs them. Prints the address of
// the origin, reads a line with the address of the cache in front of it, and prints the
// result of every test as JSON.
import http from 'node:http'
import readline from 'node:readline'

import fetch from 'node-fetch'
import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import handleConfig from 'http-cache-tests/server/handle-config.mjs'
import handleState from 'http-cache-tests/server/handle-state.mjs'
import handleTest from 'http-cache-tests/server/handle-test.mjs'
import suites from 'http-cache-tests/tests/index.mjs'

console.log = () => {} // the origin's warnings
const print = (text) => process.stdout.write(text + '\n')

const handlers = { config: handleConfig, state: handleState, test: handleTest }
const origin = http.createServer((request, response) => {
  const [, kind, ...rest] = new URL(request.url, 'http://origin').pathname.split('/')
  const handler = handlers[kind]
  if (handler) {
    handler(rest, request, response)
  } else {
    response.writeHead(404).end()
  }
})

origin.listen(0, '127.0.0.1', () => print(`http://127.0.0.1:${origin.address().port}`))

readline.createInterface({ input: process.stdin }).once('line', async (base) => {
  await runTests(suites, fetch, false, base)
  const results = getResults()
  const tests = suites.flatMap((suite) => suite.tests)
    .filter((test) => test.id in results)
    .map((test) => ({
      id: test.id,
      kind: test.kind ?? 'required',
      depends_on: test.depends_on ?? [],
      passed: results[test.id] === true,
      setup: results[test.id][0] === 'Setup',
      message: results[test.id] === true ? '' : results[test.id].join(': ')
    }))
  print(JSON.stringify(tests))
  process.exit(0)
})
