import { type Client, isOutcome, type Run } from './client.ts'

const NOT_IMPLEMENTED = 501

/** A run as the harness reads it. */
function wire(run: Run): object {
  return {
    ...{ case: run.case, server_url: run.serverUrl, suite: run.suite, pins: run.pins },
    ...{ licence: run.licence, tool: run.tool, hw: run.hardware },
    ...{ clock_offset_s: run.clockOffsetS, state: run.state },
  }
}

/**
 * A client behind a harness of its own: each run is posted to `<baseUrl>/run` as JSON. HTTP 501 stands for `unsupported`.
 */
export function harnessClient(baseUrl: string): Client {
  const url = `${baseUrl.replace(/\/$/, '')}/run`
  return async (run, signal) => {
    const headers = { 'content-type': 'application/json' }
    const reply = await fetch(url, { method: 'POST', headers, body: JSON.stringify(wire(run)), signal })
    const text = await reply.text()
    if (reply.status === NOT_IMPLEMENTED) return { outcome: 'unsupported', note: text }
    if (!reply.ok) return { outcome: 'broken', note: `the harness answered ${reply.status}: ${text}` }
    const { outcome } = JSON.parse(text) as { outcome?: unknown }
    return isOutcome(outcome)
      ? { outcome }
      : { outcome: 'broken', note: `the harness answered no outcome: ${text}` }
  }
}
