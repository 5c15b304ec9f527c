function marks(name: string): { begin: string; end: string } {
  return {
    begin: `<!-- begin ${name}: written by npm run bench -->`,
    end: `<!-- end ${name} -->`,
  }
}

/**
 * Puts a body between the two marks of a section, and leaves all else as it is. A text without them gets them at its
 * end, below a heading.
 * @throws {Error} when there is a first mark and no second one behind it.
 */
export function replaceSection(text: string, name: string, body: string): string {
  const { begin, end } = marks(name)
  const section = `${begin}\n\n${body.trim()}\n\n${end}`
  const from = text.indexOf(begin)
  if (from === -1) {
    const heading = `## ${name.charAt(0).toUpperCase()}${name.slice(1)}`
    return `${text === '' ? '' : `${text.trimEnd()}\n\n`}${heading}\n\n${section}\n`
  }
  const to = text.indexOf(end, from)
  if (to === -1)
    throw new Error(`The mark "${end}" is missing behind "${begin}"; put it back, or remove both`)
  return text.slice(0, from) + section + text.slice(to + end.length)
}
