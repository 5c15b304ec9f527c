import type { Streams } from './command.ts'

/** All that stdin has, as text: for what must not stand among arguments, where others on the machine read it. */
export async function readStdin({ stdin }: Streams): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stdin ?? []) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks).toString('utf8')
}
