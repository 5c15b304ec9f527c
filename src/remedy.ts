/** What mends something: one statement, command or line of `.env`, ready to be pasted; or advice where there is none. */
export type Remedy = { readonly kind: 'sql' | 'command' | 'setting' | 'advice'; readonly text: string }

export const sql = (text: string): Remedy => ({ kind: 'sql', text })
export const command = (text: string): Remedy => ({ kind: 'command', text })
export const setting = (text: string): Remedy => ({ kind: 'setting', text })
export const advice = (text: string): Remedy => ({ kind: 'advice', text })

/** A name as MySQL takes it in a statement that is printed. */
export function sqlName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

/** A text as MySQL takes it in a statement that is printed. */
export function sqlText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** One word of a shell's command line. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
