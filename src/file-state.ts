import { statSync } from 'node:fs'

/** A text that changes with a file, also when a link is turned to another one: how its directory sees it. */
export function fileState(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return [ino, size, mtimeNs, ctimeNs].join(':')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}
