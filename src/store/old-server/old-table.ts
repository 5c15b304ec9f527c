/**
 * What an old server kept, row by row as it stands there. Nothing in it is judged here but what keeps a row from being
 * read at all.
 */
import { AppError } from '../../errors.ts'

/** What a time stands for: local time as text, an instant as text in UTC, or whole seconds since 1970. */
export type TimeKind = 'local' | 'instant' | 'unix'

/** Why the cells of a row cannot be read. */
export type RowFault = 'cell_count' | 'not_utf8'

export type OldRow<C extends string> = {
  /** As an operator finds it again: the line of the file, or the place in the order of reading. */
  readonly row: number
  /** The source ends in this row, and nothing says that its last cell is whole. */
  readonly mayBeCut?: boolean
} & (
  | { readonly cells: Readonly<Record<C, string | null>> }
  | { readonly fault: RowFault; readonly detail: string }
)

export type OldTable<C extends string> = {
  readonly rows: AsyncIterable<OldRow<C>>
  /** How each column of times is written; `local` where nothing is said. */
  readonly times: { readonly [K in C]?: TimeKind }
  /** How much has been read, from 0 to 1. */
  readonly progress: () => number
}

/** What each column of ours is called in a source; `null`: it is not there, and is read as NULL. */
export type Names<C extends string> = Readonly<Record<C, string | null>>

/** A source that cannot be taken: where it is, and why, without anything of its rows. */
export function unreadable(where: string, what: string, cause?: unknown): AppError {
  return new AppError('import_source', { detail: `${where}: ${what}`, cause })
}

/** A name of somebody's table or column within SQL; MySQL, MariaDB and SQLite all read it. */
export function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

const LISTED_MAX = 50

/** For a message: what there is. */
export function listed(names: Iterable<string>): string {
  return [...names].slice(0, LISTED_MAX).join(', ') || 'none'
}
