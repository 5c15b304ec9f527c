import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where Debian's `python3-cryptography-vectors` puts NIST's and others' test vectors. */
const DEBIAN = '/usr/lib/python3/dist-packages/cryptography_vectors'

/** `undefined` where they are not installed. KUNCI_TEST_VECTORS names another place, such as pip's. */
export function findPublishedVectors(): string | undefined {
  return [process.env.KUNCI_TEST_VECTORS, DEBIAN].find((place) => place && existsSync(place))
}

/** The `name = value` lines of one case; a lone word such as `FAIL` is a name with nothing for its value. */
export type PublishedCase = {
  /** The `[…]` lines above it, such as `Keylen = 256, IVlen = 96`. */
  readonly section: string
  readonly [name: string]: string
}

/**
 * The cases of a file of vectors, in the order they stand there. Names come in lower case, as the files do not agree.
 * @param path below the directory that {@link findPublishedVectors} finds.
 */
export function publishedCases(path: string): PublishedCase[] {
  const lines = readFileSync(join(findPublishedVectors() ?? DEBIAN, path), 'utf8').split(/\r?\n/)
  const cases: Record<string, string>[] = []
  let section: string[] = []
  let first: string | undefined
  let isHeading = false
  for (const line of lines.filter((text) => text !== '' && !text.startsWith('#'))) {
    const [, heading] = /^\[(.*)\]$/.exec(line) ?? []
    if (heading !== undefined) {
      section = isHeading ? [...section, heading] : [heading]
      isHeading = true
      continue
    }
    isHeading = false
    const [name = '', value = ''] = line.split('=').map((part) => part.trim())
    first ??= name
    // No sign ends a case: each begins with the name that began the first.
    if (name === first) cases.push({ section: section.join(', ') })
    cases.at(-1)![name.toLowerCase()] = value
  }
  return cases as PublishedCase[]
}
