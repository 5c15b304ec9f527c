import { fromUtf8 } from './encoding.ts'

/** A JSON object as it came, of which nothing is known yet. */
export type JsonObject = Readonly<Record<string, unknown>>

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @param json text, or its UTF-8. @returns `null` for what is no JSON object. */
export function parseObject(json: string | Uint8Array): JsonObject | null {
  try {
    const value: unknown = JSON.parse(typeof json === 'string' ? json : fromUtf8(json))
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

/** Whether a value is a whole number from `min` to `max`. */
export function isWhole(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max
}
