import { StoreError } from '../../errors.ts'
import { DuplicateKeyError, STORE_TIMEOUT_MS } from './database.ts'

type Waiting<In, Out> = {
  item: In
  sinceMs: number
  resolve: (out: Out) => void
  reject: (error: unknown) => void
}

const QUEUE_MAX = 10_000
const TOO_FAR_BEHIND = 'the database is too far behind'

/**
 * Gathers calls of the same moment into one: one statement, one commit, one wait for the disk. What arrives while a
 * batch is under way goes with the next, so batches grow with the load and a lone call waits for nobody.
 */
export class Coalescer<In, Out> {
  readonly #work: (items: In[]) => Promise<readonly Out[]>
  readonly #maxItems: number
  readonly #lanes: number
  readonly #queue: Waiting<In, Out>[] = []
  #busyLanes = 0
  #scheduled = false

  /**
   * @param work does all items and returns their results in order. When one of several items may be at fault it is
   *   called again for each alone, so that none spoils another: it must have no effect when it fails.
   * @param limits `maxItems` a batch, and `lanes`, how many batches may be under way at once.
   */
  constructor(work: (items: In[]) => Promise<readonly Out[]>, limits: { maxItems: number; lanes: number }) {
    this.#work = work
    this.#maxItems = limits.maxItems
    this.#lanes = limits.lanes
  }

  /**
   * @throws {StoreError} at once when {@link QUEUE_MAX} calls are waiting already, and for one that has waited
   *   {@link STORE_TIMEOUT_MS}: better a 503 than a heap of them.
   */
  submit(item: In): Promise<Out> {
    if (this.#queue.length >= QUEUE_MAX) return Promise.reject(new StoreError(TOO_FAR_BEHIND))
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, sinceMs: performance.now(), resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled || this.#busyLanes >= this.#lanes || this.#queue.length === 0) return
    this.#scheduled = true
    // After this turn of the event loop, in which more calls may arrive from other sockets.
    setImmediate(() => {
      this.#scheduled = false
      void this.#runLane()
    })
  }

  async #runLane(): Promise<void> {
    this.#busyLanes++
    this.#refuseStale()
    const batch = this.#queue.splice(0, this.#maxItems)
    this.#schedule()
    if (batch.length > 0) await this.#settle(batch)
    this.#busyLanes--
    this.#schedule()
  }

  /** Behind a database that hangs the last of a long queue would otherwise hear of it minutes later. */
  #refuseStale(): void {
    const staleMs = performance.now() - STORE_TIMEOUT_MS
    const firstFresh = this.#queue.findIndex(({ sinceMs }) => sinceMs > staleMs)
    const stale = this.#queue.splice(0, firstFresh === -1 ? this.#queue.length : firstFresh)
    for (const { reject } of stale) reject(new StoreError(TOO_FAR_BEHIND))
  }

  async #settle(batch: Waiting<In, Out>[]): Promise<void> {
    try {
      const results = await this.#work(batch.map(({ item }) => item))
      for (const [i, { resolve }] of batch.entries()) resolve(results[i] as Out)
    } catch (error) {
      const onesFault = !(error instanceof StoreError) || error instanceof DuplicateKeyError
      if (batch.length === 1 || !onesFault) for (const { reject } of batch) reject(error)
      else await Promise.all(batch.map((waiting) => this.#settle([waiting])))
    }
  }
}
