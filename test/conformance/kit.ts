import { attack, type Client, type Options, type Row } from '../../conformance/index.ts'
import { clientWith, SOUND, type Steps } from './sound-client.ts'

/** Short enough for a test, long enough for a busy machine. */
export const timeoutMs = 800

/** The sound client, or one that does a step otherwise. */
export const client = (flaw: Partial<Steps> = {}): Client => clientWith({ ...SOUND, timeoutMs, ...flaw })

export const play = (one: Client, options: Partial<Options> = {}): Promise<Row[]> =>
  attack({ client: one, timeoutMs, jobs: 4, ...options })

export const failed = (rows: readonly Row[]): Row[] => rows.filter(({ verdict }) => verdict !== 'passed')
