import type { Hwid } from './hwid.ts'

/** What is asked about a tool that is to run here. */
export type CheckRequest = {
  readonly licence: string
  /** The product's code. */
  readonly tool: string
  /** The tool's version. */
  readonly ver: string
  /** From `hwidOf` for the same tool. */
  readonly hwid: Hwid
  /** The language of `message`. */
  readonly lang?: 'en' | 'id' | undefined
}
