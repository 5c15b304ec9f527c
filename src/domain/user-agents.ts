import bowser from 'bowser'
import { DEVICE_TYPES, type DeviceType } from '../store/session-rows.ts'
import { tidied } from './texts.ts'

/** As wide as the column, in characters. */
const NAME_MAX = 128
/** Of a longer user agent the rest is not read: nobody's has more, and each character costs time. */
const READ_MAX = 512
const UNKNOWN = 'unknown'

export type Device = { readonly type: DeviceType; readonly name: string }

function cleaned(text: string): string {
  return tidied(text, NAME_MAX)
}

function asDeviceType(text: string | undefined): DeviceType | undefined {
  const wanted = text?.trim().toLowerCase()
  return DEVICE_TYPES.find((type) => type === wanted)
}

/** What a program calls itself: `curl` of `curl/8.5.0` (RFC 9110, section 10.1.5). */
function productOf(userAgent: string): string {
  return userAgent.split('/', 1)[0] ?? ''
}

function parsed(userAgent: string) {
  const text = userAgent.slice(0, READ_MAX).trim()
  if (text === '') return { type: undefined, program: '', system: undefined }
  const { browser, os, platform } = bowser.parse(text)
  return { type: asDeviceType(platform.type), program: browser.name || productOf(text), system: os.name }
}

/**
 * What somebody sits at, by what his client says of itself; nothing of it is proof.
 * @param headers what the client says besides: its words come before what the user agent lets one guess.
 * @returns `desktop` where nothing says otherwise, and a name of 1 to 128 characters such as `Chrome on Windows`, without
 *   control characters.
 */
export function deviceOf(
  userAgent: string,
  headers: { readonly type?: string | undefined; readonly name?: string | undefined } = {},
): Device {
  const { type, program, system } = parsed(userAgent)
  // A television's browser has the name of its system.
  const guessed = [...new Set([cleaned(program), cleaned(system ?? '')])].filter((part) => part !== '')
  return {
    type: asDeviceType(headers.type) ?? type ?? 'desktop',
    name: cleaned(headers.name ?? '') || cleaned(guessed.join(' on ')) || UNKNOWN,
  }
}
