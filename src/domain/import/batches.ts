import { AppError } from '../../errors.ts'
import type { Line } from './findings.ts'

/** Rows of one transaction: few enough that a server beside it hardly waits, enough that a commit costs little a row. */
const BATCH_ROWS = 512
const WRITE_TRIES = 5

/** What Kunci does not have yet, and what there is to say of the rest. */
export type Sorted<T, F extends Line> = { readonly fresh: readonly T[]; readonly findings: readonly F[] }

type Told = (rows: number, fraction: number) => void

/** Does `work` batch after batch, and gathers what comes of each. */
export async function inBatches<In, Out, F extends Line>(
  items: readonly In[],
  work: (batch: readonly In[]) => Promise<Sorted<Out, F>>,
  told: Told = () => undefined,
): Promise<Sorted<Out, F>> {
  const fresh: Out[] = []
  const findings: F[] = []
  for (let done = 0; done < items.length; ) {
    const sorted = await work(items.slice(done, done + BATCH_ROWS))
    fresh.push(...sorted.fresh)
    findings.push(...sorted.findings)
    done = Math.min(items.length, done + BATCH_ROWS)
    told(done, done / items.length)
  }
  return { fresh, findings }
}

/**
 * Writes a batch whole. Another import may write the same rows at the same moment: then the database refuses the batch,
 * what the other one wrote is sorted out, and the rest is tried again.
 * @returns what was written.
 */
export async function writeBatch<T, F extends Line>(
  batch: readonly T[],
  write: (items: readonly T[]) => Promise<boolean>,
  sort: (items: readonly T[]) => Promise<Sorted<T, F>>,
): Promise<Sorted<T, F>> {
  const findings: F[] = []
  let fresh = batch
  for (let tries = 0; fresh.length > 0 && !(await write(fresh)); tries++) {
    if (tries === WRITE_TRIES)
      throw new AppError('internal', {
        detail:
          'Rows that belong to nothing are in the way, such as devices whose licence was deleted by hand.',
      })
    const sorted = await sort(fresh)
    findings.push(...sorted.findings)
    fresh = sorted.fresh
  }
  return { fresh, findings }
}
