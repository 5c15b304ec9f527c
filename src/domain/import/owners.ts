import { type UserFinding, userFinding } from './user-findings.ts'
import type { OldUser } from './users.ts'

/** Whose an old session is: somebody who is, or will be, in Kunci under this id. */
export type Owner = { readonly email: string; id: number | null }

/** The users of a source, each email once: of two rows the first. */
export class Owners {
  readonly #taken = new Map<string, OldUser>()
  readonly #byEmail = new Map<string, Owner>()
  readonly #byOldId = new Map<string, Owner>()

  /** @returns what there is to say of a user that is not taken. */
  add(user: OldUser): UserFinding | null {
    const { row, oldId, email } = user
    if (this.#byOldId.has(oldId)) return userFinding('user_id_unfit', row, { email, oldId })
    const owner = this.#byEmail.get(email) ?? { email, id: null }
    this.#byEmail.set(email, owner)
    this.#byOldId.set(oldId, owner)
    const rival = this.#taken.get(email)
    if (rival !== undefined)
      return userFinding('user_duplicate', row, { email, oldId, detail: `row ${rival.row} is taken` })
    this.#taken.set(email, user)
    return null
  }

  /** Those that are taken, in the order of the source. */
  taken(): OldUser[] {
    return [...this.#taken.values()]
  }

  /** Settles under which id a user is, or will be, in Kunci; it may be settled anew until he is written. */
  settle(email: string, id: number): void {
    const owner = this.#byEmail.get(email)
    if (owner !== undefined) owner.id = id
  }

  /** Notes somebody who is in Kunci by an earlier import. */
  recognise(oldId: string, owner: Owner): void {
    this.#byOldId.set(oldId, owner)
  }

  ownerOf(oldUserId: string): Owner | undefined {
    return this.#byOldId.get(oldUserId)
  }
}
