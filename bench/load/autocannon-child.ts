/** Puts the load that stands on stdin on a server, and prints the figures as JSON: see autocannon.ts. */
import { text } from 'node:stream/consumers'
import autocannon, { type Request, type Result } from 'autocannon'
import { type Figures, happened, type Load, type Shot } from './load.ts'

/** As wrk has it. */
const TIMEOUT_S = 2
/** It stops only at a sample. */
const SAMPLE_EVERY_MS = 100

type Bad = { count: number; first?: string }

function requestOf({ method, path, authorization, body }: Shot, success: string, bad: Bad): Request {
  const headers = {
    ...(authorization === undefined ? {} : { authorization }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  const onResponse = (status: number, answer: string) => {
    if (status === 200 && answer.includes(success)) return
    bad.count++
    bad.first ??= `${status} ${answer.slice(0, 200).replaceAll(/\p{Cc}/gu, ' ')}`
  }
  return { method, path, headers, onResponse, ...(body === undefined ? {} : { body }) }
}

/** Every connection sends other requests than its neighbours, as far as there are enough. */
function dealt(shots: readonly Shot[], connection: number, connections: number): readonly Shot[] {
  const own = shots.filter((_, i) => i % connections === connection)
  return own.length > 0 ? own : shots
}

async function run({ baseUrl, shots, success, connections, seconds }: Load): Promise<Figures> {
  const timesMs: number[] = []
  const bad: Bad = { count: 0 }
  let clients = 0
  const { promise, resolve, reject } = Promise.withResolvers<Result>()
  const load = autocannon(
    {
      ...{ url: baseUrl, connections, duration: seconds, timeout: TIMEOUT_S, sampleInt: SAMPLE_EVERY_MS },
      setupClient: (client) =>
        client.setRequests(dealt(shots, clients++, connections).map((shot) => requestOf(shot, success, bad))),
    },
    (error, result) => (error ? reject(error) : resolve(result)),
  )
  // Its own percentiles are whole milliseconds.
  load.on('response', (_client, _status, _bytes, ms) => timesMs.push(ms))
  const { requests, duration, errors, timeouts } = await promise
  timesMs.sort((a, b) => a - b)
  const percentile = (share: number) => timesMs[Math.ceil(timesMs.length * share) - 1] ?? 0
  return {
    requests: requests.total,
    seconds: duration,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    errors: happened({
      'connection broken': errors - timeouts,
      'timed out': timeouts,
      // A connection that the server closes is opened again in silence; what was asked on it is never answered.
      'never answered': requests.sent - requests.total - connections,
      'no success': bad.count,
    }),
    ...(bad.first === undefined ? {} : { firstBad: bad.first }),
  }
}

console.log(JSON.stringify(await run(JSON.parse(await text(process.stdin)))))
