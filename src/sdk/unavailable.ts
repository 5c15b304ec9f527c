/**
 * Why there is no verdict.
 * `no_reply`: nothing came back, after all tries. `refused`: a plain error. `kex`: the server knows none of the pinned
 * keys. `unopened`: a reply that is not what the protocol says, or whose box does not open. `session_expired`: two
 * sessions in a row. `lease`: the lease that was asked for does not count here, was made for another request, or cannot
 * be kept. The others are sealed codes of the server, such as `slow_down`.
 */
export type Reason = 'no_reply' | 'refused' | 'kex' | 'unopened' | 'session_expired' | 'lease' | (string & {})

/** No verdict could be had. It says nothing for or against a licence. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError'
  readonly reason: Reason

  constructor(reason: Reason) {
    super(`no verdict from the licence server: ${reason}`)
    this.reason = reason
  }
}
