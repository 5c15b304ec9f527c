import { hash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { toCrockford } from '../crypto/licence-key.ts'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { User, UserStore } from '../store/users.ts'
import { type NewUser, requireEmail, type Users } from './users.ts'

const CODE_BYTES = 10
const CODE_LIVES_MS = 60 * 60_000

function codeHash(code: string): string {
  return hash('sha256', code.toUpperCase().replaceAll(/[^0-9A-Z]/g, ''))
}

export type Setup = ReturnType<typeof createSetup>

/** The first superadmin, for whoever can read what the server says as it starts. */
export function createSetup(deps: { store: UserStore; users: Users; clock: Clock; random: Random }) {
  const { store, users, clock, random } = deps

  /** A code of 80 random bits that is good for an hour and once, `XXXX-XXXX-XXXX-XXXX`; `null` where nobody needs one. */
  async function newCode(): Promise<string | null> {
    if (await store.hasSuperadmin()) return null
    const code = toCrockford(random(CODE_BYTES)).replaceAll(/(.{4})(?=.)/g, '$1-')
    await store.setSetupCode({ hash: codeHash(code), atMs: clock() + CODE_LIVES_MS })
    return code
  }

  /** @throws {AppError} `setup_code_invalid`, or what stands against the user or his password: the code is then still good. */
  async function run(code: string, user: Omit<NewUser, 'role'>, address: string): Promise<User> {
    const asked = { hash: codeHash(code), atMs: clock() }
    // First, and not used up yet: who has no code learns nothing here, and has nothing worked out.
    if (!(await store.isSetupCode(asked))) throw new AppError('setup_code_invalid')
    const known = await users.findByEmail(requireEmail(user.email))
    if (known !== null) throw new AppError('user_exists')
    const prepared = await users.prepare({ ...user, role: 'superadmin' })
    const event = users.createdEvent({ name: 'setup', address }, prepared)
    const isCreated = await store.createFirst(prepared, event, asked)
    if (!isCreated) throw new AppError('setup_code_invalid')
    return prepared
  }

  return { newCode, run }
}
