import { existsSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const ANSWER_TIMEOUT_MS = 10_000
const ASK_EVERY_MS = 5

/**
 * Sends SIGUSR2 to a process that answers it with a file, written whole or not at all.
 * @param what it is to tell, for the error. @returns the text of the file.
 */
export async function told(pid: number, file: string, what: string): Promise<string> {
  rmSync(file, { force: true })
  process.kill(pid, 'SIGUSR2')
  for (const deadlineMs = Date.now() + ANSWER_TIMEOUT_MS; !existsSync(file); await sleep(ASK_EVERY_MS))
    if (Date.now() > deadlineMs) throw new Error(`process ${pid} does not tell ${what}`)
  return readFileSync(file, 'utf8')
}
