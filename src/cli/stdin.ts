import { AppError } from '../errors.ts'
import type { Streams } from './command.ts'

/**
 * All that stdin has, as text: for what must not stand among arguments, where others on the machine read it.
 * @throws {AppError} `invalid_argument` for what is no UTF-8: a password of other letters than were typed opens nothing.
 */
export async function readStdin({ stdin }: Streams): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stdin ?? []) chunks.push(Buffer.from(chunk))
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new AppError('invalid_argument', { detail: 'stdin is not UTF-8' })
  }
}
